//! The pass through the network.

use super::aligned::Aligned;
use super::attention::{self, Heads, Scratch};
use super::backend::Backend;
use super::gemm::{self, Add, Gelu, Rows, Sink, Store};
use super::instructions::Set;
use super::linear::Linear;
use super::numbers::{Bf16, F32, Int8, Numbers, RowScale, Scores};
use super::portable::Portable;
use super::rows::{self, Activation};
use super::{Encoder, Layer, PackedNorm, Precision, Shape};

/// Rows that pass the feed-forward layers together: their intermediate rows stay in the
/// second-level cache beside the weights that run past.
const BLOCK: usize = 96;

/// Bytes of the widest number.
const WIDEST: usize = 4;

/// The buffers of one thread, made once and grown to the largest unit that it sees.
#[derive(Debug)]
pub struct Workspace {
    shape: Shape,
    n_rows: usize,
    /// States, one row per token, as floats.
    states: Aligned<f32>,
    /// The states as the numbers of the next product.
    left: Aligned<u8>,
    left_scales: Vec<RowScale>,
    qkv: Aligned<u8>,
    context: Aligned<f32>,
    block: Aligned<u8>,
    block_scales: Vec<RowScale>,
    wide: Aligned<f32>,
    wide_numbers: Aligned<u8>,
    wide_scales: Vec<RowScale>,
    keys: Aligned<u32>,
    values: Aligned<u32>,
    scores: Aligned<f32>,
    shares: Aligned<u8>,
}

impl Workspace {
    /// Buffers for units of `n_tokens` tokens; a larger one, or an encoder of another shape, makes
    /// them anew.
    pub fn new(shape: &Shape, n_tokens: usize) -> Self {
        let n_rows = n_tokens.max(1);
        let (hidden, slice) = (shape.hidden, shape.slice());
        // Of the longest sequence: a buffer that grew with each would be made anew for each. Whole
        // registers of the widest instruction set.
        let columns = shape.max_tokens.next_multiple_of(16);
        let head_width = hidden / shape.heads;
        Self {
            shape: *shape,
            n_rows,
            states: Aligned::zeroed(n_rows * hidden),
            left: Aligned::zeroed(n_rows * hidden * WIDEST),
            left_scales: vec![RowScale::default(); n_rows],
            qkv: Aligned::zeroed(n_rows * 3 * hidden * WIDEST),
            context: Aligned::zeroed(n_rows * hidden),
            block: Aligned::zeroed(BLOCK * hidden * WIDEST),
            block_scales: vec![RowScale::default(); BLOCK],
            wide: Aligned::zeroed(BLOCK * slice),
            wide_numbers: Aligned::zeroed(BLOCK * slice * WIDEST),
            wide_scales: vec![RowScale::default(); BLOCK],
            keys: Aligned::zeroed(columns * head_width),
            values: Aligned::zeroed(columns * head_width),
            scores: Aligned::zeroed(gemm::ROWS * columns),
            shares: Aligned::zeroed(gemm::ROWS * columns * WIDEST),
        }
    }

    fn make_room(&mut self, shape: &Shape, n_rows: usize) {
        if n_rows > self.n_rows || *shape != self.shape {
            *self = Self::new(shape, n_rows.max(self.n_rows));
        }
    }

    fn buffers(&mut self) -> Buffers {
        Buffers {
            states: self.states.as_mut_ptr(),
            left: self.left.as_mut_ptr(),
            left_scales: self.left_scales.as_mut_ptr(),
            qkv: self.qkv.as_mut_ptr(),
            context: self.context.as_mut_ptr(),
            block: self.block.as_mut_ptr(),
            block_scales: self.block_scales.as_mut_ptr(),
            wide: self.wide.as_mut_ptr(),
            wide_numbers: self.wide_numbers.as_mut_ptr(),
            wide_scales: self.wide_scales.as_mut_ptr(),
            attention: Scratch {
                keys: self.keys.as_mut_ptr(),
                values: self.values.as_mut_ptr(),
                scores: self.scores.as_mut_ptr(),
                shares: self.shares.as_mut_ptr(),
            },
        }
    }
}

/// Where the buffers of a borrowed [`Workspace`] begin.
#[derive(Clone, Copy)]
struct Buffers {
    states: *mut f32,
    left: *mut u8,
    left_scales: *mut RowScale,
    qkv: *mut u8,
    context: *mut f32,
    block: *mut u8,
    block_scales: *mut RowScale,
    wide: *mut f32,
    wide_numbers: *mut u8,
    wide_scales: *mut RowScale,
    attention: Scratch,
}

/// How the states of a sequence become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Their sum, which has the direction of the mean.
    Sum,
    /// The first one.
    First,
}

