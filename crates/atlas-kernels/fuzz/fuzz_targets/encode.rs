//! Bytes become a small model and a unit of texts; every instruction set must answer like the
//! portable one, and touch no memory that is not its own (the target runs under AddressSanitizer).
//!
//! `cargo +nightly fuzz run encode` in `crates/atlas-kernels`.

#![no_main]

use std::borrow::Cow;

use atlas_kernels::encoder::{
    Activation, Dense, Embeddings, Encoder, Instructions, LayerWeights, Norm, Pool, Precision, Shape, Stored,
    Workspace,
};
use libfuzzer_sys::fuzz_target;

const VOCABULARY: usize = 24;

/// Reads the input; zeros follow its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.byte() % from.len()]
    }
}

/// Weights from a seed: splitmix64.
struct Noise(u64);

impl Noise {
    fn floats(&mut self, n: usize, size: f32) -> Vec<f32> {
        let mut float = || {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            size * (((mixed ^ (mixed >> 27)) >> 40) as f32 / (1 << 23) as f32 - 1.0)
        };
        (0..n).map(|_| float()).collect()
    }
}

/// A packed model of these sizes and this seed.
fn model(
    on: Instructions,
    precision: Precision,
    stored: Stored,
    shape: Shape,
    n_layers: usize,
    seed: u64,
) -> Encoder {
    let noise = &mut Noise(seed);
    let Shape { hidden, intermediate, .. } = shape;
    let words = noise.floats(VOCABULARY * hidden, 1.0);
    let words: Vec<u8> = match stored {
        Stored::F32 => words.iter().flat_map(|x| x.to_ne_bytes()).collect(),
        // Cut, not rounded: any number will do.
        Stored::Bf16 => words.iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_ne_bytes()).collect(),
        // Numbers between 1/4 and 1, either sign.
        Stored::F16 => {
            words.iter().flat_map(|x| (0x3400 | (x.to_bits() >> 13) as u16 & 0x87ff).to_ne_bytes()).collect()
        }
    };
    let positions = noise.floats(shape.max_tokens * hidden, 0.3);
    let (gain, shift) = (vec![1.0; hidden], noise.floats(hidden, 0.1));
    let norm = Norm { gain: &gain, shift: &shift };
    let embeddings = Embeddings { words: Cow::Owned(words), stored, positions: &positions, norm };
    let mut encoder = Encoder::new(on, precision, shape, embeddings);
    for _ in 0..n_layers {
        let sizes = [(hidden, hidden); 4].into_iter().chain([(hidden, intermediate), (intermediate, hidden)]);
        let layers: Vec<(Vec<f32>, Vec<f32>)> = sizes
            .map(|(from, to)| (noise.floats(from * to, 1.7 / (from as f32).sqrt()), noise.floats(to, 0.2)))
            .collect();
        let dense = |at: usize| Dense { weight: &layers[at].0, bias: &layers[at].1, smoothing: None };
        encoder.push_layer(&LayerWeights {
            qkv: [dense(0), dense(1), dense(2)],
            output: dense(3),
            attention_norm: norm,
            widen: dense(4),
            narrow: dense(5),
            output_norm: norm,
        });
    }
    encoder
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input(bytes);
    let (hidden, heads) = input.pick(&[(64, 2), (64, 1), (128, 4), (128, 2), (128, 1), (192, 2)]);
    let shape = Shape {
        hidden,
        heads,
        intermediate: input.pick(&[64, 128, 192, 576]),
        max_tokens: 64,
        activation: input.pick(&[Activation::Gelu, Activation::GeluTanh, Activation::Relu]),
        eps: 1e-12,
    };
    let precision = input.pick(&Precision::ALL);
    let stored = input.pick(&[Stored::F32, Stored::F16, Stored::Bf16]);
    let pool = input.pick(&[Pool::Sum, Pool::First]);
    let n_layers = 1 + input.byte() % 2;
    let seed = (input.byte() << 8 | input.byte()) as u64;
    // A unit that came before must leave no trace.
    let before = vec![1; input.byte() % 64 + 1];
    let mut texts: Vec<Vec<u32>> = Vec::new();
    let mut n_tokens = 0;
    while !input.0.is_empty() && texts.len() < 6 && n_tokens < 128 {
        let n = 1 + input.byte() % shape.max_tokens;
        texts.push((0..n).map(|_| (input.byte() % VOCABULARY) as u32).collect());
        n_tokens += n;
    }
    let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let vectors: Vec<Vec<f32>> = Instructions::available()
        .into_iter()
        .map(|on| {
            let encoder = model(on, precision, stored, shape, n_layers, seed);
            let mut workspace = Workspace::new(&shape, 1);
            encoder.encode(&mut workspace, &[&before], pool, &mut vec![0.0; hidden]);
            let mut pooled = vec![f32::NAN; texts.len() * hidden];
            encoder.encode(&mut workspace, &texts, pool, &mut pooled);
            for (text, together) in texts.iter().zip(pooled.chunks_exact(hidden)) {
                let mut alone = vec![f32::NAN; hidden];
                encoder.encode(&mut Workspace::new(&shape, 1), &[text], pool, &mut alone);
                assert_eq!(alone, together, "{}: company changed a vector", on.name());
            }
            pooled
        })
        .collect();
    let twin = vectors.last().expect("the portable set is always there");
    let bound = if precision == Precision::F32 { 0.999_99 } else { 0.999 };
    for (on, vectors) in Instructions::available().into_iter().zip(&vectors) {
        for (got, expected) in vectors.chunks_exact(hidden).zip(twin.chunks_exact(hidden)) {
            let cosine = cosine(got, expected);
            assert!(cosine >= bound, "{} {precision:?}: cosine {cosine}", on.name());
        }
    }
});
