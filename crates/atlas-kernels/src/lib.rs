//! SIMD kernels with run-time CPU detection and a portable twin of each.
//!
//! One binary runs on every CPU of its architecture: the instruction set is chosen when the
//! process starts ([`Kernel::detect`]), never by `target-cpu`. Every integer kernel gives the
//! same bits as its portable twin, so an index built on one machine answers alike on another and
//! a property test can demand equality. Float kernels differ in the order of summation only.
//!
//! Layout decides more than instructions here: int8 rows that begin on a cache line scan
//! 1.5 to 2.6 times faster than the same rows in a `Vec<i8>`. [`CodeMatrix`] keeps them so.
//!
//! Not here: which rows to compare, and what a score means. That is `atlas-index`.

#![allow(
    unsafe_code,
    reason = "SIMD intrinsics; each unsafe function states its precondition and each call says why it holds"
)]

mod blocks;
mod codes;
pub mod encoder;
mod kernel;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests;

pub use blocks::{Blocks, prefetch};
pub use codes::{BATCH, CodeMatrix, CodeQuery, CodeRow, Codes, quantize, rows_of};
pub use kernel::Kernel;

/// Dot product of two int8 vectors with the best kernel of this CPU.
///
/// Arithmetic wraps at 32 bits, which below 131,072 components cannot happen.
///
/// # Panics
/// When the lengths differ.
pub fn dot_i8(a: &[i8], b: &[i8]) -> i32 {
    Kernel::detect().dot_i8(a, b)
}

/// Dot product of two float vectors with the best kernel of this CPU.
///
/// # Panics
/// When the lengths differ.
pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    Kernel::detect().dot_f32(a, b)
}