impl Encoder {
    /// Pooled states of whole sequences, `hidden` floats each, not normalised, in order.
    ///
    /// # Panics
    /// When a sequence is empty or longer than the shape allows, an id is outside the word table,
    /// or `pooled` has another length than `hidden` times the number of sequences.
    pub fn encode(&self, workspace: &mut Workspace, sequences: &[&[u32]], pool: Pool, pooled: &mut [f32]) {
        let n_rows = sequences.iter().map(|ids| ids.len()).sum();
        assert!(
            sequences.iter().all(|ids| ids.len() <= self.shape.max_tokens),
            "a sequence has at most {} tokens",
            self.shape.max_tokens
        );
        assert!(sequences.iter().all(|ids| !ids.is_empty()), "a sequence has a token");
        let vocabulary = self.vocabulary();
        assert!(
            sequences.iter().all(|ids| ids.iter().all(|id| (*id as usize) < vocabulary)),
            "ids are rows of the word table"
        );
        assert_eq!(pooled.len(), sequences.len() * self.shape.hidden, "a row per sequence");
        workspace.make_room(&self.shape, n_rows);
        let space = workspace.buffers();
        let unit = Unit { encoder: self, sequences, n_rows };
        // SAFETY: `Instructions` exist only where the CPU has them; sizes were checked above, and
        // the workspace has room.
        unsafe {
            match self.instructions.0 {
                #[cfg(target_arch = "x86_64")]
                Set::Avx512Bf16 => unit.run::<super::avx512::Avx512<true>>(space, pool, pooled),
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => unit.run::<super::avx512::Avx512<false>>(space, pool, pooled),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => unit.run::<super::avx2::Avx2>(space, pool, pooled),
                Set::Portable => unit.run::<Portable>(space, pool, pooled),
            }
        }
    }
}

/// Sequences that pass the network together.
struct Unit<'a> {
    encoder: &'a Encoder,
    sequences: &'a [&'a [u32]],
    n_rows: usize,
}

