//! Keeping the best of many scores.

/// Rows that are compared by floats for `depth` answers. In a prototype int8 codes alone found
/// 0.99 of the true ten, and all of them were among the first 30.
pub(super) fn candidates_for(depth: usize) -> usize {
    depth.saturating_mul(2).saturating_add(20)
}

/// Rows that a comparison by halves lets through to one by whole codes where `wanted` are to come out.
pub(super) fn rough_for(wanted: usize) -> usize {
    wanted.saturating_mul(4)
}

/// Width of a walk among `n_rows` where `wanted` are to come out. With 128 the recall at ten is 0.992
/// at 66,000 real vectors (`cargo bench -p atlas-benches --bench vectors`); a larger graph needs a
/// wider walk for the same, by about a fifth for twice the rows.
pub(super) fn width_for(wanted: usize, n_rows: u32) -> usize {
    const MEASURED_AT: f64 = 66_000.0;
    let growth = (f64::from(n_rows) / MEASURED_AT).powf(0.25).max(1.0);
    let width = 128.0 * growth;
    (width as usize).max(wanted)
}

/// The rows with the highest scores. Most pushes are one comparison: rows are collected up to
/// twice the number wanted, then the worse half is cut and its best score becomes the bar.
#[derive(Debug)]
pub(super) struct Best {
    wanted: usize,
    bar: f32,
    rows: Vec<(f32, u32)>,
}

impl Best {
    pub(super) fn new(wanted: usize) -> Self {
        Self { wanted: wanted.max(1), bar: f32::NEG_INFINITY, rows: Vec::new() }
    }

    #[inline]
    pub(super) fn push(&mut self, row: u32, score: f32) {
        if score >= self.bar {
            self.rows.push((score, row));
            if self.rows.len() >= self.wanted.saturating_mul(2) {
                self.cut();
            }
        }
    }

    #[cold]
    fn cut(&mut self) {
        if self.rows.len() > self.wanted {
            self.rows.select_nth_unstable_by(self.wanted - 1, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            self.rows.truncate(self.wanted);
            self.bar = self.rows[self.wanted - 1].0;
        }
    }

    /// The scores and rows, in no order.
    pub(super) fn into_scored(mut self) -> Vec<(f32, u32)> {
        self.cut();
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_are_those_of_a_full_sort(scores in prop::collection::vec(0i16..50, 0..200), wanted in 1usize..40) {
            let mut best = Best::new(wanted);
            let mut sorted: Vec<(i16, u32)> = scores.iter().enumerate().map(|(row, &score)| (-score, row as u32)).collect();
            scores.iter().enumerate().for_each(|(row, &score)| best.push(row as u32, f32::from(score)));
            sorted.sort_unstable();
            let mut found: Vec<u32> = best.into_scored().into_iter().map(|(_, row)| row).collect();
            let mut expect: Vec<u32> = sorted.into_iter().take(wanted).map(|(_, row)| row).collect();
            found.sort_unstable();
            expect.sort_unstable();
            prop_assert_eq!(found, expect);
        }
    }
}
