//! Shared inputs of the benches.

mod workloads;

pub use workloads::{Workload, workloads};

/// Numbers that are the same in every run.
#[derive(Debug)]
struct Random {
    state: u64,
}

impl Random {
    fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % bound
    }

    fn one_of(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }
}

/// Operations prose, the same in every run. Each word is one word piece of BERT's English
/// vocabulary, so `n` words are `n` pieces.
#[derive(Debug)]
pub struct Prose {
    random: Random,
}

const WORDS: &[&str] = &[
    "disk",
    "full",
    "node",
    "down",
    "error",
    "service",
    "memory",
    "limit",
    "request",
    "failed",
    "database",
    "server",
    "alert",
    "high",
    "time",
    "out",
    "network",
    "connection",
    "lost",
    "after",
    "the",
    "of",
    "in",
    "on",
    "for",
    "data",
    "region",
    "east",
    "west",
    "load",
    "average",
    "above",
    "below",
    "five",
    "minutes",
    "check",
    "log",
    "file",
    "system",
    "key",
    "cache",
    "queue",
    "message",
    "token",
    "user",
    "page",
    "start",
    "stop",
    "again",
    "and",
    "is",
    "not",
];

impl Prose {
    /// A source of texts; the same seed gives the same texts.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed) }
    }

    /// A text of `n_words` words.
    pub fn text(&mut self, n_words: usize) -> String {
        let words: Vec<&str> = (0..n_words).map(|_| self.random.one_of(WORDS)).collect();
        words.join(" ")
    }
}
