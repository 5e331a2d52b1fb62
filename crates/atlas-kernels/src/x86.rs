//! AVX-512 VNNI and AVX2.

use std::arch::x86_64::*;

use crate::codes::CodeMatrix;
use crate::portable;

/// # Safety
/// The CPU has AVX-512F, BW and VNNI; `a` and `b` have one length.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(crate) unsafe fn dot_i8_vnni(a: &[i8], b: &[i8]) -> i32 {
    let whole = a.len() / 64 * 64;
    // SAFETY: 64 bytes from `at` lie inside both slices because at + 64 <= whole <= len; loads
    // are unaligned.
    let (sum, bias) = unsafe {
        let mut sum = _mm512_setzero_si512();
        let mut bias = _mm512_setzero_si512();
        let flip = _mm512_set1_epi8(-128);
        for at in (0..whole).step_by(64) {
            let x = _mm512_xor_si512(_mm512_loadu_si512(a.as_ptr().add(at).cast()), flip);
            let y = _mm512_loadu_si512(b.as_ptr().add(at).cast());
            sum = _mm512_dpbusd_epi32(sum, x, y);
            bias = _mm512_dpbusd_epi32(bias, flip, y);
        }
        (_mm512_reduce_add_epi32(sum), _mm512_reduce_add_epi32(bias))
    };
    sum.wrapping_sub(bias).wrapping_add(portable::dot_i8(&a[whole..], &b[whole..]))
}

/// # Safety
/// The CPU has AVX2; `a` and `b` have one length.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn dot_i8_avx2(a: &[i8], b: &[i8]) -> i32 {
    let whole = a.len() / 32 * 32;
    // SAFETY: `whole` bytes lie inside both slices.
    let sum = unsafe { sum_avx2(a.as_ptr(), b.as_ptr(), whole) };
    sum.wrapping_add(portable::dot_i8(&a[whole..], &b[whole..]))
}

/// Widens to 16 bits before multiplying: the 8-bit `maddubs` saturates, and then the result
/// would not be the portable one for codes of -128.
///
/// # Safety
/// The CPU has AVX2; `len` is a multiple of 32 and that many bytes can be read from both.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sum_avx2(a: *const i8, b: *const i8, len: usize) -> i32 {
    // SAFETY: at + 32 <= len, which the caller vouches for.
    let total = unsafe {
        let mut sums = [_mm256_setzero_si256(); 2];
        for at in (0..len).step_by(32) {
            for (half, sum) in sums.iter_mut().enumerate() {
                let x = _mm256_cvtepi8_epi16(_mm_loadu_si128(a.add(at + 16 * half).cast()));
                let y = _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(at + 16 * half).cast()));
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, y));
            }
        }
        _mm256_add_epi32(sums[0], sums[1])
    };
    let low = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256::<1>(total));
    let low = _mm_add_epi32(low, _mm_shuffle_epi32::<0b00_00_11_10>(low));
    let low = _mm_add_epi32(low, _mm_shuffle_epi32::<0b00_00_00_01>(low));
    _mm_cvtsi128_si32(low)
}

/// VNNI multiplies unsigned by signed bytes. Flipping the sign bit of the row adds 128 to each of
/// its codes, which adds 128 times the sum of the query's codes to the result: one constant per
/// scan, so that rows need no stored sums.
///
/// # Safety
/// The CPU has AVX-512F, BW and VNNI; `query` has `matrix.width()` codes.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(crate) unsafe fn scan_vnni(
    matrix: &CodeMatrix,
    query: &[i8],
    rows: impl Iterator<Item = u32>,
    mut sink: impl FnMut(u32, i32),
) {
    let bias = query.iter().map(|&code| i32::from(code)).sum::<i32>().wrapping_mul(128);
    let width = matrix.width();
    with_next(rows, |row, next| {
        let codes = matrix.row(row as usize).as_ptr();
        prefetch(matrix, next);
        // SAFETY: rows and the query have `width` bytes, a multiple of 64.
        let sum = unsafe {
            let flip = _mm512_set1_epi8(-128);
            let mut sum = _mm512_setzero_si512();
            for at in (0..width).step_by(64) {
                let x = _mm512_xor_si512(_mm512_loadu_si512(codes.add(at).cast()), flip);
                sum = _mm512_dpbusd_epi32(sum, x, _mm512_loadu_si512(query.as_ptr().add(at).cast()));
            }
            _mm512_reduce_add_epi32(sum)
        };
        sink(row, sum.wrapping_sub(bias));
    });
}

/// # Safety
/// The CPU has AVX2; `query` has `matrix.width()` codes.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn scan_avx2(
    matrix: &CodeMatrix,
    query: &[i8],
    rows: impl Iterator<Item = u32>,
    mut sink: impl FnMut(u32, i32),
) {
    with_next(rows, |row, next| {
        prefetch(matrix, next);
        // SAFETY: rows and the query have `width` bytes, a multiple of 64.
        sink(row, unsafe { sum_avx2(matrix.row(row as usize).as_ptr(), query.as_ptr(), matrix.width()) });
    });
}

/// Calls `visit` with every row and the one after it.
#[inline(always)]
fn with_next(mut rows: impl Iterator<Item = u32>, mut visit: impl FnMut(u32, Option<u32>)) {
    let mut current = rows.next();
    while let Some(row) = current {
        current = rows.next();
        visit(row, current);
    }
}

/// Rows of a filtered scan lie apart, where the hardware prefetcher does not guess them.
#[inline(always)]
fn prefetch(matrix: &CodeMatrix, row: Option<u32>) {
    if let Some(row) = row {
        for line in matrix.row(row as usize).chunks(64) {
            // SAFETY: a prefetch is a hint and cannot fault; SSE belongs to the x86-64 base line.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr()) };
        }
    }
}

/// # Safety
/// The CPU has AVX2 and FMA; `a` and `b` have one length.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    let whole = a.len() / 32 * 32;
    // SAFETY: 8 floats from at + 8 * lane lie inside both slices because at + 32 <= whole <= len.
    let total = unsafe {
        let mut sums = [_mm256_setzero_ps(); 4];
        for at in (0..whole).step_by(32) {
            for (lane, sum) in sums.iter_mut().enumerate() {
                let x = _mm256_loadu_ps(a.as_ptr().add(at + 8 * lane));
                let y = _mm256_loadu_ps(b.as_ptr().add(at + 8 * lane));
                *sum = _mm256_fmadd_ps(x, y, *sum);
            }
        }
        _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]))
    };
    let mut lanes = [0.0f32; 8];
    // SAFETY: the array holds the 8 floats that are stored.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), total) };
    lanes.iter().sum::<f32>() + portable::dot_f32(&a[whole..], &b[whole..])
}
