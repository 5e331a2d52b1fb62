//! Which rows have which facet values.

use std::collections::HashMap;

use atlas_domain::{Facets, Filter};
use roaring::{MultiOps, RoaringBitmap};

use super::bytes::{Unread, Written};
use super::times::TimeRows;
use crate::IndexError;

/// A bitmap per facet value, and the rows by time. Rows are added only; what is dead stays in the
/// bitmaps until [`FacetRows::keep`], and is taken out of what a filter finds.
#[derive(Debug, Default)]
pub(super) struct FacetRows {
    values: HashMap<String, RoaringBitmap>,
    times: TimeRows,
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

    /// The rows that match, dead ones too: what [`Filter::matches`] says, by sets. `None` when
    /// nothing is asked.
    pub(super) fn matching(&self, filter: &Filter) -> Option<RoaringBitmap> {
        let fixed = [
            ("service", &filter.service),
            ("severity", &filter.severity),
            ("source", &filter.source),
            ("status", &filter.status),
            ("link", &filter.link),
        ];
        let one_of = |(facet, wanted): (&str, &Vec<String>)| match wanted.as_slice() {
            [] => None,
            [value] => Some(self.having(&term(facet, value))),
            values => Some(values.iter().filter_map(|value| self.values.get(&term(facet, value))).union()),
        };
        let labels = filter.labels.iter().map(|(name, value)| self.having(&label(name, value)));
        let every: Vec<RoaringBitmap> = fixed.into_iter().filter_map(one_of).chain(labels).collect();
        let rows = (!every.is_empty()).then(|| every.intersection());
        self.times.matching(rows, filter)
    }

    fn having(&self, key: &str) -> RoaringBitmap {
        self.values.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn write_to(&self, written: &mut Written) {
        written.count(self.values.len());
        for (value, rows) in &self.values {
            written.text(value);
            written.rows(rows);
        }
        self.times.write_to(written);
    }

    /// Reads what [`Self::write_to`] wrote of `n_rows` rows.
    pub(super) fn read_from(n_rows: usize, unread: &mut Unread<'_>) -> Result<Self, IndexError> {
        let n_values = unread.count(16)?;
        let value = |_| Ok((unread.text()?.to_owned(), unread.rows(n_rows)?));
        let values = (0..n_values).map(value).collect::<Result<_, IndexError>>()?;
        Ok(Self { values, times: TimeRows::read_from(n_rows, unread)? })
    }

    /// Keeps some rows, numbered anew from 0 in their order.
    pub(super) fn keep(&mut self, kept: &RoaringBitmap) {
        const GONE: u32 = u32::MAX;
        let mut numbers = vec![GONE; self.times.len()];
        kept.iter().zip(0..).for_each(|(row, number)| numbers[row as usize] = number);
        self.values.retain(|_, rows| {
            let renumbered = rows.iter().map(|row| numbers[row as usize]).filter(|&number| number != GONE);
            *rows = RoaringBitmap::from_sorted_iter(renumbered).unwrap_or_default();
            !rows.is_empty()
        });
        self.times.keep(kept);
    }
}
