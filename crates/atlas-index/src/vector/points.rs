//! What scans and graphs compare: codes, and what their steps are worth.

use std::io::{self, Read, Write};

use atlas_kernels::{BATCH, Blocks, CodeMatrix, CodeQuery, CodeRow, Codes, Kernel, quantize, rows_of};

use super::select::Best;

/// The codes of all rows, dead ones too. A clone shares them and stands still.
#[derive(Debug, Clone)]
pub(super) struct Points {
    codes: CodeMatrix,
    scales: Blocks<f32>,
}

/// One vector to compare with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point<'a> {
    pub(super) codes: CodeRow<'a>,
    pub(super) scale: f32,
}

/// The codes of a question.
#[derive(Debug)]
pub(super) struct Query {
    codes: CodeQuery,
    scale: f32,
}

impl Query {
    pub(super) fn new(unit: &[f32]) -> Self {
        let Codes { codes, scale } = quantize(unit);
        Self { codes: CodeQuery::new(&codes), scale }
    }

    pub(super) fn point(&self) -> Point<'_> {
        Point { codes: self.codes.row(), scale: self.scale }
    }
}

impl Points {
    pub(super) fn new(dimension: usize) -> Self {
        Self { codes: CodeMatrix::new(dimension), scales: Blocks::new(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.codes.len()
    }

    pub(super) fn dimension(&self) -> usize {
        self.codes.dimension()
    }

    pub(super) fn push(&mut self, unit: &[f32]) {
        let Codes { codes, scale } = quantize(unit);
        self.codes.push(&codes);
        self.scales.push_with(|place| place[0] = scale);
    }

    pub(super) fn push_from(&mut self, other: &Self, row: u32) {
        let (codes, scale) = other.code(row);
        self.codes.push(codes);
        self.scales.push_with(|place| place[0] = scale);
    }

    pub(super) fn kept(&self, rows: impl Iterator<Item = u32> + Clone) -> Self {
        Self { codes: self.codes.kept(rows.clone()), scales: self.scales.kept(rows) }
    }

    /// Writes the codes of all rows, then their scales.
    pub(super) fn write_to(&self, sink: &mut dyn Write) -> io::Result<()> {
        self.codes.write_to(sink)?;
        self.scales.runs().flatten().try_for_each(|scale| sink.write_all(&scale.to_le_bytes()))
    }

    /// Reads what [`Self::write_to`] wrote of `n_rows` rows.
    pub(super) fn read_from(dimension: usize, n_rows: usize, source: &mut dyn Read) -> io::Result<Self> {
        let codes = CodeMatrix::read_from(dimension, n_rows, source)?;
        let mut bytes = Vec::new();
        let scales = Blocks::filled(1, n_rows, |scales: &mut [f32]| {
            bytes.resize(size_of_val(scales), 0);
            source.read_exact(&mut bytes)?;
            let read = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            scales.iter_mut().zip(read).for_each(|(scale, read)| *scale = read);
            Ok::<_, io::Error>(())
        })?;
        Ok(Self { codes, scales })
    }

    #[inline]
    fn scale(&self, row: u32) -> f32 {
        self.scales.row(row as usize)[0]
    }

    /// Asks the CPU to fetch what a score needs beside the codes, which are fetched when they are
    /// compared.
    #[inline]
    pub(super) fn prefetch_scale(&self, row: u32) {
        self.scales.prefetch(row as usize);
    }

    #[inline]
    pub(super) fn point(&self, row: u32) -> Point<'_> {
        Point { codes: self.codes.row(row as usize), scale: self.scale(row) }
    }

    /// The codes of a row without padding, and their scale.
    pub(super) fn code(&self, row: u32) -> (&[i8], f32) {
        (&self.codes.row(row as usize).codes()[..self.dimension()], self.scale(row))
    }

    /// Whether rough scores are any good. Their error is about the same for any dimension, and
    /// that of short vectors is too large to sort by.
    pub(super) fn has_halves(&self) -> bool {
        self.dimension() >= 128
    }

    /// How far off the rough scores of some rows may be. The error of a half is even over 16 codes,
    /// so that of a score has a deviation of 16 / sqrt(12) = 4.6 steps of the row's codes for a
    /// query of length 1: some 0.006. Four deviations are passed by one row in 30,000.
    pub(super) fn doubt(&self, rows: impl Iterator<Item = u32>) -> f32 {
        4.0 * 4.6 * rows.map(|row| self.scale(row)).fold(0.0, f32::max)
    }

    /// Offers rows by their rough scores; see [`Self::doubt`]. `next` gives the rows as
    /// [`CodeMatrix::scan`] takes them.
    pub(super) fn rough_scan(
        &self,
        query: Point<'_>,
        next: impl FnMut(&mut [u32]) -> usize,
        best: &mut Best,
    ) {
        self.codes.rough_scan(Kernel::detect(), query.codes, next, |rows, dots| {
            self.offer(query, rows, dots, best)
        });
    }

    /// Offers rows by their scores; `next` as for [`Self::rough_scan`].
    pub(super) fn scan(&self, query: Point<'_>, next: impl FnMut(&mut [u32]) -> usize, best: &mut Best) {
        self.codes
            .scan(Kernel::detect(), query.codes, next, |rows, dots| self.offer(query, rows, dots, best));
    }

    fn offer(&self, query: Point<'_>, rows: &[u32], dots: &[i32], best: &mut Best) {
        let mut scores = [0.0; BATCH];
        for ((score, &dot), &row) in scores.iter_mut().zip(dots).zip(rows) {
            *score = dot as f32 * (query.scale * self.scale(row));
        }
        rows.iter().zip(&scores).for_each(|(&row, &score)| best.push(row, score));
    }

    /// The `wanted` best of some rows and their scores.
    pub(super) fn nearest(
        &self,
        query: Point<'_>,
        rows: impl Iterator<Item = u32>,
        wanted: usize,
    ) -> Vec<(f32, u32)> {
        let mut best = Best::new(wanted);
        self.scan(query, rows_of(rows), &mut best);
        best.into_scored()
    }

    /// The rough scores of some rows, in their order.
    #[inline]
    pub(super) fn rough_scores(&self, kernel: Kernel, query: Point<'_>, rows: &[u32], scratch: &mut Scores) {
        scratch.dots.resize(rows.len(), 0);
        if self.has_halves() {
            self.codes.rough_dots(kernel, query.codes, rows, &mut scratch.dots);
        } else {
            self.codes.dots(kernel, query.codes, rows, &mut scratch.dots);
        }
        self.scale_up(query, rows, scratch);
    }

    /// The scores of some rows, in their order: their cosines but for the rounding of the codes,
    /// some 0.0004.
    #[inline]
    pub(super) fn scores(&self, kernel: Kernel, query: Point<'_>, rows: &[u32], scratch: &mut Scores) {
        scratch.dots.resize(rows.len(), 0);
        self.codes.dots(kernel, query.codes, rows, &mut scratch.dots);
        self.scale_up(query, rows, scratch);
    }

    #[inline]
    fn scale_up(&self, query: Point<'_>, rows: &[u32], scratch: &mut Scores) {
        scratch.scores.clear();
        let score = |(&row, &dot): (&u32, &i32)| dot as f32 * (query.scale * self.scale(row));
        scratch.scores.extend(rows.iter().zip(&scratch.dots).map(score));
    }
}

/// Room for scores that is used again and again.
#[derive(Debug, Default)]
pub(super) struct Scores {
    dots: Vec<i32>,
    pub(super) scores: Vec<f32>,
}
