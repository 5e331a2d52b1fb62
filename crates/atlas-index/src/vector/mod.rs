//! The vector leg: chunks by the cosine of their vectors.
//!
//! Up to some 64,000 rows an exact scan of int8 codes with float rescoring beats every graph that
//! was measured, at a recall of 1 and without a build; above, a graph of our own finds the
//! candidates and the same code rescores them. Small result sets of a filter are always scanned:
//! a graph walk that admits one row in a hundred costs a thousand times a scan of that one.
//!
//! Codes and graph are in memory; the vectors themselves too, until the index is written to a file
//! ([`VectorIndex::snapshot`]) and they are read from there. Graphs are built beside the index ([`VectorIndex::next_build`]), and
//! what a graph does not cover yet is scanned.

mod build;
mod bytes;
mod facets;
mod floats;
mod graph;
mod hnsw;
mod peer;
mod points;
mod rows;
mod select;
mod snapshot;
mod times;
mod walk;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atlas_domain::{Facets, Filter, RecordId, SpaceId};
use atlas_kernels::rows_of;

pub use build::{VectorBuild, VectorBuilt};
pub use snapshot::{VectorLoaded, VectorSaved, VectorSnapshot};

use crate::IndexError;
use graph::{Ask, Graph};
use points::Query;
use rows::{Matching, Rows};
use select::Best;

/// Live rows up to which the scan is cheaper than the graph.
const SCAN_UP_TO: u64 = 64 * 1024;

/// Rows that a walk looks at where every row is admitted. Where one row in n is, it looks at n times
/// as many, and a scan of those that match may be cheaper.
const WALK: u64 = 1500;

/// A number that no index of this process has had: what was built for other rows fits none.
fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

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
    /// Our graph from the first row. Filters with few matches are still scanned.
    Hnsw,
    /// The graph of `hnsw_rs` from the first row, to compare with.
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
    graph: Option<Arc<dyn Graph>>,
    /// Changes when rows are numbered anew; what was built for the old numbers is then worthless.
    generation: u64,
    /// Rows added or removed since the index was saved or loaded.
    changes: u64,
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
        Self {
            space,
            kind,
            rows: Rows::new(dimension),
            graph: None,
            generation: next_generation(),
            changes: 0,
        }
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

    /// Candidates of the graph and of the rows it has not reached, if it may be used here.
    fn by_graph(&self, question: &Question<'_>) -> Result<Option<Vec<VectorHit>>, IndexError> {
        let Some(graph) = &self.graph else { return Ok(None) };
        let (covered, all) = (graph.covered(), self.rows.len());
        // Below the threshold the scan is cheaper whatever the graph; and a graph that has just
        // begun saves nothing.
        let few = match self.kind {
            VectorKind::Auto | VectorKind::Flat => SCAN_UP_TO,
            VectorKind::Hnsw | VectorKind::HnswRs => u64::from(all / 10).min(SCAN_UP_TO),
        };
        let n_matching = question.n_matching;
        let is_worth_it = n_matching > few && n_matching.saturating_mul(n_matching) > WALK * u64::from(all);
        if !is_worth_it || covered < all / 2 {
            return Ok(None);
        }
        let dead = self.rows.dead();
        let is_live = |row| !dead.contains(row);
        let is_match = |row| match &question.matching {
            Matching::Live => is_live(row),
            Matching::Some(rows) => rows.contains(row),
        };
        let admits_all = matches!(question.matching, Matching::Live) && dead.is_empty();
        let wanted = select::candidates_for(question.depth);
        let width = select::width_for(wanted, covered);
        let visits = usize::try_from(n_matching).unwrap_or(usize::MAX);
        let ask = Ask { width, visits, admit: (!admits_all).then_some(&is_match) };
        let (points, query) = (self.rows.points(), question.codes.point());
        let mut rough = Vec::with_capacity(2 * width);
        if !graph.search(points, query, ask, &mut |row| rough.push(row)) {
            return Ok(None);
        }
        let mut tail = Best::new(width);
        question.each(&self.rows, covered..all, |rows| points.rough_scan(query, rows, &mut tail));
        rough.extend(tail.into_scored().into_iter().map(|(_, row)| row));
        let nearest = points.nearest(query, rough.into_iter(), wanted);
        let hits = self.rows.rescore(question.unit, nearest, question.depth)?;
        Ok((hits.len() == question.depth).then_some(hits))
    }

    /// Exact up to rescoring: widens the candidates until there are `depth` records or no row is
    /// left out, since many chunks of one record may crowd out the others.
    fn by_scan(&self, question: &Question<'_>) -> Result<Vec<VectorHit>, IndexError> {
        let mut wanted = select::candidates_for(question.depth);
        loop {
            let hits =
                self.rows.rescore(question.unit, question.nearest(&self.rows, wanted), question.depth)?;
            if hits.len() == question.depth || wanted as u64 >= question.n_matching {
                return Ok(hits);
            }
            wanted = wanted.saturating_mul(4);
        }
    }
}

