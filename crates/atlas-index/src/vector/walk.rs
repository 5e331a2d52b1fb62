//! The walk of a graph: from what is near to what is nearer, until nothing near is left unseen.
//!
//! It goes by rough scores: which way to turn does not depend on the last digits, and a walk waits
//! for memory. Who wants the nearest of what it found compares those again.

use std::sync::{Mutex, PoisonError};

use atlas_kernels::Kernel;

use super::points::{Point, Points, Scores};

/// Largest number of rows a walk can tell apart; two bits of an entry are flags.
pub(super) const MOST_ROWS: usize = 1 << 30;

/// Where a walk begins, what it looks for and how far it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) points: &'a Points,
    pub(super) query: Point<'a>,
    pub(super) entry: u32,
    /// Admitted rows to keep in view.
    pub(super) width: usize,
    /// Rows to look at at most.
    pub(super) visits: usize,
}

/// The links of one layer.
pub(super) trait Links<'g> {
    /// Those of a row.
    fn of(&self, row: u32) -> &'g [u32];

    /// Asks the CPU to fetch those of a row that may be looked at soon.
    fn prefetch(&self, row: u32);
}

/// What a walk needs room for. Kept between walks, so that a walk allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// A bit per row: 8 KiB at 64,000 rows, which stays in the first-level cache where an epoch
    /// per row would not.
    seen: Vec<u64>,
    batch: Vec<u32>,
    scores: Scores,
    pub(super) pool: Pool,
}

static SPARE: Mutex<Vec<Scratch>> = Mutex::new(Vec::new());

impl Scratch {
    /// Runs a walk with room that earlier ones left, and leaves it to later ones.
    pub(super) fn with<T>(walk: impl FnOnce(&mut Self) -> T) -> T {
        let mut scratch = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let outcome = walk(&mut scratch);
        SPARE.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        outcome
    }

    /// Fills the pool with the nearest rows that can be reached: `width` admitted ones, and the
    /// others that were passed on the way. `false` when more than `visits` rows were looked at
    /// before the end.
    pub(super) fn walk<'g>(
        &mut self,
        walk: Walk<'_>,
        links: impl Links<'g>,
        admit: impl Fn(u32) -> bool,
    ) -> bool {
        let Walk { points, query, entry, width, visits } = walk;
        let kernel = Kernel::detect();
        self.seen.clear();
        self.seen.resize(points.len().div_ceil(64), 0);
        self.pool.reset(width);
        self.batch.clear();
        self.see(entry);
        self.compare(kernel, points, query, &links, &admit);
        let mut seen = 1;
        while let Some(row) = self.pool.next() {
            self.batch.clear();
            for &neighbour in links.of(row) {
                self.see(neighbour);
            }
            self.batch.iter().for_each(|&neighbour| points.prefetch_scale(neighbour));
            seen += self.batch.len();
            if seen > visits {
                return false;
            }
            self.compare(kernel, points, query, &links, &admit);
        }
        true
    }

    /// Puts a row into the batch unless it was there before.
    #[inline]
    fn see(&mut self, row: u32) {
        let (word, bit) = (&mut self.seen[row as usize / 64], 1 << (row % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.batch.push(row);
        }
    }

    #[inline]
    fn compare<'g>(
        &mut self,
        kernel: Kernel,
        points: &Points,
        query: Point<'_>,
        links: &impl Links<'g>,
        admit: &impl Fn(u32) -> bool,
    ) {
        points.rough_scores(kernel, query, &self.batch, &mut self.scores);
        for (&row, &score) in self.batch.iter().zip(&self.scores.scores) {
            if self.pool.would_take(score) {
                links.prefetch(row);
                self.pool.offer(row, score, admit(row));
            }
        }
    }
}

const EXPANDED: u64 = 1;
const ADMITTED: u64 = 2;

/// The nearest rows so far, best first, in one sorted list: where to go next and what was found are
/// the same rows, and moving a few hundred bytes costs less than keeping two heaps.
///
/// Rows that are not admitted (dead, or refused by the filter) stand in the list as far as they are
/// better than the worst of the `width` admitted ones: the way to those leads over them.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Score, row and flags in one number, so that a comparison is one instruction.
    entries: Vec<u64>,
    width: usize,
    n_admitted: usize,
    /// No entry before this is unexpanded.
    cursor: usize,
    bar: f32,
}

