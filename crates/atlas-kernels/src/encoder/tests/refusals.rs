//! What the encoder refuses, and in which words.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::model::{Model, VOCABULARY, shape};
use crate::encoder::{Activation, Instructions, Pool, Precision, Shape, Workspace};

fn model() -> Model {
    Model::new(Shape { max_tokens: 4, ..shape(64, 32, 64, Activation::Gelu) }, 1, 1)
}

/// Fails unless the step panics with these words.
#[track_caller]
fn check(words: &str, step: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(step)).expect_err(words);
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .expect("a panic has words");
    assert!(said.contains(words), "{said}");
}

#[track_caller]
fn check_unit(words: &str, sequences: &[&[u32]], pooled: usize) {
    for on in Instructions::available() {
        let encoder = model().encoder(on, Precision::F32);
        let mut workspace = Workspace::new(encoder.shape(), 8);
        let mut pooled = vec![0.0; pooled];
        check(words, || encoder.encode(&mut workspace, sequences, Pool::Sum, &mut pooled));
    }
}

#[test]
fn a_unit_that_does_not_fit_the_model() {
    check_unit("a sequence has a token", &[&[]], 64);
    check_unit("a sequence has a token", &[&[1], &[]], 128);
    check_unit("at most 4 tokens", &[&[1], &[1; 5]], 128);
    check_unit("ids are rows of the word table", &[&[1, VOCABULARY as u32]], 64);
    check_unit("ids are rows of the word table", &[&[u32::MAX]], 64);
    check_unit("a row per sequence", &[&[1]], 63);
    check_unit("a row per sequence", &[&[1]], 128);
    check_unit("a row per sequence", &[], 64);
}

fn shorten(numbers: &mut Vec<f32>) {
    numbers.pop();
}

#[track_caller]
fn check_model(words: &str, spoil: impl Fn(&mut Model)) {
    let mut model = model();
    spoil(&mut model);
    for on in Instructions::available() {
        for precision in Precision::ALL {
            check(words, || drop(model.encoder(on, precision)));
        }
    }
}

#[test]
fn weights_of_other_lengths_than_the_shape_says() {
    check_model("a row per position", |model| shorten(&mut model.positions));
    check_model("a gain per number", |model| shorten(&mut model.norm.0));
    check_model("a shift per number", |model| shorten(&mut model.norm.1));
    check_model("whole rows of words", |model| shorten(&mut model.words));
    for of in 0..6 {
        check_model("a weight per input and output", |model| model.drop_weight(of));
        check_model("a bias per output", |model| model.drop_bias(of));
        check_model("a factor per input", |model| model.drop_smoothing(of));
    }
    for of in 0..2 {
        check_model("a norm per state", |model| shorten(&mut model.layers[0].1[of].0));
        check_model("a norm per state", |model| shorten(&mut model.layers[0].1[of].1));
    }
}

#[test]
fn a_shape_that_cannot_run_names_the_size() {
    let good = shape(64, 32, 64, Activation::Gelu);
    for (shape, reason) in [
        (Shape { hidden: 96, ..good }, Some("hidden size 96 is no multiple of 64")),
        (Shape { hidden: 0, ..good }, Some("hidden size 0 is no multiple of 64")),
        (Shape { intermediate: 100, ..good }, Some("intermediate size 100 is no multiple of 64")),
        (Shape { intermediate: 0, ..good }, Some("intermediate size 0 is no multiple of 64")),
        (Shape { heads: 3, ..good }, Some("hidden size 64 is no multiple of 3")),
        (Shape { heads: 4, ..good }, Some("head width 16 is no multiple of 32")),
        (Shape { heads: 0, ..good }, Some("a model has an attention head")),
        (good, None),
    ] {
        assert_eq!(shape.unsupported().as_deref(), reason);
        if let Some(reason) = reason {
            check_model(reason, |model| model.shape = shape);
        }
    }
}
