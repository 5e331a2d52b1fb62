//! AVX-512 VNNI and AVX2.

use std::arch::x86_64::*;

use crate::codes::{CodeMatrix, CodeRow, GROUP, estimate};
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
/// would not be the portable one for bytes of -128.
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
    lanes_avx2(total)
}

/// The sum of the eight lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn lanes_avx2(total: __m256i) -> i32 {
    let low = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256::<1>(total));
    let low = _mm_add_epi32(low, _mm_shuffle_epi32::<0b00_00_11_10>(low));
    let low = _mm_add_epi32(low, _mm_shuffle_epi32::<0b00_00_00_01>(low));
    _mm_cvtsi128_si32(low)
}

/// The sums of the eight lanes of each.
#[inline]
#[target_feature(enable = "avx2")]
fn fours_avx2([a, b, c, d]: [__m256i; 4]) -> [i32; 4] {
    let parts = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    let total = _mm_add_epi32(_mm256_castsi256_si128(parts), _mm256_extracti128_si256::<1>(parts));
    let mut sums = [0; 4];
    // SAFETY: the array holds the 16 bytes that are stored.
    unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), total) };
    sums
}

/// The sums of the sixteen lanes of each.
#[inline]
#[target_feature(enable = "avx512f,avx2")]
fn fours_avx512(fours: [__m512i; 4]) -> [i32; 4] {
    fours_avx2(
        fours.map(|sum| _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum))),
    )
}

/// Rows fetched while earlier ones are multiplied.
const AHEAD: usize = 8;

/// Four rows at a time: their sums are independent of each other, and the query is loaded once.
/// Rows of a filter or a graph lie apart, where the hardware prefetcher does not guess them.
#[inline(always)]
fn by_fours<T>(
    rows: &[u32],
    dots: &mut [i32],
    begin: impl Fn(u32) -> *const T,
    fetch: impl Fn(usize),
    four: impl Fn([*const T; 4]) -> [i32; 4],
    one: impl Fn(*const T) -> i32,
) {
    rows.iter().take(AHEAD).for_each(|&row| fetch(row as usize));
    let (row_fours, row_rest) = rows.as_chunks::<4>();
    let (dot_fours, dot_rest) = dots.as_chunks_mut::<4>();
    for (at, (rows_here, dots_here)) in row_fours.iter().zip(dot_fours).enumerate() {
        rows.iter().skip(at * 4 + AHEAD).take(4).for_each(|&row| fetch(row as usize));
        *dots_here = four(rows_here.map(&begin));
    }
    for (&row, dot) in row_rest.iter().zip(dot_rest) {
        *dot = one(begin(row));
    }
}

/// VNNI multiplies unsigned by signed bytes. Flipping the sign bit of the row adds 128 to each of
/// its codes, which adds 128 times the sum of the query's codes to the result: one constant per
/// batch, so that rows need no stored sums.
///
/// # Safety
/// The CPU has AVX-512F, BW and VNNI; the query is as wide as the rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(crate) unsafe fn dots_vnni(matrix: &CodeMatrix, query: CodeRow<'_>, rows: &[u32], dots: &mut [i32]) {
    let (query, width) = (query.codes().as_ptr(), matrix.width());
    let flip = _mm512_set1_epi8(-128);
    // SAFETY (here and below): rows and the query have `width` bytes, a multiple of 64.
    let bias = unsafe {
        let mut bias = _mm512_setzero_si512();
        for at in (0..width).step_by(64) {
            bias = _mm512_dpbusd_epi32(bias, flip, _mm512_loadu_si512(query.add(at).cast()));
        }
        _mm512_reduce_add_epi32(bias)
    };
    let one = |row: *const i8| unsafe {
        let mut sum = _mm512_setzero_si512();
        for at in (0..width).step_by(64) {
            let x = _mm512_xor_si512(_mm512_loadu_si512(row.add(at).cast()), flip);
            sum = _mm512_dpbusd_epi32(sum, x, _mm512_loadu_si512(query.add(at).cast()));
        }
        _mm512_reduce_add_epi32(sum).wrapping_sub(bias)
    };
    let four = |rows: [*const i8; 4]| unsafe {
        let mut sums = [_mm512_setzero_si512(); 4];
        for at in (0..width).step_by(64) {
            let y = _mm512_loadu_si512(query.add(at).cast());
            for (row, sum) in rows.iter().zip(&mut sums) {
                let x = _mm512_xor_si512(_mm512_loadu_si512(row.add(at).cast()), flip);
                *sum = _mm512_dpbusd_epi32(*sum, x, y);
            }
        }
        fours_avx512(sums).map(|sum| sum.wrapping_sub(bias))
    };
    let begin = |row: u32| matrix.row(row as usize).codes().as_ptr();
    by_fours(rows, dots, begin, |row| matrix.prefetch(row), four, one);
}

