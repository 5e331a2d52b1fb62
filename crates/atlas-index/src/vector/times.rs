//! Which rows lie in a range of time.

use std::collections::BTreeMap;

use atlas_domain::{Filter, Timestamp};
use roaring::{MultiOps, RoaringBitmap};

use super::bytes::{Unread, Written};
use super::snapshot::corrupt;
use crate::IndexError;

/// Rows per slice before it is cut in two.
const SLICE: u64 = 8 * 1024;

/// The time of each row, and the rows in slices of time of about equal number, so that a range
/// costs what its slices cost and not a look at every row.
#[derive(Debug)]
pub(super) struct TimeRows {
    times: Vec<Timestamp>,
    /// Rows by the time at which their slice begins; it ends where the next one begins. The first
    /// one begins before all time.
    slices: BTreeMap<Timestamp, RoaringBitmap>,
}

impl Default for TimeRows {
    fn default() -> Self {
        let slices = BTreeMap::from([(Timestamp::MIN, RoaringBitmap::new())]);
        Self { times: Vec::new(), slices }
    }
}

impl TimeRows {
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// Adds the next row.
    pub(super) fn push(&mut self, at: Timestamp) {
        let row = self.times.len() as u32;
        self.times.push(at);
        let (&begin, rows) =
            self.slices.range_mut(..=at).next_back().expect("the first begins before all time");
        rows.insert(row);
        // Doubling, so that a slice whose rows are all of one moment is looked at rarely.
        if rows.len() >= SLICE && rows.len().is_power_of_two() {
            self.cut(begin);
        }
    }

    /// Cuts a slice in the middle of its rows, unless they are all of one moment.
    fn cut(&mut self, begin: Timestamp) {
        let Some(rows) = self.slices.get_mut(&begin) else { return };
        let mut times: Vec<Timestamp> = rows.iter().map(|row| self.times[row as usize]).collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        let middle = if middle > times[0] { Some(middle) } else { times.into_iter().find(|&at| at > middle) };
        let Some(middle) = middle else { return };
        let is_later = |row: &u32| self.times[*row as usize] >= middle;
        let later = RoaringBitmap::from_sorted_iter(rows.iter().filter(is_later)).unwrap_or_default();
        *rows -= &later;
        self.slices.insert(middle, later);
    }

