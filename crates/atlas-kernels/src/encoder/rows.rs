//! Steps that take one row at a time.

use super::gemm::{Rows, gelu_fine};
use super::numbers::{F32, Numbers, Scores};
use super::simd::Simd;

/// Gain, shift and epsilon of a layer norm.
#[derive(Clone, Copy)]
pub(crate) struct Norm<'a> {
    pub(crate) gain: &'a [f32],
    pub(crate) shift: &'a [f32],
    pub(crate) eps: f32,
}

/// Rows of floats to rows of numbers.
///
/// # Safety
/// As for [`Simd`]; `from` has `rows.n` rows of `width` floats, a multiple of `2 * LANES`, and
/// `rows` has room for them.
#[inline(always)]
pub(crate) unsafe fn convert<S: Simd, N: Numbers<S>>(
    from: *const f32,
    width: usize,
    smoothing: *const f32,
    rows: Rows,
) {
    for row in 0..rows.n {
        // SAFETY: of the caller.
        unsafe {
            let to = rows.data.add(row * width * N::BYTES);
            let scale = N::put_row(from.add(row * width), smoothing, width, to);
            if N::SCALED {
                *rows.scales.add(row) = scale;
            }
        }
    }
}

/// Normalises `n` rows in place.
///
/// # Safety
/// As for [`Simd`]; the rows have the norm's width, a multiple of `2 * LANES`.
#[inline(always)]
pub(crate) unsafe fn normalize<S: Simd>(x: *mut f32, norm: Norm<'_>, n: usize) {
    let width = norm.gain.len();
    for row in 0..n {
        // SAFETY: of the caller.
        unsafe {
            let x = x.add(row * width);
            let mut sums = [S::zero(); 2];
            for at in (0..width).step_by(2 * S::LANES) {
                sums[0] = S::add(sums[0], S::load_f32(x.add(at)));
                sums[1] = S::add(sums[1], S::load_f32(x.add(at + S::LANES)));
            }
            let mean = S::float(S::sum(S::add(sums[0], sums[1])) / width as f32);
            let mut squares = [S::zero(); 2];
            for at in (0..width).step_by(2 * S::LANES) {
                for (half, squares) in squares.iter_mut().enumerate() {
                    let off = S::sub(S::load_f32(x.add(at + half * S::LANES)), mean);
                    *squares = S::fma(off, off, *squares);
                }
            }
            let variance = S::sum(S::add(squares[0], squares[1])) / width as f32;
            let scale = S::float(1.0 / (variance + norm.eps).sqrt());
            for at in (0..width).step_by(S::LANES) {
                let gain = S::mul(scale, S::load_f32(norm.gain.as_ptr().add(at)));
                let off = S::sub(S::load_f32(x.add(at)), mean);
                S::store_f32(x.add(at), S::fma(off, gain, S::load_f32(norm.shift.as_ptr().add(at))));
            }
        }
    }
}

/// Applies an activation to `n` floats.
///
/// # Safety
/// As for [`Simd`]; `n` is a multiple of `LANES`.
#[inline(always)]
pub(crate) unsafe fn activate<S: Simd>(x: *mut f32, n: usize, activation: Activation) {
    for at in (0..n).step_by(S::LANES) {
        // SAFETY: of the caller.
        unsafe {
            let value = S::load_f32(x.add(at));
            let value = match activation {
                Activation::Gelu => gelu_fine::<S>(value),
                Activation::GeluTanh => gelu_tanh::<S>(value),
                Activation::Relu => S::max(value, S::zero()),
            };
            S::store_f32(x.add(at), value);
        }
    }
}

/// `x / (1 + e^(-2u))` with `u = sqrt(2/pi) (x + 0.044715 x^3)`: GELU by `tanh`.
#[inline(always)]
unsafe fn gelu_tanh<S: Simd>(x: S::Reg) -> S::Reg {
    const SLOPE: f32 = 2.0 * 0.797_884_6 * std::f32::consts::LOG2_E;
    // SAFETY: of the caller.
    unsafe {
        let size = S::abs(x);
        let cubic = S::fma(S::mul(size, size), S::float(0.044_715), S::float(1.0));
        let power = S::mul(S::mul(size, cubic), S::float(-SLOPE));
        let e = <F32 as Scores<S>>::exp2(power); // e^(-2 |u|)
        let upper = S::mul(size, S::reciprocal(S::add(S::float(1.0), e)));
        // g(-x) = g(x) - x.
        S::sub(upper, S::sub(S::mul(size, S::float(0.5)), S::mul(x, S::float(0.5))))
    }
}

/// What follows the first feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * Phi(x)`, by the error function.
    Gelu,
    /// The approximation of GELU by `tanh`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

/// Where a row of the word table is, in the type of the model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// 32-bit floats.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper halves of floats.
    Bf16,
}

impl Stored {
    /// Bytes of one number.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// `to = word + position` in floats.
///
/// # Safety
/// As for [`Simd`]; all three have `width` numbers, a multiple of `LANES`.
#[inline(always)]
pub(crate) unsafe fn embed<S: Simd>(
    word: *const u8,
    stored: Stored,
    position: *const f32,
    width: usize,
    to: *mut f32,
) {
    for at in (0..width).step_by(S::LANES) {
        // SAFETY: of the caller.
        unsafe {
            let word = word.add(at * stored.bytes());
            let word = match stored {
                Stored::F32 => S::load(word.cast()),
                Stored::F16 => S::load_f16(word.cast()),
                Stored::Bf16 => S::load_bf16(word.cast()),
            };
            S::store_f32(to.add(at), S::add(word, S::load_f32(position.add(at))));
        }
    }
}

/// The sum of `n` rows.
///
/// # Safety
/// As for [`Simd`]; `rows` has `n` rows of `to.len()` floats, a multiple of `LANES`.
#[inline(always)]
pub(crate) unsafe fn add_up<S: Simd>(rows: *const f32, n: usize, to: &mut [f32]) {
    for at in (0..to.len()).step_by(S::LANES) {
        // SAFETY: of the caller.
        unsafe {
            let mut sum = S::zero();
            for row in 0..n {
                sum = S::add(sum, S::load_f32(rows.add(row * to.len() + at)));
            }
            S::store_f32(to.as_mut_ptr().add(at), sum);
        }
    }
}