/// The magnitude of the query's code times the row's with the sign of the query's: `maddubs` adds
/// two such products in 16 bits, which holds because 2 * 127 * 127 is 32,258. Widening both sides
/// to 16 bits first, as [`sum_avx2`] does for any bytes, takes half as many more instructions.
///
/// # Safety
/// The CPU has AVX2; the query is as wide as the rows; no code is -128.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn dots_avx2(matrix: &CodeMatrix, query: CodeRow<'_>, rows: &[u32], dots: &mut [i32]) {
    let (query, width) = (query.codes().as_ptr(), matrix.width());
    let ones = _mm256_set1_epi16(1);
    // SAFETY (here and below): rows and the query have `width` bytes, a multiple of 64, and begin
    // on cache lines.
    let one = |row: *const i8| unsafe {
        let mut sums = [_mm256_setzero_si256(); 2];
        for at in (0..width).step_by(64) {
            for (half, sum) in sums.iter_mut().enumerate() {
                let y = _mm256_load_si256(query.add(at + 32 * half).cast());
                let x = _mm256_sign_epi8(_mm256_load_si256(row.add(at + 32 * half).cast()), y);
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(y), x);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        lanes_avx2(_mm256_add_epi32(sums[0], sums[1]))
    };
    let four = |rows: [*const i8; 4]| unsafe {
        let mut sums = [_mm256_setzero_si256(); 4];
        for at in (0..width).step_by(32) {
            let y = _mm256_load_si256(query.add(at).cast());
            let magnitude = _mm256_abs_epi8(y);
            for (row, sum) in rows.iter().zip(&mut sums) {
                let x = _mm256_sign_epi8(_mm256_load_si256(row.add(at).cast()), y);
                let pairs = _mm256_maddubs_epi16(magnitude, x);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        fours_avx2(sums)
    };
    let begin = |row: u32| matrix.row(row as usize).codes().as_ptr();
    by_fours(rows, dots, begin, |row| matrix.prefetch(row), four, one);
}

/// See [`CodeMatrix::rough_dots`]. The instruction multiplies unsigned by signed bytes, which is
/// what halves and codes are.
///
/// # Safety
/// The CPU has AVX-512F, BW and VNNI; the query is as wide as the rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(crate) unsafe fn rough_dots_vnni(
    matrix: &CodeMatrix,
    query: CodeRow<'_>,
    rows: &[u32],
    dots: &mut [i32],
) {
    let (query, n_groups) = (query.codes().as_ptr(), matrix.width() / GROUP);
    let mask = _mm512_set1_epi8(15);
    // SAFETY (here and below): the query has 64 codes per group, a row 32 bytes, and the last row
    // of an odd number of groups ends with 32 bytes that are zero and are read as well.
    let codes = |at: usize| unsafe {
        if at < n_groups { _mm512_loadu_si512(query.add(at * GROUP).cast()) } else { _mm512_setzero_si512() }
    };
    let mut sum_of_query = _mm512_setzero_si512();
    for at in 0..n_groups {
        sum_of_query = _mm512_dpbusd_epi32(sum_of_query, _mm512_set1_epi8(1), codes(at));
    }
    let sum_of_query = _mm512_reduce_add_epi32(sum_of_query);
    // The query's codes in the order in which those of two groups lie in a register of halves.
    let lows_and_highs = |at: usize| {
        let (x, y) = (codes(at), codes(at + 1));
        (_mm512_shuffle_i64x2::<0b01_00_01_00>(x, y), _mm512_shuffle_i64x2::<0b11_10_11_10>(x, y))
    };
    let add = |sum: __m512i, row: *const u8, at: usize, (lows, highs): (__m512i, __m512i)| unsafe {
        let bytes = _mm512_loadu_si512(row.add(at * 32).cast());
        let low = _mm512_and_si512(bytes, mask);
        let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), mask);
        _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum, low, lows), high, highs)
    };
    let one = |row: *const u8| {
        let groups = (0..n_groups).step_by(2);
        let sum = groups.fold(_mm512_setzero_si512(), |sum, at| add(sum, row, at, lows_and_highs(at)));
        estimate(_mm512_reduce_add_epi32(sum), sum_of_query)
    };
    let four = |rows: [*const u8; 4]| {
        let mut sums = [_mm512_setzero_si512(); 4];
        for at in (0..n_groups).step_by(2) {
            let codes = lows_and_highs(at);
            rows.iter().zip(&mut sums).for_each(|(&row, sum)| *sum = add(*sum, row, at, codes));
        }
        fours_avx512(sums).map(|sum| estimate(sum, sum_of_query))
    };
    let begin = |row: u32| matrix.halves(row as usize).as_ptr();
    by_fours(rows, dots, begin, |row| matrix.prefetch_halves(row), four, one);
}

