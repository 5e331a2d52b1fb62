//! The rows themselves: codes to scan, floats to rescore, and whose they are.

use std::collections::HashMap;

use atlas_domain::{Facets, Filter, RecordId};
use atlas_kernels::dot_f32;
use roaring::RoaringBitmap;

use super::VectorHit;
use super::bytes::{Unread, Written};
use super::facets::FacetRows;
use super::floats::{Filed, Floats, Room};
use super::points::Points;
use super::snapshot::corrupt;
use crate::IndexError;

#[derive(Debug)]
pub(super) struct Rows {
    points: Points,
    floats: Floats,
    chunks: Vec<u64>,
    /// The record of each row, as a place in `records`.
    owners: Vec<u32>,
    facets: FacetRows,
    /// Rows that were removed or replaced; few, because a fifth is the most.
    dead: RoaringBitmap,
    row_of_chunk: HashMap<u64, u32>,
    records: Vec<Option<Owner>>,
    record_of_id: HashMap<RecordId, u32>,
    /// Places in `records` that can be used again.
    vacant: Vec<u32>,
}

/// The live rows that match a filter.
#[derive(Debug)]
pub(super) enum Matching {
    /// All of them.
    Live,
    /// These.
    Some(RoaringBitmap),
}

/// The columns that are wide, and are therefore copied beside a running index.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub(super) points: Points,
    pub(super) floats: Floats,
}

impl Columns {
    /// Some rows, in the order given.
    pub(super) fn kept(&self, rows: impl Iterator<Item = u32> + Clone) -> Result<Self, IndexError> {
        Ok(Self { floats: self.floats.kept(rows.clone())?, points: self.points.kept(rows) })
    }

    /// Adds rows of other columns.
    pub(super) fn append(&mut self, other: &Self, rows: std::ops::Range<u32>) -> Result<(), IndexError> {
        self.floats.append(&other.floats, rows.clone())?;
        rows.for_each(|row| self.points.push_from(&other.points, row));
        Ok(())
    }
}

#[derive(Debug)]
struct Owner {
    id: RecordId,
    rows: Vec<u32>,
}

impl Rows {
    pub(super) fn new(dimension: usize) -> Self {
        Self {
            points: Points::new(dimension),
            floats: Floats::new(dimension),
            chunks: Vec::new(),
            owners: Vec::new(),
            facets: FacetRows::default(),
            dead: RoaringBitmap::new(),
            row_of_chunk: HashMap::new(),
            records: Vec::new(),
            record_of_id: HashMap::new(),
            vacant: Vec::new(),
        }
    }

    pub(super) fn dimension(&self) -> usize {
        self.points.dimension()
    }

    /// Rows with the dead ones.
    pub(super) fn len(&self) -> u32 {
        // `put` refuses a row whose number does not fit.
        self.chunks.len() as u32
    }

    pub(super) fn n_live(&self) -> u64 {
        self.chunks.len() as u64 - self.dead.len()
    }

    pub(super) fn dead(&self) -> &RoaringBitmap {
        &self.dead
    }

    pub(super) fn live(&self) -> RoaringBitmap {
        let mut live = RoaringBitmap::new();
        live.insert_range(0..self.len());
        live - &self.dead
    }

    pub(super) fn points(&self) -> &Points {
        &self.points
    }

    pub(super) fn columns(&self) -> Columns {
        Columns { points: self.points.clone(), floats: self.floats.clone() }
    }

    pub(super) fn matching(&self, filter: &Filter) -> Matching {
        match self.facets.matching(filter) {
            None => Matching::Live,
            Some(rows) => Matching::Some(rows - &self.dead),
        }
    }

    /// The live rows of a range as ranges without gaps, so that a scan of everything asks about no
    /// row by itself.
    pub(super) fn live_within(&self, range: std::ops::Range<u32>) -> impl Iterator<Item = u32> {
        let mut begin = range.start;
        let dead = self.dead.range(range.clone()).map(Some).chain([None]);
        dead.flat_map(move |dead| {
            let run = begin..dead.unwrap_or(range.end);
            begin = run.end.saturating_add(1);
            run
        })
    }

    pub(super) fn put(
        &mut self,
        chunk: u64,
        id: &RecordId,
        facets: &Facets,
        unit: &[f32],
    ) -> Result<(), IndexError> {
        let row = u32::try_from(self.chunks.len()).map_err(|_| IndexError::Full)?;
        if let Some(old) = self.row_of_chunk.insert(chunk, row) {
            self.bury(old);
        }
        self.points.push(unit);
        self.floats.push(unit);
        self.chunks.push(chunk);
        self.facets.push(facets);
        let owner = self.owner_of(id);
        self.owners.push(owner);
        if let Some(record) = &mut self.records[owner as usize] {
            record.rows.push(row);
        }
        Ok(())
    }

    fn owner_of(&mut self, id: &RecordId) -> u32 {
        if let Some(&owner) = self.record_of_id.get(id) {
            return owner;
        }
        let record = Some(Owner { id: id.clone(), rows: Vec::new() });
        let owner = match self.vacant.pop() {
            Some(place) => {
                self.records[place as usize] = record;
                place
            }
            None => {
                self.records.push(record);
                // There are no more records than rows, whose number fits.
                (self.records.len() - 1) as u32
            }
        };
        self.record_of_id.insert(id.clone(), owner);
        owner
    }

