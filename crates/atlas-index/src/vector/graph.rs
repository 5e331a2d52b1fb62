//! Candidates from the graph of `hnsw_rs`.
//!
//! The graph holds codes, not floats: a quarter of the memory, and the int8 kernel instead of the
//! crate's own. It knows nothing of removals; dead rows are refused during the walk and dropped
//! for good when the rows are compacted and the graph starts anew.

use atlas_kernels::{Codes, dot_i8};
use hnsw_rs::prelude::{Distance, Hnsw};
use roaring::RoaringBitmap;

use super::rows::Rows;

/// Neighbours per node. 16 reached a recall of 0.99 at 62,000 real vectors.
const NEIGHBOURS: usize = 16;
const EF_CONSTRUCTION: usize = 200;
/// Width of the walk; recall 0.99 was measured at 128.
const EF_SEARCH: usize = 160;
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

fn point(codes: &[i8], scale: f32) -> Vec<i8> {
    codes.iter().copied().chain(scale.to_ne_bytes().map(|byte| byte as i8)).collect()
}

pub(super) struct Graph {
    nodes: Hnsw<'static, i8, CodeDistance>,
    covered: u32,
}

impl Graph {
    pub(super) fn new() -> Self {
        Self {
            nodes: Hnsw::new(NEIGHBOURS, EXPECTED_ROWS, LAYERS, EF_CONSTRUCTION, CodeDistance),
            covered: 0,
        }
    }

    /// Rows below this number have been considered.
    pub(super) fn covered(&self) -> u32 {
        self.covered
    }

    /// Takes in at most `most` of the rows it does not have.
    pub(super) fn advance(&mut self, rows: &Rows, most: usize) {
        let end = (rows.len() as u32).min(self.covered.saturating_add(most as u32));
        for row in self.covered..end {
            let (codes, scale) = rows.code(row);
            if rows.live().contains(row) {
                self.nodes.insert((&point(codes, scale), row as usize));
            }
        }
        self.covered = end;
    }

    /// Passes about `wanted` near rows among `allowed` and their cosine to `found`.
    pub(super) fn search(
        &self,
        query: &Codes,
        wanted: usize,
        allowed: &RoaringBitmap,
        mut found: impl FnMut(u32, f32),
    ) {
        let query = point(&query.codes, query.scale);
        let is_allowed = |row: &usize| allowed.contains(*row as u32);
        for neighbour in self.nodes.search_filter(&query, wanted, EF_SEARCH.max(wanted), Some(&is_allowed)) {
            // Asked again: the crate has let refused points through before.
            if is_allowed(&neighbour.d_id) {
                found(neighbour.d_id as u32, 1.0 - neighbour.distance);
            }
        }
    }
}