/// See [`CodeMatrix::rough_dots`]. A product is at most 15 * 127 here, so sums of 16 of them fit
/// 16 bits, and the widening is done once for eight groups.
///
/// # Safety
/// The CPU has AVX2; the query is as wide as the rows.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn rough_dots_avx2(
    matrix: &CodeMatrix,
    query: CodeRow<'_>,
    rows: &[u32],
    dots: &mut [i32],
) {
    let sum_of_query = portable::sum(query.codes());
    let (query, n_groups) = (query.codes().as_ptr(), matrix.width() / GROUP);
    let (mask, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    // SAFETY (here and below): the query has 64 codes per group and a row 32 bytes; both begin on
    // cache lines.
    let one = |row: *const u8| unsafe {
        let mut total = _mm256_setzero_si256();
        for at in 0..n_groups {
            let bytes = _mm256_load_si256(row.add(at * 32).cast());
            let low = _mm256_and_si256(bytes, mask);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
            let low = _mm256_maddubs_epi16(low, _mm256_load_si256(query.add(at * GROUP).cast()));
            let high = _mm256_maddubs_epi16(high, _mm256_load_si256(query.add(at * GROUP + 32).cast()));
            total = _mm256_add_epi32(total, _mm256_madd_epi16(_mm256_add_epi16(low, high), ones));
        }
        estimate(lanes_avx2(total), sum_of_query)
    };
    let four = |rows: [*const u8; 4]| unsafe {
        let mut totals = [_mm256_setzero_si256(); 4];
        for begin in (0..n_groups).step_by(8) {
            let mut lows = [_mm256_setzero_si256(); 4];
            let mut highs = [_mm256_setzero_si256(); 4];
            for at in begin..n_groups.min(begin + 8) {
                let low_codes = _mm256_load_si256(query.add(at * GROUP).cast());
                let high_codes = _mm256_load_si256(query.add(at * GROUP + 32).cast());
                for ((row, low), high) in rows.iter().zip(&mut lows).zip(&mut highs) {
                    let bytes = _mm256_load_si256(row.add(at * 32).cast());
                    let low_halves = _mm256_and_si256(bytes, mask);
                    let high_halves = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
                    *low = _mm256_add_epi16(*low, _mm256_maddubs_epi16(low_halves, low_codes));
                    *high = _mm256_add_epi16(*high, _mm256_maddubs_epi16(high_halves, high_codes));
                }
            }
            for ((total, low), high) in totals.iter_mut().zip(lows).zip(highs) {
                let widened = _mm256_add_epi32(_mm256_madd_epi16(low, ones), _mm256_madd_epi16(high, ones));
                *total = _mm256_add_epi32(*total, widened);
            }
        }
        fours_avx2(totals).map(|sum| estimate(sum, sum_of_query))
    };
    let begin = |row: u32| matrix.halves(row as usize).as_ptr();
    by_fours(rows, dots, begin, |row| matrix.prefetch_halves(row), four, one);
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
