//! The vector leg: chunks by the cosine of their vectors.
//!
//! Up to some 64,000 rows an exact scan of int8 codes with float rescoring beats every graph that
//! was measured, at a recall of 1 and without a build; above, the graph of `hnsw_rs` finds the
//! candidates and the same code rescores them. Small result sets of a filter are always scanned:
//! a graph walk that admits one row in a hundred costs a thousand times a scan of that one.
//!
//! Everything is in memory. The dump of `hnsw_rs` is not used: its loader ends the process on a
//! short file.

mod facets;
mod graph;
mod rows;
mod select;

#[cfg(test)]
mod tests;

use atlas_domain::{Facets, Filter, RecordId, SpaceId};
use roaring::RoaringBitmap;

use crate::IndexError;
use graph::Graph;
use rows::Rows;
use select::Best;

/// Live rows up to which the scan is cheaper than the graph.
const SCAN_UP_TO: u64 = 64 * 1024;

/// Rows that one put adds to a graph that lags behind. More than one, so that a graph begun late
/// or after a compaction catches up; few, so that no put takes long.
const GRAPH_ROWS_PER_PUT: usize = 4;

/// A vector and the space it is of. An index refuses any other space, because cosines across
/// spaces are numbers without meaning.
#[derive(Debug, Clone, Copy)]
pub struct SpaceVector<'a> {
    /// Which space.
    pub space: &'a SpaceId,
    /// The components; of any length above zero, cosine ignores it.
    pub components: &'a [f32],
}

/// A record that the vector leg found.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorHit {
    /// The record's best chunk.
    pub chunk: u64,
    /// Which record.
    pub id: RecordId,
    /// Cosine.
    pub score: f32,
}

/// Which structure finds candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VectorKind {
    /// The scan, and the graph as well where there are more rows than a scan should read.
    #[default]
    Auto,
    /// The scan, whatever the number of rows.
    Flat,
    /// The graph of `hnsw_rs` from the first row. Filters with few matches are still scanned.
    HnswRs,
}

/// A vector leg. The caller owns the locking: one writer or many readers.
///
/// An implementation returns at most one hit per record (its best chunk), best first, ties by id;
/// applies the filter before or inside the search, so that k matching records give k hits; and
/// never returns what was removed.
pub trait VectorLeg: Send + Sync {
    /// Adds a chunk, or replaces the one of this number. A record that changes is removed first.
    fn put(
        &mut self,
        chunk: u64,
        id: &RecordId,
        facets: &Facets,
        vector: SpaceVector<'_>,
    ) -> Result<(), IndexError>;

    /// Removes every chunk of a record; `false` when there was none.
    fn remove(&mut self, id: &RecordId) -> bool;

    /// The `depth` best records that match.
    fn search(
        &self,
        query: SpaceVector<'_>,
        filter: &Filter,
        depth: usize,
    ) -> Result<Vec<VectorHit>, IndexError>;

    /// Number of chunks.
    fn len(&self) -> usize;

    /// Whether there are no chunks.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Components per vector.
    fn dimension(&self) -> usize;
}

/// The vector leg in memory.
pub struct VectorIndex {
    space: SpaceId,
    kind: VectorKind,
    rows: Rows,
    graph: Option<Graph>,
}

impl std::fmt::Debug for VectorIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("VectorIndex");
        out.field("space", &self.space)
            .field("kind", &self.kind)
            .field("chunks", &self.len())
            .finish_non_exhaustive()
    }
}

impl VectorIndex {
    /// An empty index for the vectors of one space.
    pub fn new(space: SpaceId, dimension: usize, kind: VectorKind) -> Self {
        Self { space, kind, rows: Rows::new(dimension), graph: None }
    }

    /// The space of its vectors.
    pub fn space(&self) -> &SpaceId {
        &self.space
    }

    /// The vector with length 1, or why it is not one of ours. The zero vector has no direction
    /// and stays as it is: its cosine with everything is 0.
    fn unit(&self, vector: SpaceVector<'_>) -> Result<Vec<f32>, IndexError> {
        if *vector.space != self.space {
            return Err(IndexError::Space { expected: self.space.clone(), found: vector.space.clone() });
        }
        let components = vector.components;
        if components.len() != self.dimension() {
            return Err(IndexError::Dimension { expected: self.dimension(), found: components.len() });
        }
        if components.iter().any(|x| !x.is_finite()) {
            return Err(IndexError::NotFinite);
        }
        // In double precision, because the square of a large component overflows a float.
        let length = components.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
        Ok(components.iter().map(|&x| (f64::from(x) * factor) as f32).collect())
    }

