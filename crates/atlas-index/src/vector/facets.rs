//! Which rows have which facet values.

use std::collections::HashMap;

use atlas_domain::{Facets, Filter, Timestamp};
use roaring::RoaringBitmap;

/// A bitmap per facet value and a time per row. Rows are added only; what is dead stays in the
/// bitmaps until [`FacetRows::renumber`], and is kept out by starting every filter from the live
/// rows.
#[derive(Debug, Default)]
pub(super) struct FacetRows {
    values: HashMap<String, RoaringBitmap>,
    times: Vec<Timestamp>,
}

/// Unit separator: no facet name holds it, so terms of different facets cannot collide.
fn term(facet: &str, value: &str) -> String {
    format!("{facet}\u{1f}{value}")
}

fn label(name: &str, value: &str) -> String {
    format!("label\u{1f}{name}\u{1f}{value}")
}

impl FacetRows {
    /// Adds the next row.
    pub(super) fn push(&mut self, facets: &Facets) {
        let row = self.times.len() as u32;
        self.times.push(facets.at);
        let fixed = [
            ("service", &facets.service),
            ("severity", &facets.severity),
            ("source", &facets.source),
            ("status", &facets.status),
            ("link", &facets.link),
        ];
        let fixed = fixed.into_iter().filter_map(|(facet, value)| Some(term(facet, value.as_deref()?)));
        for key in fixed.chain(facets.labels.iter().map(|(name, value)| label(name, value))) {
            self.values.entry(key).or_default().insert(row);
        }
    }

    /// The rows among `live` that match: what [`Filter::matches`] says, by sets.
    pub(super) fn matching(&self, live: &RoaringBitmap, filter: &Filter) -> RoaringBitmap {
        let mut rows = live.clone();
        let fixed = [
            ("service", &filter.service),
            ("severity", &filter.severity),
            ("source", &filter.source),
            ("status", &filter.status),
            ("link", &filter.link),
        ];
        for (facet, wanted) in fixed.into_iter().filter(|(_, wanted)| !wanted.is_empty()) {
            let mut any = RoaringBitmap::new();
            for bitmap in wanted.iter().filter_map(|value| self.values.get(&term(facet, value))) {
                any |= bitmap;
            }
            rows &= any;
        }
        for (name, value) in &filter.labels {
            match self.values.get(&label(name, value)) {
                Some(bitmap) => rows &= bitmap,
                None => rows.clear(),
            }
        }
        if filter.since.is_none() && filter.until.is_none() {
            return rows;
        }
        let in_time = |row: &u32| {
            let at = self.times[*row as usize];
            filter.since.is_none_or(|since| at >= since) && filter.until.is_none_or(|until| at < until)
        };
        // Ascending already, so the set is built without searching.
        RoaringBitmap::from_sorted_iter(rows.iter().filter(in_time)).unwrap_or_default()
    }

    /// Keeps the rows of `live`, numbered anew from 0 in their order.
    pub(super) fn renumber(&mut self, live: &RoaringBitmap) {
        self.values.retain(|_, bitmap| {
            *bitmap &= live;
            let renumbered = bitmap.iter().map(|row| (live.rank(row) - 1) as u32);
            *bitmap = RoaringBitmap::from_sorted_iter(renumbered).unwrap_or_default();
            !bitmap.is_empty()
        });
        self.times = live.iter().map(|row| self.times[row as usize]).collect();
    }
}
