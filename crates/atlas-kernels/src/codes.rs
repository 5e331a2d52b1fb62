//! Int8 codes of vectors, in rows that begin on cache lines, and their upper halves.
//!
//! A scan of many rows and the walk of a graph wait for memory. The upper four bits of each code
//! stand in an array of their own: their dot products are off by less than the gap between a good
//! answer and a middling one, for half the bytes. What they let through is compared by whole codes.

use std::io::{self, Read, Write};

use crate::blocks::Blocks;
use crate::kernel::{Kernel, Set};
use crate::portable;

/// Bytes of a cache line, and of the widest register.
const LINE: usize = 64;

/// Rows whose dot products are taken at once in a scan; the rows of the next batch are fetched
/// meanwhile.
pub const BATCH: usize = 128;

/// A cache line of codes, each -127 to 127: made by [`pad`] only.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([i8; LINE]);

impl Default for Line {
    fn default() -> Self {
        Self([0; LINE])
    }
}

/// The int8 codes of one vector: component `i` is about `codes[i] * scale`.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    /// One code per component, -127 to 127.
    pub codes: Vec<i8>,
    /// What one step of a code is worth; 0 for the zero vector.
    pub scale: f32,
}

/// Rounds a vector to int8, with its largest component at 127. Components that are not finite
/// have no code and become 0; an index refuses such vectors before.
pub fn quantize(vector: &[f32]) -> Codes {
    // 1.5 * 2^23: a float of this size has steps of 1, so adding it rounds, and the integer stands
    // in the low bits. `f32::round` is a call per component on CPUs of the base line.
    const ROUNDING: f32 = 12_582_912.0;
    let largest = vector.iter().fold(0.0f32, |max, x| if x.is_finite() { max.max(x.abs()) } else { max });
    let scale = largest / 127.0;
    // Below this the reciprocal overflows; such a vector is zero for every purpose here.
    if scale < f32::MIN_POSITIVE {
        return Codes { codes: vec![0; vector.len()], scale: 0.0 };
    }
    let steps = 1.0 / scale;
    // The clamp keeps a code from reaching -128 by rounding.
    let code = |x: &f32| {
        let x = if x.is_finite() { *x } else { 0.0 };
        ((x * steps).clamp(-127.0, 127.0) + ROUNDING).to_bits() as i8
    };
    Codes { codes: vector.iter().map(code).collect(), scale }
}

/// Copies codes into whole cache lines, which are zero before.
///
/// # Panics
/// When one of them is -128. The fastest kernels multiply the magnitude of one code by the other
/// with its sign, in 16 bits: -128 has no opposite, and its products would not fit.
fn pad(codes: &[i8], lines: &mut [Line]) {
    assert!(!codes.contains(&i8::MIN), "codes are -127 to 127");
    for (piece, line) in codes.chunks(LINE).zip(lines) {
        line.0[..piece.len()].copy_from_slice(piece);
    }
}

/// The codes of one vector with zeros up to whole cache lines, none of them -128.
#[derive(Debug, Clone, Copy)]
pub struct CodeRow<'a>(&'a [Line]);

impl<'a> CodeRow<'a> {
    /// The codes with their padding.
    #[inline]
    pub fn codes(self) -> &'a [i8] {
        // SAFETY: `Line` is `repr(C)` and exactly 64 initialised `i8` without padding (size equals
        // alignment), so n lines are 64 * n contiguous codes of the same lifetime.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * LINE) }
    }
}

/// Lines as they lie in memory.
#[inline]
fn bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: as in `CodeRow::codes`; every `i8` is a `u8`.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE) }
}

/// Lines as they lie in memory, to write.
fn bytes_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: as in `bytes`; every `u8` is an `i8`, and the lines are borrowed for as long.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LINE) }
}

/// The codes of a vector that is compared with the rows of a matrix.
#[derive(Debug, Clone)]
pub struct CodeQuery(Vec<Line>);

impl CodeQuery {
    /// Pads the codes.
    ///
    /// # Panics
    /// When one of them is -128, which [`quantize`] never makes.
    pub fn new(codes: &[i8]) -> Self {
        let mut lines = vec![Line::default(); codes.len().div_ceil(LINE)];
        pad(codes, &mut lines);
        Self(lines)
    }

    /// As a row.
    pub fn row(&self) -> CodeRow<'_> {
        CodeRow(&self.0)
    }
}

/// Codes whose halves stand in one register of 32 bytes: the first half of them in the low four
/// bits of each byte, the other in the high four.
pub(crate) const GROUP: usize = 64;