    fn wants_graph(&self) -> bool {
        match self.kind {
            VectorKind::Auto => self.rows.live().len() > SCAN_UP_TO,
            VectorKind::Flat => false,
            VectorKind::HnswRs => true,
        }
    }

    fn advance_graph(&mut self) {
        if self.graph.is_none() && self.wants_graph() {
            self.graph = Some(Graph::new());
        }
        if let Some(graph) = &mut self.graph {
            graph.advance(&self.rows, GRAPH_ROWS_PER_PUT);
        }
    }

    /// Candidates of the graph and of the rows it has not reached, if it may be used here.
    fn by_graph(&self, query: &[f32], allowed: &RoaringBitmap, depth: usize) -> Option<Vec<VectorHit>> {
        let graph = self.graph.as_ref()?;
        let (covered, all) = (graph.covered(), self.rows.len() as u32);
        // Below the threshold the scan is cheaper whatever the graph; and a graph that has just
        // begun saves nothing.
        let few = if self.kind == VectorKind::HnswRs {
            (all / 10).min(SCAN_UP_TO as u32)
        } else {
            SCAN_UP_TO as u32
        };
        if allowed.len() <= u64::from(few) || covered < all / 2 {
            return None;
        }
        let mut best = Best::new(select::candidates_for(depth));
        let query_codes = atlas_kernels::quantize(query);
        graph
            .search(&query_codes, select::candidates_for(depth), allowed, |row, score| best.push(row, score));
        self.rows.scan(&query_codes, allowed.range(covered..all), &mut best);
        let hits = self.rows.rescore(query, best.into_rows(), depth);
        (hits.len() == depth).then_some(hits)
    }

    /// Exact up to rescoring: widens the candidates until there are `depth` records or no row is
    /// left out, since many chunks of one record may crowd out the others.
    fn by_scan(&self, query: &[f32], allowed: &RoaringBitmap, depth: usize) -> Vec<VectorHit> {
        let query_codes = atlas_kernels::quantize(query);
        let mut wanted = select::candidates_for(depth);
        loop {
            let mut best = Best::new(wanted);
            if allowed.len() == self.rows.len() as u64 {
                self.rows.scan(&query_codes, 0..self.rows.len() as u32, &mut best);
            } else {
                self.rows.scan(&query_codes, allowed.iter(), &mut best);
            }
            let hits = self.rows.rescore(query, best.into_rows(), depth);
            if hits.len() == depth || wanted as u64 >= allowed.len() {
                return hits;
            }
            wanted = wanted.saturating_mul(4);
        }
    }
}

impl VectorLeg for VectorIndex {
    fn put(
        &mut self,
        chunk: u64,
        id: &RecordId,
        facets: &Facets,
        vector: SpaceVector<'_>,
    ) -> Result<(), IndexError> {
        let unit = self.unit(vector)?;
        if self.rows.compact_if_worthwhile() {
            // Row numbers have changed.
            self.graph = None;
        }
        self.rows.put(chunk, id, facets, &unit)?;
        self.advance_graph();
        Ok(())
    }

    fn remove(&mut self, id: &RecordId) -> bool {
        let removed = self.rows.remove(id);
        if self.rows.compact_if_worthwhile() {
            self.graph = None;
        }
        removed
    }

    fn search(
        &self,
        query: SpaceVector<'_>,
        filter: &Filter,
        depth: usize,
    ) -> Result<Vec<VectorHit>, IndexError> {
        let unit = self.unit(query)?;
        if depth == 0 {
            return Ok(Vec::new());
        }
        let allowed = self.rows.matching(filter);
        Ok(self.by_graph(&unit, &allowed, depth).unwrap_or_else(|| self.by_scan(&unit, &allowed, depth)))
    }

    fn len(&self) -> usize {
        usize::try_from(self.rows.live().len()).unwrap_or(usize::MAX)
    }

    fn dimension(&self) -> usize {
        self.rows.dimension()
    }
}
