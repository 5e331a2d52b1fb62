//! The twins that every CPU can run, and the definition of what the others compute.

use crate::codes::GROUP;

pub(crate) fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    a.iter().zip(b).fold(0i32, |sum, (&x, &y)| sum.wrapping_add(i32::from(x) * i32::from(y)))
}

pub(crate) fn sum(codes: &[i8]) -> i32 {
    codes.iter().map(|&code| i32::from(code)).sum()
}

/// Codes times halves; see `codes::halve` for where they stand.
pub(crate) fn dot_halves(codes: &[i8], halves: &[u8]) -> i32 {
    let mut sum = 0;
    for (group, bytes) in codes.chunks(GROUP).zip(halves.chunks(GROUP / 2)) {
        let (low, high) = group.split_at(GROUP / 2);
        for ((&low, &high), &byte) in low.iter().zip(high).zip(bytes) {
            sum += i32::from(low) * i32::from(byte & 15) + i32::from(high) * i32::from(byte >> 4);
        }
    }
    sum
}

/// Eight partial sums, because a single one would forbid the compiler to vectorise.
pub(crate) fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f32>() + rest
}