/// A number that orders as the score does.
#[inline]
fn ordered(score: f32) -> u32 {
    let bits = score.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

#[inline]
fn score_of(entry: u64) -> f32 {
    let ordered = (entry >> 32) as u32;
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

#[inline]
fn row_of(entry: u64) -> u32 {
    entry as u32 >> 2
}

impl Pool {
    fn reset(&mut self, width: usize) {
        self.entries.clear();
        (self.width, self.n_admitted, self.cursor) = (width.max(1), 0, 0);
        self.bar = f32::NEG_INFINITY;
    }

    #[inline]
    fn would_take(&self, score: f32) -> bool {
        score > self.bar
    }

    #[inline]
    fn offer(&mut self, row: u32, score: f32, admitted: bool) {
        let entry =
            u64::from(ordered(score)) << 32 | u64::from(row << 2) | if admitted { ADMITTED } else { 0 };
        let at = self.entries.partition_point(|&other| other > entry);
        self.entries.insert(at, entry);
        self.cursor = self.cursor.min(at);
        self.n_admitted += usize::from(admitted);
        if self.n_admitted > self.width {
            // The list ends with an admitted one whenever it is full.
            self.entries.pop();
            self.n_admitted -= 1;
        }
        if self.n_admitted == self.width {
            while let Some(&last) = self.entries.last() {
                if last & ADMITTED != 0 {
                    self.bar = score_of(last);
                    break;
                }
                self.entries.pop();
            }
        }
    }

    /// The nearest row whose neighbours were not looked at.
    #[inline]
    fn next(&mut self) -> Option<u32> {
        let found = self.entries[self.cursor.min(self.entries.len())..]
            .iter()
            .position(|entry| entry & EXPANDED == 0)?;
        self.cursor += found;
        self.entries[self.cursor] |= EXPANDED;
        Some(row_of(self.entries[self.cursor]))
    }

    /// The admitted rows and their scores, best first.
    pub(super) fn found(&self) -> impl Iterator<Item = (u32, f32)> {
        let admitted = self.entries.iter().filter(|&&entry| entry & ADMITTED != 0);
        admitted.map(|&entry| (row_of(entry), score_of(entry)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_pool_holds_the_best_admitted_ones_and_all_that_are_better_than_their_worst(
            offers in prop::collection::vec((-1.0f32..1.0, any::<bool>()), 0..120),
            width in 1usize..20,
        ) {
            let mut pool = Pool::default();
            pool.reset(width);
            let mut expanded = Vec::new();
            for (row, &(score, admitted)) in offers.iter().enumerate() {
                if pool.would_take(score) {
                    pool.offer(row as u32, score, admitted);
                }
                if row % 3 == 0 {
                    expanded.extend(pool.next());
                }
            }
            while let Some(row) = pool.next() {
                expanded.push(row);
            }
            let mut sorted: Vec<(u32, f32)> =
                offers.iter().enumerate().filter(|(_, offer)| offer.1).map(|(row, offer)| (row as u32, offer.0)).collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
            sorted.truncate(width);
            let found: Vec<(u32, f32)> = pool.found().collect();
            prop_assert_eq!(found.iter().map(|hit| hit.1).collect::<Vec<_>>(), sorted.iter().map(|hit| hit.1).collect::<Vec<_>>());
            let bar = if sorted.len() == width { sorted[width - 1].1 } else { f32::NEG_INFINITY };
            for (row, &(score, _)) in offers.iter().enumerate() {
                if score > bar {
                    prop_assert!(expanded.contains(&(row as u32)), "a better row was not expanded");
                }
            }
            let n_expanded = expanded.len();
            expanded.sort_unstable();
            expanded.dedup();
            prop_assert_eq!(expanded.len(), n_expanded, "a row is expanded once");
        }
    }

    #[test]
    fn entries_give_back_what_they_were_made_of() {
        for score in [-1.0f32, -0.5, -0.0, 0.0, 1e-20, 0.7, 1.0] {
            let entry = u64::from(ordered(score)) << 32 | u64::from(5u32 << 2) | ADMITTED;
            assert_eq!((score_of(entry).to_bits(), row_of(entry)), (score.to_bits(), 5));
        }
    }
}
