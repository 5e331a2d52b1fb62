//! The three kinds of numbers that matrices are multiplied in.
//!
//! A word of 32 bits holds a *group* of neighbours along the inner dimension: one float, two bf16
//! or (with VNNI) four codes. Rows of the left matrix are words in order; the right matrix is
//! packed so that a register holds one group of each of its columns. The micro-kernel is then the
//! same for all three.

use super::simd::Simd;

/// Scale and zero point of a row of codes: `x = scale * (code - zero)`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowScale {
    pub(crate) scale: f32,
    pub(crate) zero: f32,
}

/// What turns the sums of a tile's columns into floats, one register per part.
#[derive(Clone, Copy)]
pub(crate) struct Columns<R> {
    pub(crate) bias: R,
    pub(crate) scale: R,
    pub(crate) sum: R,
}

/// A kind of numbers on an instruction set.
///
/// # Safety
/// As for [`Simd`].
pub(crate) trait Numbers<S: Simd>: Copy + 'static {
    /// Numbers in a word.
    const GROUP: usize;
    /// Bytes of a number in a row.
    const BYTES: usize = 4 / Self::GROUP;
    /// Whether rows have a [`RowScale`].
    const SCALED: bool = false;

    unsafe fn dot(sum: S::Reg, a: S::Reg, b: S::Reg) -> S::Reg;

    /// `LANES` floats as numbers of a row.
    unsafe fn put(to: *mut u8, x: S::Reg);

    /// A row of floats as a row of numbers; `smoothing` has a factor per column or is null.
    unsafe fn put_row(from: *const f32, smoothing: *const f32, width: usize, to: *mut u8) -> RowScale;

    /// The sums of a tile's row as floats, bias added.
    unsafe fn finish(sums: S::Reg, columns: Columns<S::Reg>, row: RowScale) -> S::Reg;
}

/// Numbers that attention runs in: its sums and shares have no scale of their own.
///
/// # Safety
/// As for [`Simd`].
pub(crate) trait Scores<S: Simd>: Numbers<S> {
    /// Packs `n` rows of `width` numbers, `stride` apart, as the right side of a product that
    /// runs over the rows: word `[row / GROUP][column]`, rows beyond `n` being zero.
    unsafe fn pack_rows(from: *const u8, stride: usize, n: usize, width: usize, to: *mut u32);

    /// `2^x` for `x <= 0`, as exact as the numbers keep it.
    unsafe fn exp2(x: S::Reg) -> S::Reg;
}

/// 32-bit floats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct F32;

/// The upper halves of floats: 8 bits of precision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bf16;

/// 8-bit codes: unsigned with a scale and zero point per row on the left, signed with a scale per
/// column on the right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Int8;

/// Minimax polynomials of `2^x` on `[0, 1)`, highest power first; relative errors 2e-9, 8e-5.
#[expect(clippy::approx_constant, reason = "a coefficient near ln 2, not ln 2")]
const EXP2_FINE: [f32; 7] =
    [2.170_225_6e-4, 1.243_968_8e-3, 9.678_841e-3, 5.548_334e-2, 2.402_298_4e-1, 6.931_47e-1, 1.0];
const EXP2_COARSE: [f32; 4] = [7.802_452e-2, 2.260_671_8e-1, 6.958_335e-1, 9.999_252e-1];

/// `c[0] x^n + ... + c[n]`.
#[inline(always)]
pub(crate) unsafe fn polynomial<S: Simd, const N: usize>(c: &[f32; N], x: S::Reg) -> S::Reg {
    // SAFETY: of the caller.
    unsafe {
        let mut sum = S::float(c[0]);
        for c in &c[1..] {
            sum = S::fma(sum, x, S::float(*c));
        }
        sum
    }
}

#[inline(always)]
unsafe fn exp2<S: Simd, const N: usize>(c: &[f32; N], x: S::Reg) -> S::Reg {
    // SAFETY: of the caller.
    unsafe { S::scale(polynomial::<S, N>(c, S::fraction(x)), x) }
}

/// The row times its smoothing, register by register.
#[inline(always)]
unsafe fn smoothed<S: Simd>(from: *const f32, smoothing: *const f32, at: usize) -> S::Reg {
    // SAFETY: of the caller.
    unsafe {
        let x = S::load_f32(from.add(at));
        if smoothing.is_null() { x } else { S::mul(x, S::load_f32(smoothing.add(at))) }
    }
}

// SAFETY (all blocks): of the caller, as `Numbers` says.
impl<S: Simd> Numbers<S> for F32 {
    const GROUP: usize = 1;

