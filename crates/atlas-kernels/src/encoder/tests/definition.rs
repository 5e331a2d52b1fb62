//! What the kernels compute, written down without regard to speed, in `f64`.

use crate::encoder::Activation;
use crate::encoder::simd::{from_bf16, to_bf16};

/// The error function: all terms of the series are positive, and beyond 6 it is 1.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

pub(super) fn activation(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Activation::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        Activation::Relu => x.max(0.0),
    }
}

pub(super) fn bf16(x: f32) -> f32 {
    from_bf16(to_bf16(x))
}

/// `weight * x + bias`, rows of the weight being outputs.
pub(super) fn dense(weight: &[f32], bias: &[f32], x: &[f64]) -> Vec<f64> {
    let rows = weight.chunks_exact(x.len()).zip(bias);
    rows.map(|(row, bias)| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*bias))
        .collect()
}

pub(super) fn normalize(x: &[f64], gain: &[f32], shift: &[f32], eps: f32) -> Vec<f64> {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    let scale = (variance + f64::from(eps)).sqrt().recip();
    let parts = x.iter().zip(gain).zip(shift);
    parts.map(|((x, gain), shift)| (x - mean) * scale * f64::from(*gain) + f64::from(*shift)).collect()
}

/// Attention of one sequence over rows of query, key and value, the softmax to the base of two.
pub(super) fn attend(qkv: &[Vec<f64>], heads: usize) -> Vec<Vec<f64>> {
    let hidden = qkv[0].len() / 3;
    let width = hidden / heads;
    let mut contexts = vec![vec![0.0; hidden]; qkv.len()];
    for head in 0..heads {
        let part = |row: &'_ [f64], which: usize| {
            let from = which * hidden + head * width;
            row[from..from + width].to_vec()
        };
        for (query, context) in qkv.iter().zip(&mut contexts) {
            let query = part(query, 0);
            let scores: Vec<f64> =
                qkv.iter().map(|key| part(key, 1).iter().zip(&query).map(|(k, q)| k * q).sum()).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let shares: Vec<f64> = scores.iter().map(|score| (score - largest).exp2()).collect();
            let total: f64 = shares.iter().sum();
            for (share, value) in shares.iter().zip(qkv) {
                let to = context[head * width..].iter_mut();
                to.zip(part(value, 2)).for_each(|(to, value)| *to += share / total * value);
            }
        }
    }
    contexts
}

pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
