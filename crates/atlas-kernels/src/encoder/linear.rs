//! Dense layers, packed once for the micro-kernel.

use std::ops::Range;

use super::aligned::Aligned;
use super::simd::to_bf16;

/// The numbers of a matrix product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 32-bit floats.
    F32,
    /// bf16 with sums in f32.
    Bf16,
    /// 8-bit codes with sums in i32.
    Int8,
}

/// A dense layer as a model file has it.
#[derive(Debug, Clone, Copy)]
pub struct Dense<'a> {
    /// `outputs` rows of `inputs` numbers.
    pub weight: &'a [f32],
    /// `outputs` numbers.
    pub bias: &'a [f32],
    /// For codes: a factor per input that the row before is multiplied with and the weights are
    /// divided by, so that the ranges of both are even (SmoothQuant, arXiv 2211.10438).
    pub smoothing: Option<&'a [f32]>,
}

/// Where a back end wants the numbers of a matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packing {
    /// Numbers in a word.
    pub(crate) group: usize,
    /// Columns of a panel.
    pub(crate) panel: usize,
}

/// A dense layer in panels: word `[panel][input / group][column of the panel]`.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) words: Aligned<u32>,
    pub(crate) bias: Aligned<f32>,
    /// Of codes: the value of one step, per column.
    pub(crate) scales: Aligned<f32>,
    /// Of codes: their sum, per column.
    pub(crate) sums: Aligned<f32>,
    pub(crate) smoothing: Option<Aligned<f32>>,
}

impl Linear {
    /// Packs a range of the layer's inputs.
    pub(crate) fn pack(dense: Dense<'_>, kind: Kind, packing: Packing, range: Range<usize>) -> Self {
        let (inputs, outputs) = (range.len(), dense.bias.len());
        let stride = dense.weight.len() / outputs;
        let Packing { group, panel } = packing;
        let n_words = inputs / group;
        let mut linear = Self {
            inputs,
            outputs,
            words: Aligned::zeroed(n_words * outputs),
            bias: Aligned::from_slice(dense.bias),
            scales: Aligned::zeroed(outputs),
            sums: Aligned::zeroed(outputs),
            smoothing: dense
                .smoothing
                .filter(|_| kind == Kind::Int8)
                .map(|factors| Aligned::from_slice(&factors[range.clone()])),
        };
        let mut column = vec![0.0f32; inputs];
        for output in 0..outputs {
            column.copy_from_slice(&dense.weight[output * stride..][range.clone()]);
            let words = &mut linear.words[(output / panel) * n_words * panel + output % panel..];
            let mut words = words.iter_mut().step_by(panel);
            match kind {
                Kind::F32 => {
                    words.zip(&column).for_each(|(word, x)| *word = x.to_bits());
                }
                Kind::Bf16 => {
                    for (word, pair) in words.zip(column.as_chunks::<2>().0) {
                        *word = u32::from(to_bf16(pair[0])) | u32::from(to_bf16(pair[1])) << 16;
                    }
                }
                Kind::Int8 => {
                    if let Some(smoothing) = &linear.smoothing {
                        column.iter_mut().zip(smoothing.iter()).for_each(|(x, factor)| *x /= factor);
                    }
                    let largest = column.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
                    let scale = largest.max(1e-12) / 127.0;
                    let bits = 32 / group;
                    let mask = u32::MAX >> (32 - bits);
                    let mut sum = 0;
                    for group in column.chunks_exact(group) {
                        let word = words.next().expect("a word per group");
                        for (place, x) in group.iter().enumerate() {
                            let code = round(x / scale);
                            sum += code;
                            *word |= (code as u32 & mask) << (place * bits);
                        }
                    }
                    linear.scales[output] = scale;
                    linear.sums[output] = sum as f32;
                }
            }
        }
        linear
    }

    /// The smoothing of the rows before this layer, null without one.
    pub(crate) fn smoothing(&self) -> *const f32 {
        self.smoothing.as_ref().map_or(std::ptr::null(), |factors| factors.as_ptr())
    }
}

/// The nearest integer, ties to even, of a number below 2^22 in amount: adding 1.5 * 2^23 leaves it
/// in the mantissa. `f32::round_ties_even` is a call of `libm` per weight.
#[inline(always)]
fn round(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}
