//! The rows themselves: codes to scan, floats to rescore, and whose they are.

use std::collections::HashMap;

use atlas_domain::{Facets, Filter, RecordId};
use atlas_kernels::{CodeMatrix, Codes, Kernel, dot_f32, quantize};
use roaring::RoaringBitmap;

use super::VectorHit;
use super::facets::FacetRows;
use super::select::Best;
use crate::IndexError;

/// Dead rows below this number are not worth a compaction, whatever their share.
const FEW_DEAD: u64 = 64;

#[derive(Debug)]
pub(super) struct Rows {
    dimension: usize,
    codes: CodeMatrix,
    scales: Vec<f32>,
    floats: Vec<f32>,
    chunks: Vec<u64>,
    /// The record of each row, as a place in `records`.
    owners: Vec<u32>,
    facets: FacetRows,
    live: RoaringBitmap,
    row_of_chunk: HashMap<u64, u32>,
    records: Vec<Option<Owner>>,
    record_of_id: HashMap<RecordId, u32>,
    /// Places in `records` that can be used again.
    vacant: Vec<u32>,
}

#[derive(Debug)]
struct Owner {
    id: RecordId,
    rows: Vec<u32>,
}

impl Rows {
    pub(super) fn new(dimension: usize) -> Self {
        Self {
            dimension,
            codes: CodeMatrix::new(dimension),
            scales: Vec::new(),
            floats: Vec::new(),
            chunks: Vec::new(),
            owners: Vec::new(),
            facets: FacetRows::default(),
            live: RoaringBitmap::new(),
            row_of_chunk: HashMap::new(),
            records: Vec::new(),
            record_of_id: HashMap::new(),
            vacant: Vec::new(),
        }
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Rows with the dead ones.
    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }

    pub(super) fn live(&self) -> &RoaringBitmap {
        &self.live
    }

    pub(super) fn matching(&self, filter: &Filter) -> RoaringBitmap {
        self.facets.matching(&self.live, filter)
    }

    /// The codes of a row without padding, and their scale.
    pub(super) fn code(&self, row: u32) -> (&[i8], f32) {
        (&self.codes.row(row as usize)[..self.dimension], self.scales[row as usize])
    }

    pub(super) fn put(
        &mut self,
        chunk: u64,
        id: &RecordId,
        facets: &Facets,
        unit: &[f32],
    ) -> Result<(), IndexError> {
        let row = u32::try_from(self.len()).map_err(|_| IndexError::Full)?;
        if let Some(old) = self.row_of_chunk.insert(chunk, row) {
            self.bury(old);
        }
        let Codes { codes, scale } = quantize(unit);
        self.codes.push(&codes);
        self.scales.push(scale);
        self.floats.extend_from_slice(unit);
        self.chunks.push(chunk);
        self.facets.push(facets);
        self.live.insert(row);
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
        self.live.remove(row);
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
                self.live.remove(row);
                self.row_of_chunk.remove(&self.chunks[row as usize]);
            }
        }
        self.vacant.push(owner);
        true
    }

    /// Drops dead rows when they are a fifth of all. Returns whether row numbers changed.
    pub(super) fn compact_if_worthwhile(&mut self) -> bool {
        let dead = self.len() as u64 - self.live.len();
        if dead < FEW_DEAD || dead * 5 < self.len() as u64 {
            return false;
        }
        for (to, from) in self.live.iter().map(|row| row as usize).enumerate() {
            self.codes.copy_row(from, to);
            self.floats.copy_within(from * self.dimension..(from + 1) * self.dimension, to * self.dimension);
            self.scales[to] = self.scales[from];
            self.chunks[to] = self.chunks[from];
            self.owners[to] = self.owners[from];
        }
        let kept = self.live.len() as usize;
        self.codes.truncate(kept);
        self.floats.truncate(kept * self.dimension);
        self.floats.shrink_to_fit();
        self.scales.truncate(kept);
        self.chunks.truncate(kept);
        self.owners.truncate(kept);
        self.facets.renumber(&self.live);
        self.row_of_chunk = self.chunks.iter().zip(0..).map(|(&chunk, row)| (chunk, row)).collect();
        self.records.iter_mut().flatten().for_each(|record| record.rows.clear());
        for (&owner, row) in self.owners.iter().zip(0..) {
            if let Some(record) = &mut self.records[owner as usize] {
                record.rows.push(row);
            }
        }
        self.live = (0..kept as u32).collect();
        true
    }

    /// Scores rows by their codes.
    pub(super) fn scan(&self, query: &Codes, rows: impl Iterator<Item = u32>, best: &mut Best) {
        self.codes.scan(Kernel::detect(), &query.codes, rows, |row, dot| {
            best.push(row, dot as f32 * (query.scale * self.scales[row as usize]));
        });
    }

    /// Exact cosines of candidates, the best chunk of each record, the `depth` best records.
    pub(super) fn rescore(
        &self,
        query: &[f32],
        rows: impl Iterator<Item = u32>,
        depth: usize,
    ) -> Vec<VectorHit> {
        let mut best: HashMap<u32, (f32, u64)> = HashMap::new();
        for row in rows.filter(|&row| self.live.contains(row)).map(|row| row as usize) {
            let score = dot_f32(query, &self.floats[row * self.dimension..(row + 1) * self.dimension]);
            let chunk = self.chunks[row];
            let known = best.entry(self.owners[row]).or_insert((score, chunk));
            if score > known.0 || (score == known.0 && chunk < known.1) {
                *known = (score, chunk);
            }
        }
        let named = |(owner, (score, chunk)): (u32, (f32, u64))| {
            self.records[owner as usize].as_ref().map(|record| (score, &record.id, chunk))
        };
        let mut ranking: Vec<(f32, &RecordId, u64)> = best.into_iter().filter_map(named).collect();
        ranking.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let hit = |(score, id, chunk): (f32, &RecordId, u64)| VectorHit { chunk, id: id.clone(), score };
        ranking.into_iter().take(depth).map(hit).collect()
    }
}
