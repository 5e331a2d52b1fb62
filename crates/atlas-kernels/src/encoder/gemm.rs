//! Rows times a packed matrix, a tile of the result at a time in registers.
//!
//! A tile has up to [`ROWS`] rows and one panel of columns: 24 sums in 32 registers on AVX-512,
//! 12 in 16 on AVX2. A panel stays in the nearest cache while all rows pass it. What follows a
//! product (bias, activation, residual, the next product's numbers) happens on the registers of
//! the finished tile.

use std::marker::PhantomData;

use super::linear::Linear;
use super::numbers::{Columns, F32, Numbers, RowScale, Scores, polynomial};
use super::simd::Simd;

/// Rows of the largest tile.
pub(crate) const ROWS: usize = 6;

/// Left rows, and their scales when the numbers have them.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) data: *mut u8,
    pub(crate) scales: *mut RowScale,
    pub(crate) n: usize,
}

/// What becomes of a finished register of floats.
pub(crate) trait Sink<S: Simd>: Copy {
    /// # Safety
    /// As for [`Simd`]; the sink's memory has `row` and the `LANES` columns from `column`.
    unsafe fn put(self, row: usize, column: usize, x: S::Reg);
}

/// Adds to rows of floats: the residual connection.
#[derive(Clone, Copy)]
pub(crate) struct Add {
    pub(crate) to: *mut f32,
    pub(crate) stride: usize,
}

/// Stores as numbers.
#[derive(Clone, Copy)]
pub(crate) struct Store<N> {
    to: *mut u8,
    stride: usize,
    numbers: PhantomData<N>,
}

impl<N> Store<N> {
    pub(crate) fn new(to: *mut u8, stride: usize) -> Self {
        Self { to, stride, numbers: PhantomData }
    }
}

/// Stores GELU of the result as numbers.
#[derive(Clone, Copy)]
pub(crate) struct Gelu<N, const FINE: bool>(pub(crate) Store<N>);

impl<S: Simd> Sink<S> for Add {
    #[inline(always)]
    unsafe fn put(self, row: usize, column: usize, x: S::Reg) {
        // SAFETY: of the caller.
        unsafe {
            let at = self.to.add(row * self.stride + column);
            S::store_f32(at, S::add(S::load_f32(at), x));
        }
    }
}

impl<S: Simd, N: Numbers<S>> Sink<S> for Store<N> {
    #[inline(always)]
    unsafe fn put(self, row: usize, column: usize, x: S::Reg) {
        // SAFETY: of the caller.
        unsafe { N::put(self.to.add((row * self.stride + column) * N::BYTES), x) }
    }
}

impl<S: Simd, N: Numbers<S>, const FINE: bool> Sink<S> for Gelu<N, FINE> {
    #[inline(always)]
    unsafe fn put(self, row: usize, column: usize, x: S::Reg) {
        // SAFETY: of the caller.
        unsafe {
            let x = if FINE { gelu_fine::<S>(x) } else { gelu_coarse::<S>(x) };
            self.0.put(row, column, x);
        }
    }
}

/// `x * Phi(x)` to 1.5e-7, the error function after Abramowitz and Stegun 7.1.26.
#[inline(always)]
pub(crate) unsafe fn gelu_fine<S: Simd>(x: S::Reg) -> S::Reg {
    const SERIES: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6];
    // SAFETY: of the caller.
    unsafe {
        let z = S::mul(S::abs(x), S::float(std::f32::consts::FRAC_1_SQRT_2));
        let t = S::reciprocal(S::fma(z, S::float(0.327_591_1), S::float(1.0)));
        let exponent = S::mul(S::mul(z, z), S::float(-std::f32::consts::LOG2_E));
        let series = S::mul(polynomial::<S, 5>(&SERIES, t), t);
        let rest = S::mul(series, <F32 as Scores<S>>::exp2(exponent)); // 1 - erf(z)
        // x - x/2 * rest above zero, x/2 * rest below.
        let half = S::mul(x, S::float(0.5));
        let size = S::abs(half);
        S::sub(S::add(half, size), S::mul(size, rest))
    }
}

