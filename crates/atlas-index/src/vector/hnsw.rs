//! Our own HNSW over the codes.
//!
//! The algorithm is the published one (Malkov and Yashunin, 2016) with its heuristic choice of
//! neighbours. What makes it fast is the layout: the links of a row are two cache lines of row
//! numbers in one array, the codes are those of the scan, and a walk allocates nothing.
//!
//! A graph is built by one thread and then only read. It grows by a copy that is extended beside
//! it, a tenth of a gigabyte for a million rows, while the old one answers. It knows nothing of
//! removals: the walk goes over dead rows and does not find them, and they vanish when the rows
//! are compacted.

use std::io::{self, Read, Write};

use atlas_kernels::{Kernel, prefetch};

use super::graph::{Ask, Graph, Progress};
use super::points::{Point, Points, Scores};
use super::walk::{Links, MOST_ROWS, Scratch, Walk};

/// Links per row and upper layer; twice as many in the lowest.
const LINKS: usize = 16;
const BASE_LINKS: usize = 2 * LINKS;
/// Links that a new row begins with in the lowest layer; the others come from rows that are added
/// later.
const FIRST_BASE_LINKS: usize = 24;
/// How much nearer a candidate must be to a chosen neighbour than to the row itself to be left out:
/// a little, which keeps some more ways open (the alpha of DiskANN, Subramanya et al. 2019).
const SLACK: f32 = 1.05;
/// Width of the walk that finds a new row's neighbours.
const BUILD_WIDTH: usize = 192;
/// Ends a list of links.
const NONE: u32 = u32::MAX;
/// A row is in layer n with a probability of 16^-n; a million rows have five.
const MOST_LAYERS: u32 = 12;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct BaseLinks([u32; BASE_LINKS]);

/// A graph over the first rows of an index.
#[derive(Debug, Clone)]
pub(super) struct Hnsw {
    base: Vec<BaseLinks>,
    /// The links in layers 1 and up of the rows that are there, one list after the other.
    upper: Vec<[u32; LINKS]>,
    /// Where a row's lists begin in `upper`.
    upper_at: Vec<u32>,
    /// A row of the highest layer, and which layer that is.
    entry: Option<(u32, u32)>,
}

/// The links of a list that are used.
#[inline]
fn used(links: &[u32]) -> &[u32] {
    &links[..links.iter().position(|&link| link == NONE).unwrap_or(links.len())]
}

/// The highest layer of a row: drawn from its number, so that a graph is the same every time.
fn layer_of(row: u32) -> u32 {
    // SplitMix64, whose bits are all equally good.
    let mut bits = u64::from(row).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    (bits ^ bits >> 31).leading_zeros() / LINKS.ilog2()
}

/// The links of one layer of a graph.
struct Layer<'g> {
    graph: &'g Hnsw,
    layer: u32,
}

impl<'g> Links<'g> for Layer<'g> {
    #[inline]
    fn of(&self, row: u32) -> &'g [u32] {
        self.graph.links(self.layer, row)
    }

    #[inline]
    fn prefetch(&self, row: u32) {
        // One row in sixteen has links above; their lists are few enough to stay in the cache.
        if self.layer == 0 {
            prefetch(&self.graph.base[row as usize].0);
        }
    }
}

impl Hnsw {
    pub(super) fn new() -> Self {
        Self { base: Vec::new(), upper: Vec::new(), upper_at: Vec::new(), entry: None }
    }

    #[inline]
    fn links(&self, layer: u32, row: u32) -> &[u32] {
        match layer {
            0 => used(&self.base[row as usize].0),
            _ => used(&self.upper[(self.upper_at[row as usize] + layer - 1) as usize]),
        }
    }

    fn links_mut(&mut self, layer: u32, row: u32) -> &mut [u32] {
        match layer {
            0 => &mut self.base[row as usize].0,
            _ => &mut self.upper[(self.upper_at[row as usize] + layer - 1) as usize],
        }
    }

