//! Vectors, queries and the truth about them.

use std::path::Path;

use atlas_benches::{DIMENSION, Random, unit};
use atlas_kernels::dot_f32;

/// Answers per query.
pub(crate) const TEN: usize = 10;

pub(crate) struct Set {
    base: Vec<f32>,
    queries: Vec<f32>,
    pub(crate) tags: Vec<u16>,
    /// The true ten of each query, one after the other.
    pub(crate) truth: Vec<i32>,
    pub(crate) truth_of_1_percent: Vec<i32>,
    pub(crate) truth_of_10_percent: Vec<i32>,
}

impl Set {
    pub(crate) fn read(dir: &Path) -> std::io::Result<Self> {
        let bytes = |name: &str| std::fs::read(dir.join(name));
        let floats =
            |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect();
        let numbers =
            |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|&four| i32::from_le_bytes(four)).collect();
        Ok(Self {
            base: floats(bytes("base.f32")?),
            queries: floats(bytes("q.f32")?),
            tags: bytes("tag.u16")?.as_chunks().0.iter().map(|&two| u16::from_le_bytes(two)).collect(),
            truth: numbers(bytes("gt.i32")?),
            truth_of_1_percent: numbers(bytes("gt1.i32")?),
            truth_of_10_percent: numbers(bytes("gt10.i32")?),
        })
    }

    /// Clusters of few directions each and of very different sizes, as texts have them: noise in
    /// all directions would make every distance alike and every graph look bad.
    pub(crate) fn made(n_rows: usize, n_queries: usize) -> Self {
        const CENTRES: usize = 2_000;
        const DIRECTIONS: usize = 24;
        const BASES: usize = 64;
        let mut random = Random::new(42);
        let common = vector(&mut random);
        let centres: Vec<Vec<f32>> = (0..CENTRES)
            .map(|_| unit(vector(&mut random).iter().zip(&common).map(|(x, y)| x + 0.9 * y).collect()))
            .collect();
        let bases: Vec<Vec<Vec<f32>>> =
            (0..BASES).map(|_| (0..DIRECTIONS).map(|_| unit(vector(&mut random))).collect()).collect();
        let mut made = || {
            // Squared, so that few centres have many of the vectors.
            let place = random.uniform() * random.uniform();
            let centre = (place * CENTRES as f32) as usize % CENTRES;
            let mut components = centres[centre].clone();
            for direction in &bases[centre % BASES] {
                let step = 0.22 * normal(&mut random);
                components.iter_mut().zip(direction).for_each(|(x, d)| *x += step * d);
            }
            components.iter_mut().for_each(|x| *x += 0.012 * normal(&mut random));
            unit(components)
        };
        let base = (0..n_rows).flat_map(|_| made()).collect();
        let queries = (0..n_queries).flat_map(|_| made()).collect();
        let tags = (0..n_rows).map(|_| (random.uniform() * 1000.0) as u16).collect();
        let (truth, truth_of_1_percent, truth_of_10_percent) = Default::default();
        let mut set = Self { base, queries, tags, truth, truth_of_1_percent, truth_of_10_percent };
        set.truth = set.true_tens(u16::MAX);
        set.truth_of_1_percent = set.true_tens(10);
        set.truth_of_10_percent = set.true_tens(100);
        set
    }

    fn true_tens(&self, below: u16) -> Vec<i32> {
        let ten = |query: &[f32]| {
            let mut scores: Vec<(f32, i32)> = (self.rows().zip(&self.tags).zip(0..))
                .filter(|((_, tag), _)| **tag < below)
                .map(|((row, _), number)| (-dot_f32(query, row), number))
                .collect();
            scores.select_nth_unstable_by(TEN - 1, |a, b| a.0.total_cmp(&b.0));
            scores.into_iter().take(TEN).map(|(_, number)| number)
        };
        self.queries().flat_map(ten).collect()
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.base.len() / DIMENSION
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.base.chunks_exact(DIMENSION)
    }

    pub(crate) fn queries(&self) -> impl Iterator<Item = &[f32]> {
        self.queries.chunks_exact(DIMENSION)
    }
}

/// The sum of twelve uniform numbers is as normal as this needs.
fn normal(random: &mut Random) -> f32 {
    (0..12).map(|_| random.uniform()).sum::<f32>() - 6.0
}

fn vector(random: &mut Random) -> Vec<f32> {
    (0..DIMENSION).map(|_| normal(random)).collect()
}
