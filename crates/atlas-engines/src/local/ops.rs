//! The steps between the matrix products, fused and vectorised.
//!
//! candle's own softmax, layer norm and GELU call `libm` per element and hand rows to rayon's
//! global pool; with one model per core that is slow and the pools fight. These are plain loops
//! on slices that the compiler vectorises; `pulp` compiles each for the CPU's widest registers
//! and picks at run time.

use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, InplaceOp3, Layout, Result};
use pulp::Arch;

/// What follows a dense layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    /// Nothing.
    Identity,
    /// `x * Phi(x)`, by the error function.
    Gelu,
    /// The approximation of GELU by `tanh`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

/// Adds a bias to every row, then applies the activation.
pub(super) struct Bias(pub(super) Activation);

impl InplaceOp2 for Bias {
    fn name(&self) -> &'static str {
        "bias-activation"
    }

    fn cpu_fwd(
        &self,
        rows: &mut CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<()> {
        let bias = slice(bias, bias_layout)?;
        let rows = slice_mut(rows, layout)?;
        Arch::new().dispatch(|| match self.0 {
            Activation::Identity => each(rows, bias, |x| x),
            Activation::Relu => each(rows, bias, |x| x.max(0.0)),
            Activation::Gelu => each(rows, bias, gelu),
            Activation::GeluTanh => {
                each(rows, bias, |x| 0.5 * x * (1.0 + (0.797_884_6 * (x + 0.044_715 * x * x * x)).tanh()));
            }
        });
        Ok(())
    }
}

#[inline(always)]
fn each(rows: &mut [f32], bias: &[f32], step: impl Fn(f32) -> f32) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value = step(*value + bias);
        }
    }
}

/// `LayerNorm(rows + residual + bias)`; the parameters are the rows bias, gain and shift.
pub(super) struct AddNorm {
    /// Keeps the division finite.
    pub(super) eps: f32,
}

impl InplaceOp3 for AddNorm {
    fn name(&self) -> &'static str {
        "add-norm"
    }

    fn cpu_fwd(
        &self,
        rows: &mut CpuStorage,
        layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
        parameters: &CpuStorage,
        parameters_layout: &Layout,
    ) -> Result<()> {
        let residual = slice(residual, residual_layout)?;
        let parameters = slice(parameters, parameters_layout)?;
        let width = parameters.len() / 3;
        let (bias, rest) = parameters.split_at(width);
        let (gain, shift) = rest.split_at(width);
        let rows = slice_mut(rows, layout)?;
        Arch::new().dispatch(|| {
            for (row, residual) in rows.chunks_exact_mut(width).zip(residual.chunks_exact(width)) {
                for ((value, residual), bias) in row.iter_mut().zip(residual).zip(bias) {
                    *value += residual + bias;
                }
                let mean = sum(row, |x| x) / width as f32;
                let variance = sum(row, |x| (x - mean) * (x - mean)) / width as f32;
                let scale = 1.0 / (variance + self.eps).sqrt();
                for ((value, gain), shift) in row.iter_mut().zip(gain).zip(shift) {
                    *value = (*value - mean) * scale * gain + shift;
                }
            }
        });
        Ok(())
    }
}

/// Softmax over the last dimension of `scale * x`.
pub(super) struct Softmax {
    /// One over the square root of the head's width.
    pub(super) scale: f32,
}

impl InplaceOp1 for Softmax {
    fn name(&self) -> &'static str {
        "scaled-softmax"
    }

    fn cpu_fwd(&self, scores: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let width = layout.dims().last().copied().unwrap_or(1).max(1);
        let scale = self.scale;
        let scores = slice_mut(scores, layout)?;
        Arch::new().dispatch(|| {
            for row in scores.chunks_exact_mut(width) {
                let max = max(row);
                for value in row.iter_mut() {
                    *value = exp((*value - max) * scale);
                }
                let share = 1.0 / sum(row, |x| x);
                for value in row.iter_mut() {
                    *value *= share;
                }
            }
        });
        Ok(())
    }
}

