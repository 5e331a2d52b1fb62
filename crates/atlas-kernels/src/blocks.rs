//! Rows of equal width in blocks that copies share.
//!
//! A builder that works beside a growing index needs the rows to stand still. Copying a gigabyte
//! for it would stop the index for a second, and so would a `Vec` that moves when it grows. Here a
//! copy costs a counter per 1,024 rows, and the owner copies at most the one block it still fills.

use std::sync::Arc;

/// Rows per block; a power of two, so that finding a row is a shift and a mask.
const ROWS: usize = 1024;
/// Rows of the first allocation: most tenants are small.
const FIRST_ROWS: usize = 16;

/// Asks the CPU to fetch values that are read soon; those that lie apart are not guessed by the
/// hardware. Does nothing where no instruction for it is known.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(values)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint and cannot fault; SSE belongs to the x86-64 base line.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().cast::<i8>().wrapping_add(at)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}

/// Rows of `width` values each.
#[derive(Debug, Clone)]
pub struct Blocks<T> {
    width: usize,
    rows: usize,
    /// All but the last hold [`ROWS`] rows; the last may be shorter and have room to spare.
    blocks: Vec<Arc<[T]>>,
}

impl<T: Copy + Default> Blocks<T> {
    /// No rows, of `width` values each.
    pub fn new(width: usize) -> Self {
        Self { width, rows: 0, blocks: Vec::new() }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Values per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Appends a row of defaults and lets `fill` write it.
    pub fn push_with(&mut self, fill: impl FnOnce(&mut [T])) {
        let at = self.rows % ROWS;
        if at == 0 {
            self.blocks.push(Arc::from([]));
        }
        let width = self.width;
        let last = self.blocks.last_mut().expect("one was pushed for the first row of a block");
        if last.len() < (at + 1) * width {
            let room = (at * 2).clamp(FIRST_ROWS, ROWS);
            let mut grown = Vec::with_capacity(room * width);
            grown.extend_from_slice(last);
            grown.resize(room * width, T::default());
            *last = grown.into();
        }
        fill(&mut Arc::make_mut(last)[at * width..(at + 1) * width]);
        self.rows += 1;
    }

    /// One row.
    ///
    /// # Panics
    /// When there is no such row.
    #[inline]
    pub fn row(&self, row: usize) -> &[T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        &self.blocks[row / ROWS][row % ROWS * self.width..][..self.width]
    }

    /// Asks the CPU to fetch a row that is read soon. Does nothing for a row that does not exist.
    #[inline]
    pub fn prefetch(&self, row: usize) {
        let block = self.blocks.get(row / ROWS);
        let begin = row % ROWS * self.width;
        prefetch(block.and_then(|block| block.get(begin..begin + self.width)).unwrap_or_default());
    }

    /// The rows in their order, in runs without gaps.
    pub fn runs(&self) -> impl Iterator<Item = &[T]> {
        let lengths = (0..self.rows).step_by(ROWS).map(|begin| ROWS.min(self.rows - begin));
        self.blocks.iter().zip(lengths).map(|(block, rows)| &block[..rows * self.width])
    }

    /// `rows` rows of `width` values, written by `fill` run by run, in their order.
    pub fn filled<E>(
        width: usize,
        rows: usize,
        mut fill: impl FnMut(&mut [T]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut blocks = Vec::with_capacity(rows.div_ceil(ROWS));
        for begin in (0..rows).step_by(ROWS) {
            let run = ROWS.min(rows - begin) * width;
            let mut block: Arc<[T]> = std::iter::repeat_n(T::default(), run).collect();
            fill(Arc::make_mut(&mut block))?;
            blocks.push(block);
        }
        Ok(Self { width, rows, blocks })
    }

    /// Some rows, in the order given, as rows of their own.
    ///
    /// # Panics
    /// When one of them does not exist.
    pub fn kept(&self, rows: impl Iterator<Item = u32>) -> Self {
        let mut kept = Self::new(self.width);
        rows.for_each(|row| kept.push_with(|place| place.copy_from_slice(self.row(row as usize))));
        kept
    }
}
