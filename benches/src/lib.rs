//! What the benches share: inputs that are the same in every run, and the server in this process.

mod random;
mod server;
mod workloads;

pub use random::{Clusters, DIMENSION, Random, space, unit};
pub use server::{Answer, Connection, TOKEN, bytes_under, serve};
pub use workloads::{Workload, workloads};

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