    /// The nearest row of a layer that can be reached downhill.
    fn descend(
        &self,
        points: &Points,
        query: Point<'_>,
        mut row: u32,
        layer: u32,
        scores: &mut Scores,
    ) -> u32 {
        let kernel = Kernel::detect();
        points.rough_scores(kernel, query, &[row], scores);
        let mut best = scores.scores[0];
        loop {
            let before = row;
            let links = self.links(layer, row);
            points.rough_scores(kernel, query, links, scores);
            for (&link, &score) in links.iter().zip(&scores.scores) {
                if score > best {
                    (row, best) = (link, score);
                }
            }
            if row == before {
                return row;
            }
        }
    }

    /// Adds the next row.
    fn insert(&mut self, points: &Points, room: &mut Room, scratch: &mut Scratch) {
        let row = self.base.len() as u32;
        let top = layer_of(row).min(MOST_LAYERS);
        self.skip();
        self.upper_at[row as usize] = self.upper.len() as u32;
        self.upper.extend((0..top).map(|_| [NONE; LINKS]));
        let Some((mut near, highest)) = self.entry else {
            self.entry = Some((row, top));
            return;
        };
        let point = points.point(row);
        for layer in (top + 1..=highest).rev() {
            near = self.descend(points, point, near, layer, &mut room.scores);
        }
        for layer in (0..=top.min(highest)).rev() {
            let walk = Walk { points, query: point, entry: near, width: BUILD_WIDTH, visits: usize::MAX };
            scratch.walk(walk, Layer { graph: self, layer }, |_| true);
            room.chosen.clear();
            room.chosen.extend(scratch.pool.found().map(|(other, _)| other));
            room.rank(points, point);
            near = room.candidates[0].0;
            room.choose(points, if layer == 0 { FIRST_BASE_LINKS } else { LINKS });
            self.links_mut(layer, row)[..room.chosen.len()].copy_from_slice(&room.chosen);
            let neighbours = std::mem::take(&mut room.chosen);
            for &neighbour in &neighbours {
                self.link(points, layer, neighbour, row, room);
            }
            room.chosen = neighbours;
        }
        if top > highest {
            self.entry = Some((row, top));
        }
    }

    /// Adds the next row without links: it is dead and nothing leads to it.
    fn skip(&mut self) {
        self.base.push(BaseLinks([NONE; BASE_LINKS]));
        self.upper_at.push(0);
    }

    /// Adds a link from `row` to `to`; where the list is full, those are kept that the heuristic
    /// chooses.
    fn link(&mut self, points: &Points, layer: u32, row: u32, to: u32, room: &mut Room) {
        let links = self.links_mut(layer, row);
        let n_used = used(links).len();
        if let Some(free) = links.get_mut(n_used) {
            *free = to;
            return;
        }
        let most = links.len();
        room.chosen.clear();
        room.chosen.extend_from_slice(links);
        room.chosen.push(to);
        room.rank(points, points.point(row));
        room.choose(points, most);
        let links = self.links_mut(layer, row);
        links.fill(NONE);
        links[..room.chosen.len()].copy_from_slice(&room.chosen);
    }
}

/// Rows whose links are read or written at once.
const AT_ONCE: usize = 1024;

fn write_numbers(sink: &mut dyn Write, numbers: &[u32]) -> io::Result<()> {
    let mut bytes = [0; 4 * AT_ONCE];
    for numbers in numbers.chunks(AT_ONCE) {
        let bytes = &mut bytes[..4 * numbers.len()];
        bytes
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(numbers)
            .for_each(|(bytes, number)| *bytes = number.to_le_bytes());
        sink.write_all(bytes)?;
    }
    Ok(())
}

fn read_numbers(source: &mut dyn Read, numbers: &mut [u32], bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.resize(size_of_val(numbers), 0);
    source.read_exact(bytes)?;
    let read = bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    numbers.iter_mut().zip(read).for_each(|(number, read)| *number = read);
    Ok(())
}

