//! What the vector leg asks of a graph.

use std::io::{self, Write};

use roaring::RoaringBitmap;

use super::points::{Point, Points};

/// What a walk is asked for.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    /// Width of the walk: rows it keeps in view and finds. What it costs and how many of the true
    /// neighbours are among them grow with it.
    pub(super) width: usize,
    /// Rows it may look at before it gives up.
    pub(super) visits: usize,
    /// Which rows may be found; without it every row may.
    pub(super) admit: Option<&'a dyn Fn(u32) -> bool>,
}

/// What a graph is extended by.
#[derive(Clone, Copy)]
pub(super) struct Progress<'a> {
    pub(super) points: &'a Points,
    /// The number of rows to cover.
    pub(super) upto: u32,
    /// Rows that need not be found any more.
    pub(super) dead: &'a RoaringBitmap,
    /// Asked after every row; building ends when it says no.
    pub(super) go_on: &'a dyn Fn() -> bool,
}

/// A graph over the first rows of an index: it is given the rows with every call and keeps none.
///
/// Once built it is only read, by any number of threads; it is extended into another one.
pub(super) trait Graph: Send + Sync {
    /// Rows below this number have been considered.
    fn covered(&self) -> u32;

    /// A graph that covers more; `None` when `go_on` said no.
    fn extended(&self, progress: Progress<'_>) -> Option<Box<dyn Graph>>;

    /// Writes what is needed to read it again; nothing where it has to be built again.
    fn write_to(&self, _sink: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    /// Passes some `width` rows that are admitted and near to `found`; `false` when it gave up.
    fn search(&self, points: &Points, query: Point<'_>, ask: Ask<'_>, found: &mut dyn FnMut(u32)) -> bool;
}
