//! The graph of `hnsw_rs`, kept to compare ours with.
//!
//! It holds codes of its own, one allocation per row, because it knows slices of one type only and
//! owns them. Its dump is not used: the loader ends the process on a short file.

use std::sync::Arc;

use atlas_kernels::dot_i8;
use hnsw_rs::prelude::{Distance, Hnsw};

use super::graph::{Ask, Graph, Progress};
use super::points::{Point, Points};

/// Neighbours per node. The same as in our own graph.
const NEIGHBOURS: usize = 16;
const EF_CONSTRUCTION: usize = 200;
/// The crate's own limit.
const LAYERS: usize = 16;
/// A hint for its first allocation.
const EXPECTED_ROWS: usize = 64 * 1024;

/// One minus the cosine. `hnsw_rs` knows slices of one type only, so a point is its codes
/// followed by the four bytes of their scale.
#[derive(Clone, Copy, Default)]
struct CodeDistance;

impl Distance<i8> for CodeDistance {
    fn eval(&self, a: &[i8], b: &[i8]) -> f32 {
        let (Some((a, a_scale)), Some((b, b_scale))) = (a.split_last_chunk::<4>(), b.split_last_chunk::<4>())
        else {
            return 1.0;
        };
        let scale = |bytes: &[i8; 4]| f32::from_ne_bytes(bytes.map(|byte| byte as u8));
        // Rounding may make a cosine greater than one, and the crate asserts that no distance is
        // negative.
        (1.0 - dot_i8(a, b) as f32 * (scale(a_scale) * scale(b_scale))).max(0.0)
    }
}

fn flat(codes: &[i8], scale: f32) -> Vec<i8> {
    codes.iter().copied().chain(scale.to_ne_bytes().map(|byte| byte as i8)).collect()
}

/// A graph of the crate, and how many rows of it count.
pub(super) struct Peer {
    /// Shared with the graphs that were extended from this one: the crate adds points in place,
    /// and rows that are not covered yet are found twice at most.
    nodes: Arc<Hnsw<'static, i8, CodeDistance>>,
    covered: u32,
}

impl Peer {
    pub(super) fn new() -> Self {
        let nodes = Hnsw::new(NEIGHBOURS, EXPECTED_ROWS, LAYERS, EF_CONSTRUCTION, CodeDistance);
        Self { nodes: Arc::new(nodes), covered: 0 }
    }
}

impl Graph for Peer {
    fn covered(&self) -> u32 {
        self.covered
    }

    fn extended(&self, progress: Progress<'_>) -> Option<Box<dyn Graph>> {
        let Progress { points, upto, dead, go_on } = progress;
        for row in (self.covered..upto).filter(|&row| !dead.contains(row)) {
            if !go_on() {
                return None;
            }
            let (codes, scale) = points.code(row);
            self.nodes.insert((&flat(codes, scale), row as usize));
        }
        Some(Box::new(Self { nodes: self.nodes.clone(), covered: upto }))
    }

    fn search(&self, points: &Points, query: Point<'_>, ask: Ask<'_>, found: &mut dyn FnMut(u32)) -> bool {
        let query = flat(&query.codes.codes()[..points.dimension()], query.scale);
        let is_admitted = |row: &usize| {
            let row = *row as u32;
            row < points.len() as u32 && ask.admit.is_none_or(|admit| admit(row))
        };
        for neighbour in self.nodes.search_filter(&query, ask.width, ask.width, Some(&is_admitted)) {
            // Asked again: the crate has let refused points through before.
            if is_admitted(&neighbour.d_id) {
                found(neighbour.d_id as u32);
            }
        }
        true
    }
}
