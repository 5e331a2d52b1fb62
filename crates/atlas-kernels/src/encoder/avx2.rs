//! AVX2 with FMA and F16C: what every x86-64 server of the last ten years has.

use std::arch::x86_64::*;

use super::simd::Simd;

/// AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Avx2;

/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn f(x: __m256i) -> __m256 {
    unsafe { _mm256_castsi256_ps(x) }
}

/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn i(x: __m256) -> __m256i {
    unsafe { _mm256_castps_si256(x) }
}

/// Folds the lanes of a register.
macro_rules! reduce {
    ($x:expr, $step:ident) => {{
        let x = f($x);
        let x = $step(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
        let x = $step(x, _mm_movehl_ps(x, x));
        _mm_cvtss_f32($step(x, _mm_shuffle_ps::<1>(x, x)))
    }};
}

/// `2^n` for the exponents of normal numbers.
///
/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn power(n: __m256i) -> __m256 {
    unsafe { f(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127)))) }
}

/// # Safety
/// AVX2; 8 numbers can be read.
#[inline(always)]
unsafe fn widened(from: *const u16) -> __m256i {
    unsafe { _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())) }
}

/// The lower halves of eight lanes that hold 0..=65535.
///
/// # Safety
/// AVX2; 8 numbers can be written.
#[inline(always)]
unsafe fn store_words(to: *mut u16, x: __m256i) {
    unsafe {
        let packed = _mm256_permute4x64_epi64::<0b00_00_10_00>(_mm256_packus_epi32(x, x));
        _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(packed));
    }
}

// No closures and no iterator adapters: see `avx512`.
// SAFETY (all blocks): the caller of a `Simd` function vouches for the CPU features and for the
// memory behind its pointers; every access here is unaligned and within what the trait names.
impl Simd for Avx2 {
    type Reg = __m256i;
    const LANES: usize = 8;
    const VECTORS: usize = 2;
    /// Codes are widened to 16 bits: `vpmaddubsw` saturates, and this way the sums are those of
    /// VNNI bit for bit at the same number of multiplications.
    const CODES: usize = 2;

    #[inline(always)]
    unsafe fn load(from: *const u32) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut u32, x: __m256i) {
        unsafe { _mm256_storeu_si256(to.cast(), x) }
    }
    #[inline(always)]
    unsafe fn splat(word: u32) -> __m256i {
        unsafe { _mm256_set1_epi32(word as i32) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256i, b: __m256i) -> __m256i {
        unsafe { i(_mm256_add_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256i, b: __m256i) -> __m256i {
        unsafe { i(_mm256_sub_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256i, b: __m256i) -> __m256i {
        unsafe { i(_mm256_mul_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
        unsafe { i(_mm256_fmadd_ps(f(a), f(b), f(c))) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256i, b: __m256i) -> __m256i {
        unsafe { i(_mm256_max_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256i, b: __m256i) -> __m256i {
        unsafe { i(_mm256_min_ps(f(a), f(b))) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m256i) -> __m256i {
        unsafe { _mm256_and_si256(a, _mm256_set1_epi32(0x7fff_ffff)) }
    }
    #[inline(always)]
    unsafe fn fraction(x: __m256i) -> __m256i {
        unsafe { i(_mm256_sub_ps(f(x), _mm256_floor_ps(f(x)))) }
    }
    #[inline(always)]
    unsafe fn scale(a: __m256i, x: __m256i) -> __m256i {
        unsafe {
            let n = _mm256_cvtps_epi32(_mm256_floor_ps(_mm256_max_ps(f(x), _mm256_set1_ps(-160.0))));
            // In two steps, so that results below the smallest normal number are exact.
            let half = _mm256_srai_epi32::<1>(n);
            i(_mm256_mul_ps(_mm256_mul_ps(f(a), power(half)), power(_mm256_sub_epi32(n, half))))
        }
    }
    #[inline(always)]
    unsafe fn reciprocal(x: __m256i) -> __m256i {
        unsafe { i(_mm256_div_ps(_mm256_set1_ps(1.0), f(x))) }
    }
    #[inline(always)]
    unsafe fn from_int(x: __m256i) -> __m256i {
        unsafe { i(_mm256_cvtepi32_ps(x)) }
    }
    #[inline(always)]
    unsafe fn sum(x: __m256i) -> f32 {
        unsafe { reduce!(x, _mm_add_ps) }
    }
    #[inline(always)]
    unsafe fn largest(x: __m256i) -> f32 {
        unsafe { reduce!(x, _mm_max_ps) }
    }
    #[inline(always)]
    unsafe fn smallest(x: __m256i) -> f32 {
        unsafe { reduce!(x, _mm_min_ps) }
    }
    #[inline(always)]
    unsafe fn first(n: usize, x: __m256i, other: __m256i) -> __m256i {
        unsafe {
            let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_blendv_epi8(other, x, _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lane))
        }
    }
    #[inline(always)]
    unsafe fn dot_bf16(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        unsafe {
            let upper = _mm256_set1_epi32(0xffff_0000u32 as i32);
            let low = _mm256_fmadd_ps(f(_mm256_slli_epi32::<16>(a)), f(_mm256_slli_epi32::<16>(b)), f(sum));
            i(_mm256_fmadd_ps(f(_mm256_and_si256(a, upper)), f(_mm256_and_si256(b, upper)), low))
        }
    }
    #[inline(always)]
    unsafe fn dot_codes(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, x: __m256i) {
        unsafe {
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(x), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(_mm256_add_epi32(x, _mm256_set1_epi32(0x7fff)), odd);
            store_words(to, _mm256_srli_epi32::<16>(rounded));
        }
    }
    #[inline(always)]
    unsafe fn store_codes(to: *mut u8, x: __m256i) {
        unsafe {
            let codes = _mm256_max_epi32(_mm256_cvtps_epi32(f(x)), _mm256_setzero_si256());
            store_words(to.cast(), _mm256_min_epi32(codes, _mm256_set1_epi32(255)));
        }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> __m256i {
        unsafe { i(_mm256_cvtph_ps(_mm_loadu_si128(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m256i {
        unsafe { _mm256_slli_epi32::<16>(widened(from)) }
    }
    #[inline(always)]
    unsafe fn interleave(low: *const u16, high: *const u16) -> __m256i {
        unsafe { _mm256_or_si256(widened(low), _mm256_slli_epi32::<16>(widened(high))) }
    }
}
