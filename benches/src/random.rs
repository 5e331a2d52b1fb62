//! Numbers and vectors that are the same in every run.

use atlas_domain::{EmbeddingSpace, Pooling, SpaceId};

/// Components of the vectors made here.
pub const DIMENSION: usize = 384;

const CENTRES: usize = 500;

/// xorshift64.
#[derive(Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Another sequence for every seed.
    pub fn new(seed: u64) -> Self {
        // Odd multiples are never 0, which the shifts would leave as it is.
        Self { state: (2 * seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) }
    }

    /// Any number but 0.
    pub fn number(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// A number from 0 to one less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        // The upper bits are the better ones.
        (self.number() >> 33) as usize % bound
    }

    /// One of a list.
    pub fn one_of(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }

    /// From 0 to 1.
    pub fn uniform(&mut self) -> f32 {
        (self.number() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// From -0.5 to 0.5.
    pub fn centred(&mut self) -> f32 {
        self.uniform() - 0.5
    }
}

/// Vectors of length 1 around 500 centres, which are the same for every seed.
#[derive(Debug)]
pub struct Clusters {
    random: Random,
    centres: Vec<Vec<f32>>,
}

impl Clusters {
    /// Another sequence of vectors for every seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(42);
        let mut centre = || (0..DIMENSION).map(|_| random.centred()).collect();
        let centres = (0..CENTRES).map(|_| centre()).collect();
        Self { random: Random::new(seed), centres }
    }

    /// The next one.
    pub fn vector(&mut self) -> Vec<f32> {
        let centre = &self.centres[self.random.below(CENTRES)];
        let random = &mut self.random;
        unit(centre.iter().map(|x| x + 0.7 * random.centred()).collect())
    }
}

/// The vector with length 1.
pub fn unit(components: Vec<f32>) -> Vec<f32> {
    let length = components.iter().map(|x| x * x).sum::<f32>().sqrt();
    components.into_iter().map(|x| x / length).collect()
}

/// The space of vectors that no model made.
pub fn space() -> SpaceId {
    EmbeddingSpace {
        engine: "bench".into(),
        model: "synthetic".into(),
        revision: "1".into(),
        dimension: DIMENSION,
        pooling: Pooling::Mean,
        precision: "f32".into(),
    }
    .id()
}