/// The upper halves of some codes, from 0 for -127 to 15 for 127, two in a byte.
fn halve(codes: &[i8], lines: &mut [Line]) {
    let half = |code: i8| (code as u8 ^ 0x80) >> 4;
    let bytes = lines.iter_mut().flat_map(|line| line.0.as_chunks_mut::<{ GROUP / 2 }>().0);
    let (groups, rest) = codes.as_chunks::<GROUP>();
    let mut last = [i8::MIN; GROUP]; // whose half is 0
    last[..rest.len()].copy_from_slice(rest);
    for (group, bytes) in groups.iter().chain((!rest.is_empty()).then_some(&last)).zip(bytes) {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = (half(group[at]) | half(group[at + GROUP / 2]) << 4) as i8;
        }
    }
}

/// From the sum of products of the query's codes and halves to an estimate of the dot product: a
/// half stands for the middle of the 16 codes it was made of.
#[inline]
pub(crate) fn estimate(sum: i32, sum_of_query: i32) -> i32 {
    16 * sum - 120 * sum_of_query
}

/// Rows of int8 codes, each padded with zeros to whole cache lines. A clone shares the rows.
#[derive(Debug, Clone)]
pub struct CodeMatrix {
    dimension: usize,
    lines: Blocks<Line>,
    halves: Blocks<Line>,
}

impl CodeMatrix {
    /// An empty matrix for vectors of `dimension` components.
    pub fn new(dimension: usize) -> Self {
        let lines = Blocks::new(dimension.div_ceil(LINE));
        Self { dimension, lines, halves: Blocks::new(dimension.div_ceil(2 * LINE)) }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Components per vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Codes per row with the padding.
    pub fn width(&self) -> usize {
        self.lines.width() * LINE
    }

    /// Appends a row.
    ///
    /// # Panics
    /// When `codes` does not have [`Self::dimension`] components, or one of them is -128.
    pub fn push(&mut self, codes: &[i8]) {
        assert_eq!(codes.len(), self.dimension, "rows of a matrix have one length");
        self.lines.push_with(|lines| pad(codes, lines));
        self.halves.push_with(|lines| halve(codes, lines));
    }

    /// One row with its padding.
    ///
    /// # Panics
    /// When there is no such row.
    #[inline]
    pub fn row(&self, row: usize) -> CodeRow<'_> {
        CodeRow(self.lines.row(row))
    }

    /// Asks the CPU to fetch a row that is read soon.
    #[inline]
    pub fn prefetch(&self, row: usize) {
        self.lines.prefetch(row);
    }

    /// Asks the CPU to fetch the halves of a row that are read soon.
    #[inline]
    pub fn prefetch_halves(&self, row: usize) {
        self.halves.prefetch(row);
    }

    /// The halves of a row, as bytes.
    #[inline]
    pub(crate) fn halves(&self, row: usize) -> &[u8] {
        bytes(self.halves.row(row))
    }

    /// Some rows, in the order given, as a matrix of their own.
    ///
    /// # Panics
    /// When one of them does not exist.
    pub fn kept(&self, rows: impl Iterator<Item = u32> + Clone) -> Self {
        Self {
            dimension: self.dimension,
            lines: self.lines.kept(rows.clone()),
            halves: self.halves.kept(rows),
        }
    }

    /// Writes the rows with their padding, one after the other.
    pub fn write_to(&self, sink: &mut dyn Write) -> io::Result<()> {
        self.lines.runs().try_for_each(|lines| sink.write_all(bytes(lines)))
    }