    /// Takes one live row out, and its record when that was its last.
    fn bury(&mut self, row: u32) {
        self.dead.insert(row);
        let owner = self.owners[row as usize];
        let place = &mut self.records[owner as usize];
        if let Some(record) = place {
            record.rows.retain(|&other| other != row);
            if record.rows.is_empty() {
                self.record_of_id.remove(&record.id);
                *place = None;
                self.vacant.push(owner);
            }
        }
    }

    pub(super) fn remove(&mut self, id: &RecordId) -> bool {
        let Some(owner) = self.record_of_id.remove(id) else { return false };
        if let Some(record) = self.records[owner as usize].take() {
            for row in record.rows {
                self.dead.insert(row);
                self.row_of_chunk.remove(&self.chunks[row as usize]);
            }
        }
        self.vacant.push(owner);
        true
    }

    /// Keeps some rows, numbered anew from 0 in their order. Those that are left out are dead;
    /// `columns` holds the wide columns of those that are kept.
    pub(super) fn keep(&mut self, kept: &RoaringBitmap, columns: Columns) {
        Columns { points: self.points, floats: self.floats } = columns;
        self.owners = kept.iter().map(|row| self.owners[row as usize]).collect();
        self.chunks = kept.iter().map(|row| self.chunks[row as usize]).collect();
        self.facets.keep(kept);
        let renumbered = kept.iter().zip(0..).filter(|(row, _)| self.dead.contains(*row));
        self.dead = renumbered.map(|(_, number)| number).collect();
        self.row_of_chunk.clear();
        self.records.iter_mut().flatten().for_each(|record| record.rows.clear());
        for row in (0..self.len()).filter(|&row| !self.dead.contains(row)) {
            self.row_of_chunk.insert(self.chunks[row as usize], row);
            if let Some(record) = &mut self.records[self.owners[row as usize] as usize] {
                record.rows.push(row);
            }
        }
    }

    /// Exact cosines of candidates, the best chunk of each record, the `depth` best records.
    pub(super) fn rescore(
        &self,
        query: &[f32],
        candidates: Vec<(f32, u32)>,
        depth: usize,
    ) -> Result<Vec<VectorHit>, IndexError> {
        candidates.iter().take(4).for_each(|&(_, row)| self.floats.prefetch(row));
        let mut room = Room::default();
        let mut scored: Vec<(u32, f32, u64)> = Vec::with_capacity(candidates.len());
        for (at, &(_, row)) in candidates.iter().enumerate() {
            if let Some(&(_, later)) = candidates.get(at + 4) {
                self.floats.prefetch(later);
            }
            let score = dot_f32(query, self.floats.row(row, &mut room)?);
            scored.push((self.owners[row as usize], score, self.chunks[row as usize]));
        }
        scored.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
        scored.dedup_by_key(|(owner, ..)| *owner);
        let named = |(owner, score, chunk): (u32, f32, u64)| {
            self.records[owner as usize].as_ref().map(|record| (score, &record.id, chunk))
        };
        let mut ranking: Vec<(f32, &RecordId, u64)> = scored.into_iter().filter_map(named).collect();
        ranking.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let hit = |(score, id, chunk): (f32, &RecordId, u64)| VectorHit { chunk, id: id.clone(), score };
        Ok(ranking.into_iter().take(depth).map(hit).collect())
    }

    /// Writes the narrow columns.
    pub(super) fn write_narrow(&self, written: &mut Written) {
        self.chunks.iter().for_each(|&chunk| written.u64(chunk));
        self.owners.iter().for_each(|&owner| written.u32(owner));
        written.rows(&self.dead);
        written.count(self.records.len());
        for record in &self.records {
            written.text(record.as_ref().map_or("", |record| record.id.as_str()));
        }
        self.facets.write_to(written);
    }

    /// Reads what [`Self::write_narrow`] wrote of `n_rows` rows. The wide columns are given by
    /// [`Self::take`].
    pub(super) fn read_narrow(
        dimension: usize,
        n_rows: usize,
        mut unread: Unread<'_>,
    ) -> Result<Self, IndexError> {
        let mut rows = Self::new(dimension);
        rows.chunks = unread.u64s(n_rows)?;
        rows.owners = unread.u32s(n_rows)?;
        rows.dead = unread.rows(n_rows)?;
        let n_records = unread.count(8)?;
        rows.records.reserve_exact(n_records);
        rows.record_of_id.reserve(n_records);
        for owner in 0..n_records as u32 {
            let id = unread.text()?;
            if id.is_empty() {
                rows.vacant.push(owner);
                rows.records.push(None);
                continue;
            }
            let id = RecordId::new(id).map_err(|_| corrupt("a record has a name that is none"))?;
            rows.record_of_id.insert(id.clone(), owner);
            rows.records.push(Some(Owner { id, rows: Vec::new() }));
        }
        rows.facets = FacetRows::read_from(n_rows, &mut unread)?;
        rows.row_of_chunk.reserve(n_rows);
        for row in (0..n_rows as u32).filter(|&row| !rows.dead.contains(row)) {
            rows.row_of_chunk.insert(rows.chunks[row as usize], row);
            let owner = rows.records.get_mut(rows.owners[row as usize] as usize);
            let owner = owner.and_then(Option::as_mut).ok_or_else(|| corrupt("a row is of no record"))?;
            owner.rows.push(row);
        }
        Ok(rows)
    }

    /// Takes the wide columns of as many rows as there are.
    pub(super) fn take(&mut self, columns: Columns) {
        Columns { points: self.points, floats: self.floats } = columns;
    }

    pub(super) fn are_in_file(&self) -> bool {
        self.floats.is_in_file()
    }

    pub(super) fn rest_on(&mut self, filed: Filed) {
        self.floats.rest_on(filed);
    }
}