impl Hnsw {
    /// Reads a graph over some of the first `n_rows` rows. One whose links lead nowhere is an error
    /// of the kind [`io::ErrorKind::InvalidData`].
    pub(super) fn read_from(n_rows: usize, source: &mut dyn Read) -> io::Result<Self> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "links that lead nowhere");
        let (mut head, mut bytes) = ([0; 4], Vec::new());
        read_numbers(source, &mut head, &mut bytes)?;
        let [entry, highest, n_base, n_upper] = head;
        let (n_base, n_upper) = (n_base as usize, n_upper as usize);
        let is_row = |&link: &u32| link == NONE || (link as usize) < n_base;
        if n_base > n_rows || n_upper > n_rows || highest > MOST_LAYERS || !is_row(&entry) {
            return Err(invalid());
        }
        let mut graph = Self::new();
        graph.entry = (entry != NONE).then_some((entry, highest));
        graph.base.resize(n_base, BaseLinks([NONE; BASE_LINKS]));
        let mut links = Vec::new();
        for rows in graph.base.chunks_mut(AT_ONCE) {
            links.resize(rows.len() * BASE_LINKS, NONE);
            read_numbers(source, &mut links, &mut bytes)?;
            let lists = links.as_chunks().0;
            rows.iter_mut().zip(lists).for_each(|(row, list)| *row = BaseLinks(*list));
        }
        graph.upper_at.resize(n_base, 0);
        for numbers in graph.upper_at.chunks_mut(AT_ONCE) {
            read_numbers(source, numbers, &mut bytes)?;
        }
        graph.upper.resize(n_upper, [NONE; LINKS]);
        for lists in graph.upper.chunks_mut(AT_ONCE) {
            read_numbers(source, lists.as_flattened_mut(), &mut bytes)?;
        }
        let are_rows = graph.base.iter().all(|list| list.0.iter().all(is_row));
        let are_rows = are_rows && graph.upper.iter().all(|list| list.iter().all(is_row));
        let are_lists = graph.upper_at.iter().all(|&at| at as usize <= n_upper);
        if are_rows && are_lists { Ok(graph) } else { Err(invalid()) }
    }
}

/// Room for the choice of neighbours.
#[derive(Default)]
struct Room {
    scores: Scores,
    /// Rows and their score, best first.
    candidates: Vec<(u32, f32)>,
    chosen: Vec<u32>,
}

impl Room {
    /// Makes candidates of the rows in `chosen`.
    fn rank(&mut self, points: &Points, point: Point<'_>) {
        points.scores(Kernel::detect(), point, &self.chosen, &mut self.scores);
        self.candidates.clear();
        self.candidates.extend(self.chosen.iter().copied().zip(self.scores.scores.iter().copied()));
        self.candidates.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    }

    /// Chooses among the candidates: one that is nearer to a chosen one than to the row itself, by
    /// [`SLACK`], is reached over that one, and its link is better spent elsewhere.
    fn choose(&mut self, points: &Points, most: usize) {
        let kernel = Kernel::detect();
        self.chosen.clear();
        for &(candidate, score) in &self.candidates {
            if self.chosen.len() == most {
                return;
            }
            // Distances are 1 less the score.
            let hidden_above = 1.0 - (1.0 - score) / SLACK;
            let point = points.point(candidate);
            // The nearest were chosen first and are the likeliest to stand in the way.
            let is_hidden = self.chosen.chunks(8).any(|some| {
                points.scores(kernel, point, some, &mut self.scores);
                self.scores.scores.iter().any(|&other| other > hidden_above)
            });
            if !is_hidden {
                self.chosen.push(candidate);
            }
        }
    }
}

impl Graph for Hnsw {
    fn covered(&self) -> u32 {
        self.base.len() as u32
    }

    fn extended(&self, progress: Progress<'_>) -> Option<Box<dyn Graph>> {
        let Progress { points, upto, dead, go_on } = progress;
        let mut graph = self.clone();
        let n_more = (upto as usize).min(MOST_ROWS).saturating_sub(graph.base.len());
        graph.base.reserve_exact(n_more);
        graph.upper_at.reserve_exact(n_more);
        let mut room = Room::default();
        Scratch::with(|scratch| {
            for row in self.covered()..self.covered() + n_more as u32 {
                if !go_on() {
                    return None;
                }
                if dead.contains(row) {
                    graph.skip();
                } else {
                    graph.insert(points, &mut room, scratch);
                }
            }
            Some(Box::new(graph) as Box<dyn Graph>)
        })
    }

