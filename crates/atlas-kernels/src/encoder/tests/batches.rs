//! A vector is its text's alone: company, order, length and the buffers' past change nothing.

use proptest::prelude::*;

use super::model::{Model, alone, encode, shape, text};
use super::{Noise, cases};
use crate::encoder::instructions::Set;
use crate::encoder::{Activation, Encoder, Instructions, Pool, Precision, Shape, Workspace};

/// Less work under Miri.
fn short(n: usize) -> usize {
    if cfg!(miri) { 2 } else { n }
}

/// A small model on every set and in every precision.
fn encoders(seed: u64) -> Vec<Encoder> {
    let model = Model::new(shape(64, 32, 128, Activation::Gelu), 1, seed);
    let sets = Instructions::available();
    let pairs = sets.iter().flat_map(|on| Precision::ALL.map(|precision| (*on, precision)));
    pairs.map(|(on, precision)| model.encoder(on, precision)).collect()
}

/// The portable twin takes a hundred times as long.
fn is_fast(encoder: &Encoder) -> bool {
    encoder.instructions.0 != Set::Portable
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn any_company_in_any_order_gives_the_same_bits(
        lengths in prop::collection::vec(1usize..150, 1..=short(5)),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..short(9)),
        pool in prop::sample::select(vec![Pool::Sum, Pool::First]),
        seed in any::<u64>(),
    ) {
        let mut noise = Noise(seed);
        for encoder in encoders(seed) {
            let longest = if is_fast(&encoder) { 150 } else { short(8) };
            let texts: Vec<_> = lengths.iter().map(|n| text(&mut noise, (*n).min(longest))).collect();
            let expected: Vec<_> = texts.iter().map(|text| alone(&encoder, text, pool)).collect();
            let mut workspace = Workspace::new(encoder.shape(), 10);
            // Picks may repeat a text and leave others out.
            let order: Vec<usize> = picks.iter().map(|pick| pick.index(texts.len())).collect();
            let batch: Vec<_> = order.iter().map(|at| &texts[*at]).collect();
            let got = encode(&encoder, &mut workspace, &batch, pool);
            for (at, got) in order.iter().zip(got) {
                prop_assert_eq!(&got, &expected[*at], "{:?}", encoder.precision());
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too slow there")]
fn every_length_has_a_finite_vector() {
    let ids = text(&mut Noise(3), 512);
    for encoder in encoders(3) {
        // Attention is the one step that knows lengths, and runs in floats or in bf16.
        let step = match encoder.precision() {
            Precision::F32 | Precision::Bf16 => 1,
            Precision::Mixed | Precision::Int8 => 13,
        };
        let longest = if is_fast(&encoder) { 512 } else { 20 };
        let mut workspace = Workspace::new(encoder.shape(), 600);
        for n in (1..=longest).step_by(step) {
            let own = &ids[..n];
            let vectors = encode(&encoder, &mut workspace, &[own], Pool::Sum);
            assert!(vectors[0].iter().all(|x| x.is_finite()), "{:?} at {n}", encoder.precision());
            assert!(vectors[0].iter().any(|x| *x != 0.0), "{:?} at {n}", encoder.precision());
            if n % 5 == 0 {
                let again = encode(&encoder, &mut workspace, &[&ids[..n / 3 + 1], own], Pool::Sum);
                assert_eq!(again[1], vectors[0], "{:?} at {n}", encoder.precision());
            }
        }
    }
}

#[test]
fn buffers_do_not_remember_larger_units() {
    let mut noise = Noise(4);
    for encoder in encoders(4) {
        let (many, longest) = if is_fast(&encoder) { (12, 200) } else { (3, short(6)) };
        let small = [text(&mut noise, 1), text(&mut noise, short(5))];
        let expected = encode(&encoder, &mut Workspace::new(encoder.shape(), 8), &small, Pool::Sum);
        let mut workspace = Workspace::new(encoder.shape(), 1);
        let large: Vec<_> = (0..many).map(|_| text(&mut noise, longest)).collect();
        for _ in 0..2 {
            encode(&encoder, &mut workspace, &large, Pool::Sum);
            assert_eq!(encode(&encoder, &mut workspace, &small, Pool::Sum), expected);
        }
    }
}

#[test]
fn one_token_pools_to_itself_and_a_unit_may_be_empty() {
    for encoder in encoders(5) {
        assert_eq!(alone(&encoder, &[7], Pool::Sum), alone(&encoder, &[7], Pool::First));
        assert_ne!(alone(&encoder, &[7, 9], Pool::Sum), alone(&encoder, &[7, 9], Pool::First));
        let none: [&[u32]; 0] = [];
        assert!(encode(&encoder, &mut Workspace::new(encoder.shape(), 0), &none, Pool::Sum).is_empty());
    }
}

#[test]
fn a_packed_model_serves_several_threads() {
    let texts: Vec<_> = (1..short(5)).map(|n| text(&mut Noise(n as u64), n)).collect();
    for encoder in encoders(6) {
        let expected: Vec<_> = texts.iter().map(|text| alone(&encoder, text, Pool::Sum)).collect();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut workspace = Workspace::new(encoder.shape(), 10);
                    assert_eq!(encode(&encoder, &mut workspace, &texts, Pool::Sum), expected);
                });
            }
        });
    }
}

#[test]
fn buffers_of_another_model_are_made_anew() {
    let encoder = &encoders(6)[0];
    let words = text(&mut Noise(6), short(200));
    let small = Model::new(Shape { max_tokens: 8, ..shape(64, 32, 64, Activation::Gelu) }, 1, 6).shape;
    let vectors = encode(encoder, &mut Workspace::new(&small, 512), std::slice::from_ref(&words), Pool::Sum);
    assert_eq!(vectors.concat(), alone(encoder, &words, Pool::Sum));
}

#[test]
fn a_model_without_layers_pools_its_embeddings() {
    let model = Model::new(shape(64, 32, 128, Activation::Gelu), 0, 7);
    for on in Instructions::available() {
        let encoder = model.encoder(on, Precision::F32);
        let mut workspace = Workspace::new(encoder.shape(), 4);
        let [one, other] =
            [[vec![3, 4]], [vec![5, 6]]].map(|unit| encode(&encoder, &mut workspace, &unit, Pool::Sum));
        assert_ne!(one, other, "{}", on.name());
    }
}
