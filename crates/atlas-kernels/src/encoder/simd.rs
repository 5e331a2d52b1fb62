//! What the kernels need of an instruction set: registers of 32-bit lanes.
//!
//! Everything above is written once over [`Simd`] and compiled per instruction set; the portable
//! implementation is the twin that the tests compare with.

/// Registers of one instruction set. A lane holds a float, an integer, two bf16 numbers or four
/// codes, as the operation reads it.
///
/// # Safety
/// Every function needs the CPU features of its implementation; pointers are valid for the lanes
/// they name and need no alignment. The functions are inlined into callers compiled for those
/// features, see `backend`.
pub(crate) trait Simd: Copy + 'static {
    /// One register.
    type Reg: Copy;
    /// 32-bit lanes of a register.
    const LANES: usize;
    /// Registers per row of a tile: the width of a panel is `VECTORS * LANES` columns.
    const VECTORS: usize;
    /// Codes that [`Simd::dot_codes`] multiplies per lane.
    const CODES: usize;

    unsafe fn load(from: *const u32) -> Self::Reg;
    unsafe fn store(to: *mut u32, x: Self::Reg);
    unsafe fn splat(word: u32) -> Self::Reg;

    unsafe fn add(a: Self::Reg, b: Self::Reg) -> Self::Reg;
    unsafe fn sub(a: Self::Reg, b: Self::Reg) -> Self::Reg;
    unsafe fn mul(a: Self::Reg, b: Self::Reg) -> Self::Reg;
    /// `a * b + c`, rounded once.
    unsafe fn fma(a: Self::Reg, b: Self::Reg, c: Self::Reg) -> Self::Reg;
    unsafe fn max(a: Self::Reg, b: Self::Reg) -> Self::Reg;
    unsafe fn min(a: Self::Reg, b: Self::Reg) -> Self::Reg;
    unsafe fn abs(a: Self::Reg) -> Self::Reg;
    /// `x - floor(x)`; just below zero it may be the number before 1.
    unsafe fn fraction(x: Self::Reg) -> Self::Reg;
    /// `a * 2^floor(x)`, zero where that is too small for a float; `x <= 127`.
    unsafe fn scale(a: Self::Reg, x: Self::Reg) -> Self::Reg;
    /// `1 / x` to the last place but one.
    unsafe fn reciprocal(x: Self::Reg) -> Self::Reg;
    /// Integer lanes to floats.
    unsafe fn from_int(x: Self::Reg) -> Self::Reg;

    unsafe fn sum(x: Self::Reg) -> f32;
    unsafe fn largest(x: Self::Reg) -> f32;
    unsafe fn smallest(x: Self::Reg) -> f32;
    /// The first `n` lanes of `x`, `other` in the rest.
    unsafe fn first(n: usize, x: Self::Reg, other: Self::Reg) -> Self::Reg;

    /// Adds the products of the two bf16 numbers in each lane.
    unsafe fn dot_bf16(sum: Self::Reg, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    /// Adds the products of the codes in each lane, of `a` unsigned and of `b` signed, exactly.
    unsafe fn dot_codes(sum: Self::Reg, a: Self::Reg, b: Self::Reg) -> Self::Reg;
    /// Floats as bf16, rounded to nearest even, in half the bytes.
    unsafe fn store_bf16(to: *mut u16, x: Self::Reg);
    /// Floats below 2^31 rounded to integers of 0..=255, as `dot_codes` wants them in `a`.
    unsafe fn store_codes(to: *mut u8, x: Self::Reg);
    /// A half-precision number per lane.
    unsafe fn load_f16(from: *const u16) -> Self::Reg;
    /// A bf16 number per lane: the upper half of a float.
    unsafe fn load_bf16(from: *const u16) -> Self::Reg;
    /// Lanes of the numbers at `low` (lower half) and at `high` (upper half).
    unsafe fn interleave(low: *const u16, high: *const u16) -> Self::Reg;

    /// `to[i * to_stride + j] = from[j * from_stride + i]` for `LANES` by `LANES` words.
    #[inline(always)]
    unsafe fn transpose(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
        for i in 0..Self::LANES {
            for j in 0..Self::LANES {
                // SAFETY: the caller vouches for both squares.
                unsafe { *to.add(i * to_stride + j) = *from.add(j * from_stride + i) };
            }
        }
    }

    #[inline(always)]
    unsafe fn zero() -> Self::Reg {
        // SAFETY: as for every function of the trait.
        unsafe { Self::splat(0) }
    }

    #[inline(always)]
    unsafe fn float(x: f32) -> Self::Reg {
        // SAFETY: as for every function of the trait.
        unsafe { Self::splat(x.to_bits()) }
    }

    #[inline(always)]
    unsafe fn load_f32(from: *const f32) -> Self::Reg {
        // SAFETY: as for every function of the trait.
        unsafe { Self::load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store_f32(to: *mut f32, x: Self::Reg) {
        // SAFETY: as for every function of the trait.
        unsafe { Self::store(to.cast(), x) }
    }
}

/// A float as bf16, rounded to nearest even. Not for NaN.
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// The exact value of a bf16 number.
pub(crate) fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The exact value of a half-precision number.
pub(crate) fn from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10) & 31, u32::from(bits & 0x3ff));
    let magnitude = match exponent {
        // Subnormals are multiples of 2^-24.
        0 => (fraction as f32 * f32::from_bits(103 << 23)).to_bits(),
        31 => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}
