//! AVX-512, with bf16 products in hardware or made of two float products.

use std::arch::x86_64::*;

use super::simd::Simd;

/// AVX-512 F, BW, DQ, VL and VNNI; `BF16` adds `avx512bf16`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool>;

/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn f(x: __m512i) -> __m512 {
    unsafe { _mm512_castsi512_ps(x) }
}

/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn i(x: __m512) -> __m512i {
    unsafe { _mm512_castps_si512(x) }
}

/// # Safety
/// AVX-512F.
#[inline(always)]
unsafe fn pairs(x: __m512i) -> __m512bh {
    // SAFETY: both types are 512 bits without invalid values.
    unsafe { std::mem::transmute(x) }
}

/// # Safety
/// AVX-512F; 16 numbers can be read.
#[inline(always)]
unsafe fn widened(from: *const u16) -> __m512i {
    unsafe { _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())) }
}

// No closures and no iterator adapters below: they are functions of their own, compiled without
// the features, and each instruction in them would be a call.
// SAFETY (all blocks): the caller of a `Simd` function vouches for the CPU features and for the
// memory behind its pointers; every access here is unaligned and within what the trait names.
impl<const BF16: bool> Simd for Avx512<BF16> {
    type Reg = __m512i;
    const LANES: usize = 16;
    const VECTORS: usize = 4;
    const CODES: usize = 4;

