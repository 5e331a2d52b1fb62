//! Whole models: every instruction set and precision against the definition and the portable twin.

use proptest::prelude::*;

use super::definition::cosine;
use super::model::{Model, alone, shape, text};
use super::{Noise, cases};
use crate::encoder::{Activation, Instructions, Pool, Precision, Shape};

fn portable() -> Instructions {
    *Instructions::available().last().expect("portable is always there")
}

/// Fails unless the vectors of a text are those of the definition, and alike on every set.
fn check(model: &Model, ids: &[u32], pool: Pool) {
    let exact = model.define(ids, pool);
    for precision in Precision::ALL {
        let twin = alone(&model.encoder(portable(), precision), ids, pool);
        // What the numbers cost on random weights in narrow models; trained ones lose less.
        let to_definition = match precision {
            Precision::F32 => 0.999_999,
            Precision::Bf16 => 0.999_5,
            Precision::Mixed => 0.997,
            Precision::Int8 => 0.995,
        };
        // Sets differ in the order of summation, which moves single numbers to a neighbour.
        let to_twin = if precision == Precision::F32 { 0.999_999 } else { 0.999_9 };
        for on in Instructions::available() {
            let got = alone(&model.encoder(on, precision), ids, pool);
            for (expected, bound) in [(&exact, to_definition), (&twin, to_twin)] {
                let cosine = cosine(&got, expected);
                assert!(cosine >= bound, "{} {precision:?}: cosine {cosine} of {bound}", on.name());
            }
            let size = got.iter().zip(&exact).map(|(got, exact)| (got - exact).abs()).fold(0.0, f32::max);
            let largest = exact.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            assert!(size <= 0.2 * largest, "{} {precision:?}: not the same size", on.name());
        }
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn a_model_computes_its_definition_on_every_set(
        (hidden, head_width) in prop::sample::select(vec![(64, 32), (64, 64), (128, 32), (128, 64), (128, 128), (192, 32), (192, 96)]),
        intermediate in 1usize..=8,
        n_layers in 1usize..=3,
        activation in prop::sample::select(vec![Activation::Gelu, Activation::GeluTanh, Activation::Relu]),
        pool in prop::sample::select(vec![Pool::Sum, Pool::First]),
        smooth in any::<bool>(),
        n in 1usize..=24,
        seed in any::<u64>(),
    ) {
        let mut shape = shape(hidden, head_width, 64 * intermediate, activation);
        shape.max_tokens = 24;
        let (n_layers, n) = if cfg!(miri) { (1, 2) } else { (n_layers, n) };
        if cfg!(miri) {
            (shape.hidden, shape.heads, shape.intermediate) = (64, 2, 64);
        }
        let mut model = Model::new(shape, n_layers, seed);
        if smooth {
            model = model.smoothed(seed);
        }
        check(&model, &text(&mut Noise(seed), n), pool);
    }
}

#[test]
fn a_wide_layer_runs_in_slices() {
    // Slices of 192, of 64 and of 512.
    let sizes = [576, 704, 1024];
    for intermediate in if cfg!(miri) { &sizes[..1] } else { &sizes } {
        let shape = Shape { max_tokens: 8, ..shape(64, 32, *intermediate, Activation::Gelu) };
        let n = if cfg!(miri) { 1 } else { 7 };
        check(&Model::new(shape, 1, 5), &text(&mut Noise(5), n), Pool::Sum);
    }
}

#[test]
fn a_model_without_layers_has_no_vectors_yet() {
    let shape = Shape { max_tokens: 8, ..shape(64, 32, 64, Activation::Gelu) };
    let encoder = Model::new(shape, 0, 1).encoder(portable(), Precision::F32);
    assert_eq!(alone(&encoder, &[1, 2], Pool::First).len(), 64);
}

#[test]
fn the_parts_of_a_model_can_be_asked_for() {
    let model = Model::new(shape(64, 32, 64, Activation::Gelu), 1, 1);
    let encoder = model.encoder(portable(), Precision::Mixed);
    assert_eq!(encoder.shape(), &model.shape);
    assert_eq!(encoder.precision(), Precision::Mixed);
    assert_eq!(encoder.vocabulary(), super::model::VOCABULARY);
}