    #[inline(always)]
    unsafe fn dot(sum: S::Reg, a: S::Reg, b: S::Reg) -> S::Reg {
        unsafe { S::fma(a, b, sum) }
    }
    #[inline(always)]
    unsafe fn put(to: *mut u8, x: S::Reg) {
        unsafe { S::store(to.cast(), x) }
    }
    #[inline(always)]
    unsafe fn put_row(from: *const f32, _: *const f32, width: usize, to: *mut u8) -> RowScale {
        unsafe { std::ptr::copy_nonoverlapping(from.cast(), to, 4 * width) };
        RowScale::default()
    }
    #[inline(always)]
    unsafe fn finish(sums: S::Reg, columns: Columns<S::Reg>, _: RowScale) -> S::Reg {
        unsafe { S::add(sums, columns.bias) }
    }
}

impl<S: Simd> Scores<S> for F32 {
    #[inline(always)]
    unsafe fn pack_rows(from: *const u8, stride: usize, n: usize, width: usize, to: *mut u32) {
        for row in 0..n {
            unsafe {
                std::ptr::copy_nonoverlapping(
                    from.cast::<u32>().add(row * stride),
                    to.add(row * width),
                    width,
                )
            };
        }
    }
    #[inline(always)]
    unsafe fn exp2(x: S::Reg) -> S::Reg {
        unsafe { exp2::<S, 7>(&EXP2_FINE, x) }
    }
}

impl<S: Simd> Numbers<S> for Bf16 {
    const GROUP: usize = 2;

    #[inline(always)]
    unsafe fn dot(sum: S::Reg, a: S::Reg, b: S::Reg) -> S::Reg {
        unsafe { S::dot_bf16(sum, a, b) }
    }
    #[inline(always)]
    unsafe fn put(to: *mut u8, x: S::Reg) {
        unsafe { S::store_bf16(to.cast(), x) }
    }
    #[inline(always)]
    unsafe fn put_row(from: *const f32, _: *const f32, width: usize, to: *mut u8) -> RowScale {
        for at in (0..width).step_by(S::LANES) {
            unsafe { S::store_bf16(to.cast::<u16>().add(at), S::load_f32(from.add(at))) };
        }
        RowScale::default()
    }
    #[inline(always)]
    unsafe fn finish(sums: S::Reg, columns: Columns<S::Reg>, _: RowScale) -> S::Reg {
        unsafe { S::add(sums, columns.bias) }
    }
}

impl<S: Simd> Scores<S> for Bf16 {
    #[inline(always)]
    unsafe fn pack_rows(from: *const u8, stride: usize, n: usize, width: usize, to: *mut u32) {
        // Stands in for the missing row of an odd number of them.
        static ZEROS: [u16; 64] = [0; 64];
        for pair in 0..n.div_ceil(2) {
            for at in (0..width).step_by(S::LANES) {
                unsafe {
                    let low = from.cast::<u16>().add(2 * pair * stride + at);
                    let high = if 2 * pair + 1 < n { low.add(stride) } else { ZEROS.as_ptr() };
                    S::store(to.add(pair * width + at), S::interleave(low, high));
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn exp2(x: S::Reg) -> S::Reg {
        unsafe { exp2::<S, 4>(&EXP2_COARSE, x) }
    }
}

impl<S: Simd> Numbers<S> for Int8 {
    const GROUP: usize = S::CODES;
    const SCALED: bool = true;

    #[inline(always)]
    unsafe fn dot(sum: S::Reg, a: S::Reg, b: S::Reg) -> S::Reg {
        unsafe { S::dot_codes(sum, a, b) }
    }
    #[inline(always)]
    unsafe fn put(to: *mut u8, x: S::Reg) {
        unsafe { S::store_codes(to, x) }
    }
    #[inline(always)]
    unsafe fn put_row(from: *const f32, smoothing: *const f32, width: usize, to: *mut u8) -> RowScale {
        unsafe {
            // Zero is inside the range, so that it has a code.
            let (mut high, mut low) = ([S::zero(); 2], [S::zero(); 2]);
            for at in (0..width).step_by(2 * S::LANES) {
                for half in 0..2 {
                    let x = smoothed::<S>(from, smoothing, at + half * S::LANES);
                    high[half] = S::max(high[half], x);
                    low[half] = S::min(low[half], x);
                }
            }
            let high = S::largest(S::max(high[0], high[1]));
            let low = S::smallest(S::min(low[0], low[1]));
            let range = (high - low).max(1e-12);
            let (scale, inverse) = (range / 255.0, 255.0 / range);
            let zero = (-low * inverse).round_ties_even();
            let (inverses, zeros) = (S::float(inverse), S::float(zero));
            for at in (0..width).step_by(S::LANES) {
                let codes = S::fma(smoothed::<S>(from, smoothing, at), inverses, zeros);
                S::store_codes(to.add(at * <Self as Numbers<S>>::BYTES), codes);
            }
            RowScale { scale, zero }
        }
    }
    #[inline(always)]
    unsafe fn finish(sums: S::Reg, columns: Columns<S::Reg>, row: RowScale) -> S::Reg {
        unsafe {
            // The products of the zero point with the column's codes come off again.
            let sums = S::fma(S::float(-row.zero), columns.sum, S::from_int(sums));
            S::fma(sums, S::mul(columns.scale, S::float(row.scale)), columns.bias)
        }
    }
}