    fn write_to(&self, sink: &mut dyn Write) -> io::Result<()> {
        let (entry, highest) = self.entry.unwrap_or((NONE, 0));
        write_numbers(sink, &[entry, highest, self.base.len() as u32, self.upper.len() as u32])?;
        self.base.iter().try_for_each(|list| write_numbers(sink, &list.0))?;
        write_numbers(sink, &self.upper_at)?;
        write_numbers(sink, self.upper.as_flattened())
    }

    fn search(&self, points: &Points, query: Point<'_>, ask: Ask<'_>, found: &mut dyn FnMut(u32)) -> bool {
        let Some((mut near, highest)) = self.entry else { return true };
        Scratch::with(|scratch| {
            let mut scores = Scores::default();
            for layer in (1..=highest).rev() {
                near = self.descend(points, query, near, layer, &mut scores);
            }
            let links = Layer { graph: self, layer: 0 };
            let walk = Walk { points, query, entry: near, width: ask.width, visits: ask.visits };
            let is_whole = match ask.admit {
                Some(admit) => scratch.walk(walk, links, admit),
                None => scratch.walk(walk, links, |_| true),
            };
            scratch.pool.found().for_each(|(row, _)| found(row));
            is_whole
        })
    }
}

#[cfg(test)]
mod tests {
    use roaring::RoaringBitmap;

    use super::*;

    fn points(n_rows: usize) -> Points {
        let mut points = Points::new(16);
        let mut bits = 7u64;
        for _ in 0..n_rows {
            let mut component = || {
                bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (bits >> 40) as f32 / (1u64 << 24) as f32 - 0.5
            };
            points.push(&(0..16).map(|_| component()).collect::<Vec<_>>());
        }
        points
    }

    fn built(points: &Points, steps: &[u32], dead: &RoaringBitmap) -> Hnsw {
        let mut graph = Hnsw::new();
        let (mut room, mut scratch) = (Room::default(), Scratch::default());
        for &upto in steps {
            for row in graph.covered()..upto {
                if dead.contains(row) {
                    graph.skip();
                } else {
                    graph.insert(points, &mut room, &mut scratch);
                }
            }
            graph = graph.clone();
        }
        graph
    }

    #[test]
    fn a_list_of_links_names_other_rows_of_its_layer_and_each_once() {
        let points = points(2000);
        let graph = built(&points, &[2000], &RoaringBitmap::new());
        for row in 0..2000 {
            for layer in 0..=layer_of(row).min(MOST_LAYERS) {
                let links = graph.links(layer, row);
                let mut once = links.to_vec();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), links.len());
                assert!(links.iter().all(|&link| link != row && layer_of(link) >= layer));
                assert!(layer > 0 || !links.is_empty());
            }
        }
    }

    #[test]
    fn a_graph_that_grew_in_steps_is_the_one_that_was_built_at_once() {
        let points = points(600);
        let dead: RoaringBitmap = (0..600).step_by(7).collect();
        let at_once = built(&points, &[600], &dead);
        let in_steps = built(&points, &[1, 10, 333, 600], &dead);
        for row in 0..600 {
            assert_eq!(at_once.links(0, row), in_steps.links(0, row));
            assert_eq!(at_once.links(0, row).is_empty(), dead.contains(row));
            assert!(at_once.links(0, row).iter().all(|&link| !dead.contains(link)));
        }
    }

    #[test]
    fn one_row_in_sixteen_is_in_the_next_layer() {
        let n_in = |layer| (0..100_000).filter(|&row| layer_of(row) >= layer).count();
        assert!((6_000..6_500).contains(&n_in(1)), "{}", n_in(1));
        assert!((330..450).contains(&n_in(2)), "{}", n_in(2));
    }
}