    /// Those of `rows`, or of all rows, that lie in the filter's time; what came in when no time
    /// is asked.
    pub(super) fn matching(&self, rows: Option<RoaringBitmap>, filter: &Filter) -> Option<RoaringBitmap> {
        let (since, until) = (filter.since, filter.until);
        if since.is_none() && until.is_none() {
            return rows;
        }
        let in_time = |row: &u32| {
            let at = self.times[*row as usize];
            since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until)
        };
        let only = |rows: &RoaringBitmap, wanted: bool| {
            // Ascending already, so the set is built without searching.
            RoaringBitmap::from_sorted_iter(rows.iter().filter(|row| in_time(row) == wanted))
                .unwrap_or_default()
        };
        if let Some(rows) = rows.as_ref().filter(|rows| rows.len() <= 2 * SLICE) {
            return Some(only(rows, true));
        }
        let (mut inside, mut across, mut outside) = (Vec::new(), Vec::new(), Vec::new());
        let ends = self.slices.keys().skip(1).map(Some).chain([None]);
        for ((&begin, slice), end) in self.slices.iter().zip(ends) {
            let misses_since = since.is_some_and(|since| end.is_some_and(|&end| end <= since));
            let misses_until = until.is_some_and(|until| begin >= until);
            let is_whole = since.is_none_or(|since| begin >= since)
                && until.is_none_or(|until| end.is_some_and(|&end| end <= until));
            if misses_since || misses_until {
                outside.push(slice);
            } else if is_whole {
                inside.push(slice);
            } else {
                across.push(slice);
            }
        }
        let total = |slices: &[&RoaringBitmap]| slices.iter().map(|slice| slice.len()).sum::<u64>();
        // The smaller side is put together; a range that leaves out little is what it leaves out.
        if total(&inside) <= total(&outside) {
            let across: Vec<_> = across.into_iter().map(|slice| only(slice, true)).collect();
            let within = inside.into_iter().chain(&across).union();
            Some(match rows {
                Some(rows) => rows & within,
                None => within,
            })
        } else {
            let across: Vec<_> = across.into_iter().map(|slice| only(slice, false)).collect();
            let beyond = outside.into_iter().chain(&across).union();
            let rows = rows.unwrap_or_else(|| {
                let mut all = RoaringBitmap::new();
                all.insert_range(0..self.len() as u32);
                all
            });
            Some(rows - beyond)
        }
    }

    pub(super) fn write_to(&self, written: &mut Written) {
        self.times.iter().for_each(|&at| written.moment(at));
        written.count(self.slices.len());
        for (&begin, rows) in &self.slices {
            written.moment(begin);
            written.rows(rows);
        }
    }

    /// Reads what [`Self::write_to`] wrote of `n_rows` rows.
    pub(super) fn read_from(n_rows: usize, unread: &mut Unread<'_>) -> Result<Self, IndexError> {
        let times = (0..n_rows).map(|_| unread.moment()).collect::<Result<_, _>>()?;
        let n_slices = unread.count(20)?;
        let slice = |_| Ok((unread.moment()?, unread.rows(n_rows)?));
        let slices = (0..n_slices).map(slice).collect::<Result<BTreeMap<_, _>, IndexError>>()?;
        if !slices.contains_key(&Timestamp::MIN) {
            return Err(corrupt("its slices of time have no first one"));
        }
        Ok(Self { times, slices })
    }

    /// Keeps some rows, numbered anew from 0 in their order.
    pub(super) fn keep(&mut self, kept: &RoaringBitmap) {
        let mut anew = Self::default();
        kept.iter().for_each(|row| anew.push(self.times[row as usize]));
        *self = anew;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("near the epoch")
    }

    fn filter(since: Option<i64>, until: Option<i64>) -> Filter {
        Filter { since: since.map(at), until: until.map(at), ..Filter::default() }
    }

    /// Rows in no order of time, with moments that many share.
    fn scattered(n_rows: u32, n_moments: u64) -> TimeRows {
        let mut rows = TimeRows::default();
        for row in 0..u64::from(n_rows) {
            rows.push(at((row.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as i64 % n_moments as i64));
        }
        rows
    }

    #[track_caller]
    fn check(rows: &TimeRows, among: Option<RoaringBitmap>, filter: &Filter) {
        let in_time = |row: &u32| {
            let time = rows.times[*row as usize];
            filter.since.is_none_or(|since| time >= since) && filter.until.is_none_or(|until| time < until)
        };
        let all = among.clone().unwrap_or_else(|| (0..rows.len() as u32).collect());
        let expected: RoaringBitmap = all.iter().filter(in_time).collect();
        let found = rows.matching(among, filter).unwrap_or(all);
        assert!(found == expected, "{filter:?}: {} rows instead of {}", found.len(), expected.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_range_finds_the_rows_that_a_look_at_each_finds(
            n_moments in prop::sample::select(vec![1u64, 2, 40, 5_000, 1_000_000]),
            since in prop::option::of(-10i64..1_000_010),
            until in prop::option::of(-10i64..1_000_010),
            every in prop::option::of(1usize..4),
        ) {
            let rows = scattered(60_000, n_moments);
            let among = every.map(|every| (0..60_000).step_by(every).collect());
            let scale = |second: i64| second * n_moments as i64 / 1_000_000;
            check(&rows, among, &filter(since.map(scale), until.map(scale)));
        }
    }

    #[test]
    fn many_moments_are_cut_into_slices_and_one_moment_is_not() {
        assert!(scattered(60_000, 1_000_000).slices.len() >= 8);
        assert_eq!(scattered(60_000, 1).slices.len(), 1);
        let two = scattered(60_000, 2);
        assert_eq!(two.slices.len(), 2);
        check(&two, None, &filter(Some(1), Some(2)));
    }

    #[test]
    fn kept_rows_are_found_under_their_new_numbers() {
        let mut rows = scattered(30_000, 1000);
        let before = rows.times.clone();
        let kept: RoaringBitmap = (0..30_000).step_by(3).collect();
        rows.keep(&kept);
        assert_eq!(rows.times, before.into_iter().step_by(3).collect::<Vec<_>>());
        check(&rows, None, &filter(Some(100), Some(300)));
    }
}