/// What is asked, in the forms in which it is needed.
struct Question<'a> {
    unit: &'a [f32],
    codes: Query,
    matching: Matching,
    n_matching: u64,
    depth: usize,
}

impl Question<'_> {
    /// The `wanted` nearest of all matching rows and their scores.
    fn nearest(&self, rows: &Rows, wanted: usize) -> Vec<(f32, u32)> {
        let (points, query, all) = (rows.points(), self.codes.point(), 0..rows.len());
        let n_rough = select::rough_for(wanted);
        if points.has_halves() && self.n_matching > n_rough as u64 {
            let mut best = Best::new(n_rough);
            self.each(rows, all.clone(), |rows| points.rough_scan(query, rows, &mut best));
            let rough = best.into_scored();
            let left_out = rough.iter().map(|(score, _)| *score).fold(f32::INFINITY, f32::min);
            let doubt = points.doubt(rough.iter().map(|(_, row)| *row));
            let nearest = points.nearest(query, rough.into_iter().map(|(_, row)| row), wanted);
            let are_above = nearest.iter().filter(|(score, _)| *score > left_out + doubt).count();
            if are_above >= self.depth {
                return nearest;
            }
            // Too many alike for halves, as in a corpus of near copies.
        }
        let mut best = Best::new(wanted);
        self.each(rows, all, |rows| points.scan(query, rows, &mut best));
        best.into_scored()
    }

    /// Passes the matching rows of a range to `scan`, as it takes them.
    fn each(
        &self,
        rows: &Rows,
        range: std::ops::Range<u32>,
        scan: impl FnOnce(&mut dyn FnMut(&mut [u32]) -> usize),
    ) {
        match &self.matching {
            Matching::Live => scan(&mut rows_of(rows.live_within(range))),
            Matching::Some(matching) => {
                let mut matching = matching.range(range);
                scan(&mut |rows: &mut [u32]| matching.next_many(rows).len());
            }
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
        self.compact_if_small();
        self.changes += 1;
        self.rows.put(chunk, id, facets, &unit)
    }

    fn remove(&mut self, id: &RecordId) -> bool {
        let removed = self.rows.remove(id);
        self.changes += u64::from(removed);
        self.compact_if_small();
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
        let matching = self.rows.matching(filter);
        let n_matching = match &matching {
            Matching::Live => self.rows.n_live(),
            Matching::Some(rows) => rows.len(),
        };
        let question = Question { unit: &unit, codes: Query::new(&unit), matching, n_matching, depth };
        match self.by_graph(&question)? {
            Some(hits) => Ok(hits),
            None => self.by_scan(&question),
        }
    }

    fn len(&self) -> usize {
        usize::try_from(self.rows.n_live()).unwrap_or(usize::MAX)
    }

    fn dimension(&self) -> usize {
        self.rows.dimension()
    }
}