    #[inline(always)]
    unsafe fn load(from: *const u32) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut u32, x: __m512i) {
        unsafe { _mm512_storeu_si512(to.cast(), x) }
    }
    #[inline(always)]
    unsafe fn splat(word: u32) -> __m512i {
        unsafe { _mm512_set1_epi32(word as i32) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_add_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_sub_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_mul_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        unsafe { i(_mm512_fmadd_ps(f(a), f(b), f(c))) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_max_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512i, b: __m512i) -> __m512i {
        unsafe { i(_mm512_min_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m512i) -> __m512i {
        unsafe { i(_mm512_abs_ps(f(a))) }
    }
    #[inline(always)]
    unsafe fn fraction(x: __m512i) -> __m512i {
        // Round down, keep no fraction bits.
        unsafe { i(_mm512_reduce_ps::<0x01>(f(x))) }
    }
    #[inline(always)]
    unsafe fn scale(a: __m512i, x: __m512i) -> __m512i {
        unsafe { i(_mm512_scalef_ps(f(a), f(x))) }
    }
    #[inline(always)]
    unsafe fn reciprocal(x: __m512i) -> __m512i {
        unsafe {
            let guess = _mm512_rcp14_ps(f(x));
            i(_mm512_mul_ps(guess, _mm512_fnmadd_ps(f(x), guess, _mm512_set1_ps(2.0))))
        }
    }
    #[inline(always)]
    unsafe fn from_int(x: __m512i) -> __m512i {
        unsafe { i(_mm512_cvtepi32_ps(x)) }
    }
    #[inline(always)]
    unsafe fn sum(x: __m512i) -> f32 {
        unsafe { _mm512_reduce_add_ps(f(x)) }
    }
    #[inline(always)]
    unsafe fn largest(x: __m512i) -> f32 {
        unsafe { _mm512_reduce_max_ps(f(x)) }
    }
    #[inline(always)]
    unsafe fn smallest(x: __m512i) -> f32 {
        unsafe { _mm512_reduce_min_ps(f(x)) }
    }
    #[inline(always)]
    unsafe fn first(n: usize, x: __m512i, other: __m512i) -> __m512i {
        unsafe { _mm512_mask_mov_epi32(other, ((1u32 << n) - 1) as u16, x) }
    }
    #[inline(always)]
    unsafe fn dot_bf16(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe {
            if BF16 {
                i(_mm512_dpbf16_ps(f(sum), pairs(a), pairs(b)))
            } else {
                let upper = _mm512_set1_epi32(0xffff_0000u32 as i32);
                let low =
                    _mm512_fmadd_ps(f(_mm512_slli_epi32::<16>(a)), f(_mm512_slli_epi32::<16>(b)), f(sum));
                i(_mm512_fmadd_ps(f(_mm512_and_si512(a, upper)), f(_mm512_and_si512(b, upper)), low))
            }
        }
    }
    #[inline(always)]
    unsafe fn dot_codes(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, a, b) }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, x: __m512i) {
        unsafe {
            let halves = if BF16 {
                // SAFETY: both types are 256 bits without invalid values.
                std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(f(x)))
            } else {
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(x), _mm512_set1_epi32(1));
                let rounded = _mm512_add_epi32(_mm512_add_epi32(x, _mm512_set1_epi32(0x7fff)), odd);
                _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded))
            };
            _mm256_storeu_si256(to.cast(), halves);
        }
    }
    #[inline(always)]
    unsafe fn store_codes(to: *mut u8, x: __m512i) {
        unsafe {
            let codes = _mm512_max_epi32(_mm512_cvtps_epi32(f(x)), _mm512_setzero_si512());
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(codes));
        }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> __m512i {
        unsafe { i(_mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m512i {
        unsafe { _mm512_slli_epi32::<16>(widened(from)) }
    }
    #[inline(always)]
    unsafe fn interleave(low: *const u16, high: *const u16) -> __m512i {
        unsafe { _mm512_or_si512(widened(low), _mm512_slli_epi32::<16>(widened(high))) }
    }
    /// In four rounds: pairs of words, of two, of four (within a row's quarters), of eight.
    #[inline(always)]
    unsafe fn transpose(from: *const u32, from_stride: usize, to: *mut u32, to_stride: usize) {
        unsafe {
            let mut rows = [_mm512_setzero_si512(); 16];
            for (number, row) in rows.iter_mut().enumerate() {
                *row = Self::load(from.add(number * from_stride));
            }
            let mut pairs = rows;
            for k in 0..8 {
                pairs[2 * k] = _mm512_unpacklo_epi32(rows[2 * k], rows[2 * k + 1]);
                pairs[2 * k + 1] = _mm512_unpackhi_epi32(rows[2 * k], rows[2 * k + 1]);
            }
            // Row 4k + j of `quads` has, in each quarter q, column 4q + j of rows 4k to 4k + 3.
            let mut quads = pairs;
            for k in 0..4 {
                quads[4 * k] = _mm512_unpacklo_epi64(pairs[4 * k], pairs[4 * k + 2]);
                quads[4 * k + 1] = _mm512_unpackhi_epi64(pairs[4 * k], pairs[4 * k + 2]);
                quads[4 * k + 2] = _mm512_unpacklo_epi64(pairs[4 * k + 1], pairs[4 * k + 3]);
                quads[4 * k + 3] = _mm512_unpackhi_epi64(pairs[4 * k + 1], pairs[4 * k + 3]);
            }
            for j in 0..4 {
                let low = _mm512_shuffle_i32x4::<0x88>(quads[j], quads[4 + j]);
                let high = _mm512_shuffle_i32x4::<0xdd>(quads[j], quads[4 + j]);
                let low2 = _mm512_shuffle_i32x4::<0x88>(quads[8 + j], quads[12 + j]);
                let high2 = _mm512_shuffle_i32x4::<0xdd>(quads[8 + j], quads[12 + j]);
                Self::store(to.add(j * to_stride), _mm512_shuffle_i32x4::<0x88>(low, low2));
                Self::store(to.add((4 + j) * to_stride), _mm512_shuffle_i32x4::<0x88>(high, high2));
                Self::store(to.add((8 + j) * to_stride), _mm512_shuffle_i32x4::<0xdd>(low, low2));
                Self::store(to.add((12 + j) * to_stride), _mm512_shuffle_i32x4::<0xdd>(high, high2));
            }
        }
    }
}
