//! Attention of one sequence: every token looks at the tokens of its own sequence.
//!
//! Head by head: keys and values are packed as right sides, then strips of rows go through
//! scores, softmax and context while they are in the nearest cache. The model's query weights
//! carry `log2(e) / sqrt(head width)`, so the softmax is a `2^x`. Rows are divided by their sum
//! after the second product.

use super::gemm::{ROWS, sums};
use super::numbers::Scores;
use super::simd::Simd;

/// The buffers of a worker that attention uses.
#[derive(Clone, Copy)]
pub(crate) struct Scratch {
    pub(crate) keys: *mut u32,
    pub(crate) values: *mut u32,
    pub(crate) scores: *mut f32,
    pub(crate) shares: *mut u8,
}

/// Shape of the model as attention sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) n: usize,
    pub(crate) width: usize,
}

impl Heads {
    fn hidden(self) -> usize {
        self.n * self.width
    }
}

/// Words of a row of packed keys, of scores and of shares, for a sequence of `n` tokens.
pub(crate) fn padded<S: Simd>(n: usize) -> usize {
    n.next_multiple_of(S::LANES)
}

/// Writes `n` rows of context for a sequence whose rows of query, key and value begin at `qkv`.
///
/// # Safety
/// As for [`Simd`]; `qkv` and `context` have `n` rows, the buffers of `scratch` are made for it,
/// and the heads' width is a multiple of `2 * LANES`.
#[inline(always)]
pub(crate) unsafe fn attend<S: Simd, N: Scores<S>>(
    qkv: *const u8,
    n: usize,
    heads: Heads,
    scratch: Scratch,
    context: *mut f32,
) {
    // SAFETY: of the caller.
    unsafe {
        match S::VECTORS {
            4 => attend_by::<S, N, 4>(qkv, n, heads, scratch, context),
            _ => attend_by::<S, N, 2>(qkv, n, heads, scratch, context),
        }
    }
}

#[inline(always)]
unsafe fn attend_by<S: Simd, N: Scores<S>, const V: usize>(
    qkv: *const u8,
    n: usize,
    heads: Heads,
    scratch: Scratch,
    context: *mut f32,
) {
    let hidden = heads.hidden();
    let row_words = 3 * hidden / N::GROUP;
    let head_words = heads.width / N::GROUP;
    let columns = padded::<S>(n);
    for head in 0..heads.n {
        // SAFETY: of the caller.
        unsafe {
            let query = qkv.cast::<u32>().add(head * head_words);
            let key = query.add(hidden / N::GROUP);
            let value = key.add(hidden / N::GROUP);
            pack_keys::<S>(key, row_words, n, head_words, scratch.keys, columns);
            N::pack_rows(value.cast(), 3 * hidden, n, heads.width, scratch.values);
            let tiles = n.div_ceil(ROWS);
            let mut first = 0;
            for done in 0..tiles {
                let rows = (n - first).div_ceil(tiles - done);
                let strip = Strip {
                    query: query.add(first * row_words),
                    row_words,
                    head_words,
                    head_width: heads.width,
                    n,
                    scratch,
                    context: context.add(first * hidden + head * heads.width),
                    hidden,
                };
                match rows {
                    6 => strip.run::<S, N, 6, V>(),
                    5 => strip.run::<S, N, 5, V>(),
                    4 => strip.run::<S, N, 4, V>(),
                    3 => strip.run::<S, N, 3, V>(),
                    2 => strip.run::<S, N, 2, V>(),
                    _ => strip.run::<S, N, 1, V>(),
                }
                first += rows;
            }
        }
    }
}

/// Keys of a head, turned: word `[word of the key][token]`. Columns beyond the last token hold
/// whatever was there; their scores are never used.
#[inline(always)]
unsafe fn pack_keys<S: Simd>(
    key: *const u32,
    stride: usize,
    n: usize,
    n_words: usize,
    to: *mut u32,
    columns: usize,
) {
    for block in (0..n_words).step_by(S::LANES) {
        let mut token = 0;
        // SAFETY: of the caller; the last, partial block is turned word by word.
        unsafe {
            while token + S::LANES <= n {
                let from = key.add(token * stride + block);
                S::transpose(from, stride, to.add(block * columns + token), columns);
                token += S::LANES;
            }
            for token in token..n {
                for word in block..block + S::LANES {
                    *to.add(word * columns + token) = key.add(token * stride + word).read_unaligned();
                }
            }
        }
    }
}