/// Sums in 16 lanes: a sum in one lane has a fixed order and cannot be vectorised.
#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += of(*value);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|value| of(*value)).sum::<f32>()
}

/// The largest value, in 16 lanes.
#[inline(always)]
fn max(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let mut lanes = [f32::MIN; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*value, *lane);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::MIN, larger)
}

/// `e^x` for `x <= 88`, to 2e-7 relative: reduced to `[-ln2/2, ln2/2]`, Taylor to the 7th power.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let series = 1.0 / 5040.0;
    let series = series * r + 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    let series = series * r + 1.0;
    let series = series * r + 1.0;
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    series * f32::from_bits(power)
}

/// `x * Phi(x)` with the error function after Abramowitz and Stegun 7.1.26, 1.5e-7 absolute:
/// the noise of f32 sums, where `libm` takes ten times as long for digits that are lost anyway.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = 1.061_405_4;
    let series = series * t - 1.453_152;
    let series = series * t + 1.421_413_8;
    let series = series * t - 0.284_496_74;
    let series = series * t + 0.254_829_6;
    let erf = (1.0 - series * t * exp(-z * z)).copysign(x);
    0.5 * x * (1.0 + erf)
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("a fused step needs contiguous rows");
    };
    Ok(&storage.as_slice::<f32>()?[from..to])
}

fn slice_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("a fused step needs contiguous rows");
    };
    match storage {
        CpuStorage::F32(values) => Ok(&mut values[from..to]),
        _ => candle_core::bail!("a fused step needs f32"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{D, Device, Tensor};

    use super::*;

    fn tensor(rows: usize, width: usize) -> Tensor {
        let values: Vec<f32> = (0..rows * width).map(|i| ((i * 7919) % 1009) as f32 / 101.0 - 5.0).collect();
        Tensor::from_vec(values, (rows, width), &Device::Cpu).expect("shape fits")
    }

    #[track_caller]
    fn check(ours: &Tensor, oracle: &Tensor, tolerance: f32) {
        let difference =
            (ours - oracle).and_then(|d| d.abs()?.max_all()?.to_scalar::<f32>()).expect("same shape");
        assert!(difference < tolerance, "differs by {difference}");
    }

    #[test]
    fn gelu_agrees_with_libm() {
        let x = tensor(3, 1009);
        let oracle = x.gelu_erf().expect("f32");
        x.inplace_op2(&Tensor::zeros(1009, x.dtype(), x.device()).expect("zeros"), &Bias(Activation::Gelu))
            .expect("f32");
        check(&x, &oracle, 1e-6);
    }

    #[test]
    fn exp_agrees_with_libm_down_to_underflow() {
        for i in 0..200_000 {
            let x = -100.0 + i as f32 * 0.0005;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= exact * 3e-7 + 2e-38, "{x}: {ours} {exact}");
        }
    }

    #[test]
    fn softmax_agrees_with_candle_at_any_width() {
        for width in [1, 2, 15, 16, 17, 256] {
            let x = tensor(5, width);
            let oracle = candle_nn::ops::softmax(&(&x * 0.3).expect("f32"), D::Minus1).expect("f32");
            x.inplace_op1(&Softmax { scale: 0.3 }).expect("f32");
            check(&x, &oracle, 1e-6);
        }
    }

    #[test]
    fn add_norm_agrees_with_candle() {
        for width in [8, 100, 384] {
            let (x, residual, parameters) = (tensor(4, width), tensor(4, width), tensor(3, width));
            let row = |i: usize| parameters.get(i).expect("three rows");
            let sum = (&x + &residual).and_then(|sum| sum.broadcast_add(&row(0))).expect("same width");
            let oracle = candle_nn::ops::layer_norm_slow(&sum, &row(1), &row(2), 1e-12).expect("f32");
            x.inplace_op3(&residual, &parameters, &AddNorm { eps: 1e-12 }).expect("f32");
            check(&x, &oracle, 2e-5);
        }
    }
}