    /// Reads what [`Self::write_to`] wrote of a matrix of `rows` rows. Codes that are none of ours
    /// are an error of the kind [`io::ErrorKind::InvalidData`].
    pub fn read_from(dimension: usize, rows: usize, source: &mut dyn Read) -> io::Result<Self> {
        let width = dimension.div_ceil(LINE);
        let mut halves = Blocks::new(dimension.div_ceil(2 * LINE));
        let lines = Blocks::filled(width, rows, |lines: &mut [Line]| {
            source.read_exact(bytes_mut(lines))?;
            for row in lines.chunks_exact(width.max(1)).map(CodeRow) {
                let (codes, padding) = row.codes().split_at(dimension);
                if codes.contains(&i8::MIN) || padding.iter().any(|&code| code != 0) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes that are no codes"));
                }
                halves.push_with(|lines| halve(codes, lines));
            }
            Ok(())
        })?;
        Ok(Self { dimension, lines, halves })
    }

    /// The dot products of `query` and each of `rows`, in their order.
    ///
    /// # Panics
    /// When the query has another width, `dots` another length than `rows`, or a row does not
    /// exist.
    pub fn dots(&self, kernel: Kernel, query: CodeRow<'_>, rows: &[u32], dots: &mut [i32]) {
        assert_eq!(query.0.len(), self.lines.width(), "vectors of one space have one length");
        assert_eq!(rows.len(), dots.len(), "a place for each dot product");
        match kernel.0 {
            // SAFETY (here and below): a `Kernel` exists only after its features were detected;
            // the query has the width of the rows, and both are free of -128 by their type.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => unsafe { crate::x86::dots_vnni(self, query, rows, dots) },
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { crate::x86::dots_avx2(self, query, rows, dots) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => self.one_by_one(query, rows, dots, |a, b| unsafe { crate::neon::dot_codes(a, b) }),
            Set::Portable => self.one_by_one(query, rows, dots, portable::dot_i8),
        }
    }

    /// Estimates of the dot products of `query` and each of `rows`, in their order, from the upper
    /// halves of the rows' codes.
    ///
    /// # Panics
    /// As [`Self::dots`].
    pub fn rough_dots(&self, kernel: Kernel, query: CodeRow<'_>, rows: &[u32], dots: &mut [i32]) {
        assert_eq!(query.0.len(), self.lines.width(), "vectors of one space have one length");
        assert_eq!(rows.len(), dots.len(), "a place for each dot product");
        match kernel.0 {
            // SAFETY (here and below): as in `dots`; halves of the query's width are half as many
            // bytes, rounded up to whole lines.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => unsafe { crate::x86::rough_dots_vnni(self, query, rows, dots) },
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { crate::x86::rough_dots_avx2(self, query, rows, dots) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => {
                let sum_of_query = portable::sum(query.codes());
                for (&row, to) in rows.iter().zip(dots) {
                    let sum = unsafe { crate::neon::dot_halves(query.codes(), self.halves(row as usize)) };
                    *to = estimate(sum, sum_of_query);
                }
            }
            Set::Portable => {
                let sum_of_query = portable::sum(query.codes());
                for (&row, to) in rows.iter().zip(dots) {
                    let sum = portable::dot_halves(query.codes(), self.halves(row as usize));
                    *to = estimate(sum, sum_of_query);
                }
            }
        }
    }

    fn one_by_one(
        &self,
        query: CodeRow<'_>,
        rows: &[u32],
        dots: &mut [i32],
        dot: impl Fn(&[i8], &[i8]) -> i32,
    ) {
        for (&row, to) in rows.iter().zip(dots) {
            *to = dot(self.row(row as usize).codes(), query.codes());
        }
    }

    /// Passes rows and their dot products with `query` to `sink`, some at a time. `next` writes
    /// further rows to the front of its buffer and returns how many; 0 is the end.
    ///
    /// # Panics
    /// When the query has another width or a row does not exist.
    pub fn scan(
        &self,
        kernel: Kernel,
        query: CodeRow<'_>,
        next: impl FnMut(&mut [u32]) -> usize,
        sink: impl FnMut(&[u32], &[i32]),
    ) {
        let fetch = |row| self.prefetch(row);
        in_batches(next, fetch, |rows, dots| self.dots(kernel, query, rows, dots), sink);
    }

    /// As [`Self::scan`], with estimates from the upper halves of the rows' codes.
    ///
    /// # Panics
    /// As [`Self::scan`].
    pub fn rough_scan(
        &self,
        kernel: Kernel,
        query: CodeRow<'_>,
        next: impl FnMut(&mut [u32]) -> usize,
        sink: impl FnMut(&[u32], &[i32]),
    ) {
        let fetch = |row| self.prefetch_halves(row);
        in_batches(next, fetch, |rows, dots| self.rough_dots(kernel, query, rows, dots), sink);
    }
}

/// Rows as a scan takes them.
pub fn rows_of(mut rows: impl Iterator<Item = u32>) -> impl FnMut(&mut [u32]) -> usize {
    move |batch| batch.iter_mut().zip(&mut rows).map(|(place, row)| *place = row).count()
}

/// Takes the rows in batches, with the first of the next one fetched while one is multiplied.
#[inline]
fn in_batches(
    mut next: impl FnMut(&mut [u32]) -> usize,
    fetch: impl Fn(usize),
    dots_of: impl Fn(&[u32], &mut [i32]),
    mut sink: impl FnMut(&[u32], &[i32]),
) {
    /// Enough to hide a miss, few enough to stay in the first-level cache.
    const AHEAD: usize = 8;
    let mut fill = |batch: &mut [u32; BATCH]| {
        let len = next(batch);
        batch[..len.min(AHEAD)].iter().for_each(|&row| fetch(row as usize));
        len
    };
    let (mut batch, mut ahead, mut dots) = ([0; BATCH], [0; BATCH], [0; BATCH]);
    let mut len = fill(&mut batch);
    while len > 0 {
        let len_ahead = fill(&mut ahead);
        dots_of(&batch[..len], &mut dots[..len]);
        sink(&batch[..len], &dots[..len]);
        (batch, ahead) = (ahead, batch);
        len = len_ahead;
    }
}