/// A few rows of queries of one head.
struct Strip {
    query: *const u32,
    row_words: usize,
    head_words: usize,
    head_width: usize,
    n: usize,
    scratch: Scratch,
    context: *mut f32,
    hidden: usize,
}

impl Strip {
    #[inline(always)]
    unsafe fn run<S: Simd, N: Scores<S>, const M: usize, const V: usize>(&self) {
        let columns = padded::<S>(self.n);
        // SAFETY: of the caller of `attend`.
        unsafe {
            let mut largest = [S::float(-1e30); M];
            let mut column = 0;
            while column < columns {
                let vectors = (columns - column) / S::LANES;
                match vectors.min(V) {
                    4 => self.score::<S, N, M, 4>(column, &mut largest),
                    3 => self.score::<S, N, M, 3>(column, &mut largest),
                    2 => self.score::<S, N, M, 2>(column, &mut largest),
                    _ => self.score::<S, N, M, 1>(column, &mut largest),
                }
                column += vectors.min(V) * S::LANES;
            }
            let mut inverses = [0.0; M];
            for row in 0..M {
                inverses[row] = 1.0 / self.softmax::<S, N>(row, S::largest(largest[row]));
            }
            let mut column = 0;
            while column < self.head_width {
                let vectors = (self.head_width - column) / S::LANES;
                match vectors.min(V) {
                    4 => self.gather::<S, N, M, 4>(column, inverses),
                    3 => self.gather::<S, N, M, 3>(column, inverses),
                    2 => self.gather::<S, N, M, 2>(column, inverses),
                    _ => self.gather::<S, N, M, 1>(column, inverses),
                }
                column += vectors.min(V) * S::LANES;
            }
        }
    }

    /// Scores of a tile; lanes that are no tokens never count.
    #[inline(always)]
    unsafe fn score<S: Simd, N: Scores<S>, const M: usize, const V: usize>(
        &self,
        column: usize,
        largest: &mut [S::Reg; M],
    ) {
        let columns = padded::<S>(self.n);
        // SAFETY: of the caller of `attend`.
        unsafe {
            let keys = self.scratch.keys.add(column);
            let mut scores = sums::<S, N, M, V>(self.query, self.row_words, keys, columns, self.head_words);
            if column + V * S::LANES > self.n {
                let tokens = self.n - (column + (V - 1) * S::LANES);
                for scores in &mut scores {
                    scores[V - 1] = S::first(tokens, scores[V - 1], S::float(-1e30));
                }
            }
            for (row, scores) in scores.iter().enumerate() {
                for (v, score) in scores.iter().enumerate() {
                    largest[row] = S::max(largest[row], *score);
                    let at = self.scratch.scores.add(row * columns + column + v * S::LANES);
                    S::store_f32(at, *score);
                }
            }
        }
    }

    /// Shares of a row before the division by their sum, which is returned.
    #[inline(always)]
    unsafe fn softmax<S: Simd, N: Scores<S>>(&self, row: usize, largest: f32) -> f32 {
        let columns = padded::<S>(self.n);
        // SAFETY: of the caller of `attend`.
        unsafe {
            let scores = self.scratch.scores.add(row * columns);
            let shares = self.scratch.shares.add(row * columns * N::BYTES);
            let largest = S::float(largest);
            let mut sum = S::zero();
            for at in (0..columns).step_by(S::LANES) {
                let share = N::exp2(S::sub(S::load_f32(scores.add(at)), largest));
                sum = S::add(sum, share);
                N::put(shares.add(at * N::BYTES), share);
            }
            S::sum(sum)
        }
    }

    #[inline(always)]
    unsafe fn gather<S: Simd, N: Scores<S>, const M: usize, const V: usize>(
        &self,
        column: usize,
        inverses: [f32; M],
    ) {
        let columns = padded::<S>(self.n);
        // SAFETY: of the caller of `attend`; shares beyond the last token are zero.
        unsafe {
            let context = sums::<S, N, M, V>(
                self.scratch.shares.cast(),
                columns / N::GROUP,
                self.scratch.values.add(column),
                self.head_width,
                self.n.div_ceil(N::GROUP),
            );
            for (row, context) in context.into_iter().enumerate() {
                for (v, context) in context.into_iter().enumerate() {
                    let to = self.context.add(row * self.hidden + column + v * S::LANES);
                    S::store_f32(to, S::mul(context, S::float(inverses[row])));
                }
            }
        }
    }
}