// SAFETY (all blocks below): of `Encoder::encode`: the instructions exist, ids and lengths are
// in range, and the workspace has room for the unit's rows and the shape's longest sequence.
impl Unit<'_> {
    unsafe fn run<B: Backend>(&self, space: Buffers, pool: Pool, pooled: &mut [f32]) {
        unsafe {
            match self.encoder.precision {
                Precision::F32 => self.pass::<B, F32, F32, F32>(space),
                Precision::Bf16 => self.pass::<B, Bf16, Bf16, Bf16>(space),
                Precision::Mixed => self.pass::<B, Int8, Bf16, Bf16>(space),
                Precision::Int8 => self.pass::<B, Int8, Int8, Bf16>(space),
            }
        }
        let hidden = self.encoder.shape.hidden;
        let mut first = 0;
        for (ids, pooled) in self.sequences.iter().zip(pooled.chunks_exact_mut(hidden)) {
            let n = if pool == Pool::First { 1 } else { ids.len() };
            unsafe {
                let states = space.states.add(first * hidden);
                B::perform(
                    #[inline(always)]
                    || rows::add_up::<B>(states, n, pooled),
                );
            }
            first += ids.len();
        }
    }

    /// `D` are the numbers of dense layers, `W` of the second feed-forward layer, `A` of attention.
    unsafe fn pass<B: Backend, D: Numbers<B>, W: Numbers<B>, A: Scores<B>>(&self, space: Buffers) {
        let encoder = self.encoder;
        let hidden = encoder.shape.hidden;
        let heads = Heads { n: encoder.shape.heads, width: hidden / encoder.shape.heads };
        unsafe {
            self.embed::<B>(space);
            let next = encoder.layers.first().map(|first| &first.qkv);
            self.normalize::<B, D>(space, &encoder.norm, next, 0, self.n_rows);
            for (number, layer) in encoder.layers.iter().enumerate() {
                let qkv = Store::<A>::new(space.qkv, 3 * hidden);
                product::<B, D, _>(self.left::<B, D>(space, 0, self.n_rows), &layer.qkv, qkv);
                let mut token = 0;
                for ids in self.sequences {
                    let from = space.qkv.add(token * 3 * hidden * A::BYTES);
                    let context = space.context.add(token * hidden);
                    let scratch = space.attention;
                    B::perform(
                        #[inline(always)]
                        || attention::attend::<B, A>(from, ids.len(), heads, scratch, context),
                    );
                    token += ids.len();
                }
                let next = encoder.layers.get(number + 1).map(|next| &next.qkv);
                let blocks = self.n_rows.div_ceil(BLOCK);
                let mut first = 0;
                for done in 0..blocks {
                    let n = (self.n_rows - first).div_ceil(blocks - done);
                    self.feed_forward::<B, D, W>(space, layer, next, first, n);
                    first += n;
                }
            }
        }
    }

    unsafe fn embed<B: Backend>(&self, space: Buffers) {
        let Encoder { words, stored, positions, shape, .. } = self.encoder;
        let row_bytes = shape.hidden * stored.bytes();
        let mut row = 0;
        for ids in self.sequences {
            for (position, id) in ids.iter().enumerate() {
                unsafe {
                    let word = words.as_ptr().add(*id as usize * row_bytes);
                    let position = positions.as_ptr().add(position * shape.hidden);
                    let to = space.states.add(row * shape.hidden);
                    B::perform(
                        #[inline(always)]
                        || rows::embed::<B>(word, *stored, position, shape.hidden, to),
                    );
                }
                row += 1;
            }
        }
    }

    /// Attention's output, both feed-forward layers and the norms, for `n` rows.
    unsafe fn feed_forward<B: Backend, D: Numbers<B>, W: Numbers<B>>(
        &self,
        space: Buffers,
        layer: &Layer,
        next: Option<&Linear>,
        first: usize,
        n: usize,
    ) {
        let hidden = self.encoder.shape.hidden;
        let slice = self.encoder.shape.slice();
        unsafe {
            let states = Add { to: space.states.add(first * hidden), stride: hidden };
            let block = Rows { data: space.block, scales: space.block_scales, n };
            let context = space.context.add(first * hidden);
            convert::<B, D>(context, hidden, &layer.output, block);
            product::<B, D, _>(block, &layer.output, states);
            self.normalize::<B, D>(space, &layer.attention_norm, Some(&layer.widen[0]), first, n);
            let left = self.left::<B, D>(space, first, n);
            let wide = Rows { data: space.wide_numbers, scales: space.wide_scales, n };
            let numbers = Store::<W>::new(space.wide_numbers, slice);
            let floats = Store::<F32>::new(space.wide.cast(), slice);
            for (widen, narrow) in layer.widen.iter().zip(&layer.narrow) {
                match self.encoder.shape.activation {
                    // Codes need the range of their whole row first.
                    Activation::Gelu if W::SCALED => {
                        product::<B, D, _>(left, widen, Gelu::<F32, false>(floats));
                        convert::<B, W>(space.wide, slice, narrow, wide);
                    }
                    Activation::Gelu if W::GROUP == 1 => {
                        product::<B, D, _>(left, widen, Gelu::<W, true>(numbers));
                    }
                    Activation::Gelu => product::<B, D, _>(left, widen, Gelu::<W, false>(numbers)),
                    other => {
                        product::<B, D, _>(left, widen, floats);
                        let x = space.wide;
                        B::perform(
                            #[inline(always)]
                            || rows::activate::<B>(x, n * slice, other),
                        );
                        convert::<B, W>(x, slice, narrow, wide);
                    }
                }
                product::<B, W, _>(wide, narrow, states);
            }
            self.normalize::<B, D>(space, &layer.output_norm, next, first, n);
        }
    }

    /// Normalises `n` states, and writes them as the left side of the layer that reads them.
    unsafe fn normalize<B: Backend, D: Numbers<B>>(
        &self,
        space: Buffers,
        norm: &PackedNorm,
        reader: Option<&Linear>,
        first: usize,
        n: usize,
    ) {
        let hidden = self.encoder.shape.hidden;
        let norm = rows::Norm { gain: &norm.gain, shift: &norm.shift, eps: self.encoder.shape.eps };
        unsafe {
            let states = space.states.add(first * hidden);
            B::perform(
                #[inline(always)]
                || rows::normalize::<B>(states, norm, n),
            );
            if let Some(reader) = reader {
                convert::<B, D>(states, hidden, reader, self.left::<B, D>(space, first, n));
            }
        }
    }

    unsafe fn left<B: Backend, D: Numbers<B>>(&self, space: Buffers, first: usize, n: usize) -> Rows {
        let row_bytes = self.encoder.shape.hidden * D::BYTES;
        // SAFETY: of the caller; `first` is one of the unit's rows.
        unsafe { Rows { data: space.left.add(first * row_bytes), scales: space.left_scales.add(first), n } }
    }
}

unsafe fn product<B: Backend, N: Numbers<B>, K: Sink<B>>(rows: Rows, linear: &Linear, sink: K) {
    unsafe {
        B::perform(
            #[inline(always)]
            || gemm::product::<B, N, K>(rows, linear, sink),
        );
    }
}

unsafe fn convert<B: Backend, N: Numbers<B>>(from: *const f32, width: usize, reader: &Linear, rows: Rows) {
    unsafe {
        B::perform(
            #[inline(always)]
            || rows::convert::<B, N>(from, width, reader.smoothing(), rows),
        );
    }
}