/// `x * Phi(x)` to 2e-4, below the rounding of the numbers that it becomes:
/// `x/2 + |x| (Phi(|x|) - 1/2)`, the bracket as a minimax polynomial up to the float where it
/// comes out as 1/2 exactly: anything else there is an error that grows with `x`.
#[inline(always)]
pub(crate) unsafe fn gelu_coarse<S: Simd>(x: S::Reg) -> S::Reg {
    const SERIES: [f32; 6] =
        [6.626_523_6e-4, -1.017_650_1e-2, 5.885_315e-2, -1.431_799_5e-1, 4.688_665_4e-2, 3.884_005e-1];
    // SAFETY: of the caller.
    unsafe {
        let size = S::abs(x);
        let cut = S::min(size, S::float(3.914_512_4));
        let rest = S::mul(polynomial::<S, 6>(&SERIES, cut), cut);
        S::fma(size, rest, S::mul(x, S::float(0.5)))
    }
}

/// The sums of `M` rows by `V` registers of columns over `n_words` words.
#[inline(always)]
pub(crate) unsafe fn sums<S: Simd, N: Numbers<S>, const M: usize, const V: usize>(
    rows: *const u32,
    row_stride: usize,
    columns: *const u32,
    column_stride: usize,
    n_words: usize,
) -> [[S::Reg; V]; M] {
    // SAFETY: of the caller: `M` rows and `n_words` rows of columns can be read.
    unsafe {
        let mut sums = [[S::zero(); V]; M];
        for word in 0..n_words {
            let mut right = [S::zero(); V];
            for (v, right) in right.iter_mut().enumerate() {
                *right = S::load(columns.add(word * column_stride + v * S::LANES));
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let left = S::splat(rows.add(m * row_stride + word).read_unaligned());
                for (sum, right) in sums.iter_mut().zip(right) {
                    *sum = N::dot(*sum, left, right);
                }
            }
        }
        sums
    }
}

/// `sink <- rows * linear + bias`, for every panel and every tile of rows.
///
/// # Safety
/// As for [`Simd`]; `rows` are of `linear.inputs` numbers and the sink has `linear.outputs` columns.
#[inline(always)]
pub(crate) unsafe fn product<S: Simd, N: Numbers<S>, K: Sink<S>>(rows: Rows, linear: &Linear, sink: K) {
    // SAFETY: of the caller.
    unsafe {
        match S::VECTORS {
            4 => panels::<S, N, K, 4>(rows, linear, sink),
            _ => panels::<S, N, K, 2>(rows, linear, sink),
        }
    }
}

#[inline(always)]
unsafe fn panels<S: Simd, N: Numbers<S>, K: Sink<S>, const V: usize>(rows: Rows, linear: &Linear, sink: K) {
    let width = V * S::LANES;
    let tiles = rows.n.div_ceil(ROWS);
    for panel in 0..linear.outputs / width {
        let mut first = 0;
        for done in 0..tiles {
            // Tiles of even height: 8 rows are 4 and 4, not 6 and 2.
            let n = (rows.n - first).div_ceil(tiles - done);
            // SAFETY: of the caller; `first + n <= rows.n`.
            unsafe {
                match n {
                    6 => tile::<S, N, K, 6, V>(rows, linear, sink, panel, first),
                    5 => tile::<S, N, K, 5, V>(rows, linear, sink, panel, first),
                    4 => tile::<S, N, K, 4, V>(rows, linear, sink, panel, first),
                    3 => tile::<S, N, K, 3, V>(rows, linear, sink, panel, first),
                    2 => tile::<S, N, K, 2, V>(rows, linear, sink, panel, first),
                    _ => tile::<S, N, K, 1, V>(rows, linear, sink, panel, first),
                }
            }
            first += n;
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Simd, N: Numbers<S>, K: Sink<S>, const M: usize, const V: usize>(
    rows: Rows,
    linear: &Linear,
    sink: K,
    panel: usize,
    first: usize,
) {
    let width = V * S::LANES;
    let n_words = linear.inputs / N::GROUP;
    // SAFETY: of the caller; the panel is inside the matrix, its columns inside bias and scales.
    unsafe {
        let left = rows.data.cast::<u32>().cast_const().add(first * n_words);
        let right = linear.words.as_ptr().add(panel * n_words * width);
        let sums = sums::<S, N, M, V>(left, n_words, right, width, n_words);
        for v in 0..V {
            let column = panel * width + v * S::LANES;
            let bias = S::load_f32(linear.bias.as_ptr().add(column));
            let columns = if N::SCALED {
                let scale = S::load_f32(linear.scales.as_ptr().add(column));
                Columns { bias, scale, sum: S::load_f32(linear.sums.as_ptr().add(column)) }
            } else {
                Columns { bias, scale: bias, sum: bias }
            };
            for (m, sums) in sums.iter().enumerate() {
                let row = if N::SCALED { *rows.scales.add(first + m) } else { RowScale::default() };
                sink.put(first + m, column, N::finish(sums[v], columns, row));
            }
        }
    }
}
