//! Building beside a running index.
//!
//! A graph takes a fifth of a millisecond per row and a compaction copies gigabytes; neither may
//! happen while the index is locked. So the index gives out a [`VectorBuild`], which holds the rows
//! as they are (they are shared, not copied), runs on whatever thread the caller likes, and is put
//! into the index when it is done. Until then the index answers from what it has and scans what
//! its graph does not cover.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::graph::{Graph, Progress};
use super::hnsw::Hnsw;
use super::peer::Peer;
use super::rows::Columns;
use super::{SCAN_UP_TO, VectorIndex, VectorKind, next_generation};
use crate::IndexError;

/// Rows without a graph that a scan reads in the time of a walk.
const TAIL: u32 = 4096;
/// Dead rows below this number are not worth a compaction, whatever their share.
const FEW_DEAD: u64 = 64;

/// Which graph a kind builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Ours,
    Peer,
}

/// A piece of building that an index asked for.
pub struct VectorBuild {
    generation: u64,
    columns: Columns,
    dead: RoaringBitmap,
    /// The rows to keep where dead ones are dropped.
    kept: Option<RoaringBitmap>,
    /// What the new graph begins with.
    graph: Option<Arc<dyn Graph>>,
    upto: u32,
}

/// What came of a [`VectorBuild`].
pub struct VectorBuilt {
    generation: u64,
    /// Rows there were when the build began.
    seen: u32,
    kept: Option<(RoaringBitmap, Columns)>,
    graph: Option<Arc<dyn Graph>>,
}

impl std::fmt::Debug for VectorBuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("VectorBuild");
        out.field("upto", &self.upto).field("compacts", &self.kept.is_some()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for VectorBuilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let covered = self.graph.as_ref().map(|graph| graph.covered());
        f.debug_struct("VectorBuilt").field("covered", &covered).finish_non_exhaustive()
    }
}

impl VectorBuild {
    /// Does the work, which may take minutes. `go_on` is asked every fraction of a millisecond;
    /// when it says no, there is no outcome. Fails where the vectors cannot be read from their file.
    pub fn run(self, go_on: &dyn Fn() -> bool) -> Result<Option<VectorBuilt>, IndexError> {
        let Self { generation, mut columns, mut dead, kept, graph, upto } = self;
        let seen = columns.points.len() as u32;
        if let Some(kept) = &kept {
            columns = columns.kept(kept.iter())?;
            dead.clear();
        }
        let kept = kept.map(|kept| (kept, columns.clone()));
        let points = &columns.points;
        let progress = Progress { points, upto: upto.min(points.len() as u32), dead: &dead, go_on };
        let graph = match graph {
            Some(graph) => match graph.extended(progress) {
                Some(graph) => Some(graph.into()),
                None => return Ok(None),
            },
            None => None,
        };
        Ok(Some(VectorBuilt { generation, seen, kept, graph }))
    }
}

impl VectorIndex {
    fn plan(&self) -> Option<Plan> {
        match self.kind {
            VectorKind::Auto => (self.rows.n_live() > SCAN_UP_TO).then_some(Plan::Ours),
            VectorKind::Flat => None,
            VectorKind::Hnsw => Some(Plan::Ours),
            VectorKind::HnswRs => Some(Plan::Peer),
        }
    }

    fn has_many_dead(&self) -> bool {
        let n_dead = self.rows.dead().len();
        n_dead >= FEW_DEAD && n_dead * 5 >= u64::from(self.rows.len())
    }

    /// Drops dead rows at once where that takes no time worth mentioning.
    pub(super) fn compact_if_small(&mut self) {
        let is_small = self.graph.is_none() && u64::from(self.rows.len()) <= SCAN_UP_TO;
        // Rows that are in a file are read back beside the index: see `next_build`.
        if is_small && !self.rows.are_in_file() && self.has_many_dead() {
            let kept = self.rows.live();
            if let Ok(columns) = self.rows.columns().kept(kept.iter()) {
                self.renumber(&kept, columns);
            }
        }
    }

    fn renumber(&mut self, kept: &RoaringBitmap, columns: Columns) {
        self.rows.keep(kept, columns);
        self.graph = None;
        self.generation = next_generation();
        // A file of the old numbers is still true; but nothing of it can be rested on.
        self.changes = u64::from(self.rows.len());
    }

    /// The next piece of building, if there is any worth doing now. Ask again after putting one in:
    /// a large backlog is done in pieces, each of which already helps.
    pub fn next_build(&self) -> Option<VectorBuild> {
        let (len, plan) = (self.rows.len(), self.plan());
        let fresh = |plan| -> Arc<dyn Graph> {
            match plan {
                Plan::Ours => Arc::new(Hnsw::new()),
                Plan::Peer => Arc::new(Peer::new()),
            }
        };
        let build = |kept, graph, upto| VectorBuild {
            generation: self.generation,
            columns: self.rows.columns(),
            dead: self.rows.dead().clone(),
            kept,
            graph,
            upto,
        };
        if self.has_many_dead() {
            return Some(build(Some(self.rows.live()), plan.map(fresh), len));
        }
        let covered = self.graph.as_ref().map_or(0, |graph| graph.covered());
        // The first graph at once; then as often as the tail costs as much as the walk, or, where a
        // graph of few rows was asked for, an eighth of it.
        let tail = if self.graph.is_none() { 1 } else { (covered / 8).clamp(1, TAIL) };
        if len.saturating_sub(covered) < tail {
            return None;
        }
        // Growing at most twofold: what is built helps long before the end of a large import.
        let upto = len.min(covered.max(SCAN_UP_TO as u32).saturating_mul(2));
        let begin = match &self.graph {
            Some(graph) => graph.clone(),
            None => fresh(plan?),
        };
        Some(build(None, Some(begin), upto))
    }

    /// Puts in what was built. Cheap, except after a compaction, which renames every row: then the
    /// index is held up for some hundred nanoseconds per row.
    pub fn install(&mut self, built: VectorBuilt) -> Result<(), IndexError> {
        let VectorBuilt { generation, seen, kept, graph } = built;
        if generation != self.generation {
            return Ok(());
        }
        if let Some((mut kept, mut columns)) = kept {
            // What was added meanwhile goes behind; what died meanwhile stays as dead rows.
            let added = seen..self.rows.len();
            columns.append(&self.rows.columns(), added.clone())?;
            kept.insert_range(added);
            self.renumber(&kept, columns);
        }
        if graph.is_some() {
            self.graph = graph;
        }
        Ok(())
    }
}
