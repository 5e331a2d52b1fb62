//! Shared inputs of the benches.

/// Operations prose, the same in every run. Each word is one word piece of BERT's English
/// vocabulary, so `n` words are `n` pieces.
#[derive(Debug)]
pub struct Prose {
    state: u64,
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
        Self { state: seed }
    }

    /// A text of `n_words` words.
    pub fn text(&mut self, n_words: usize) -> String {
        let words: Vec<&str> = (0..n_words).map(|_| WORDS[self.below(WORDS.len())]).collect();
        words.join(" ")
    }

    /// Lengths as an import has them: mostly a sentence or two, now and then a long passage.
    pub fn mixed(&mut self, n_texts: usize) -> Vec<String> {
        (0..n_texts)
            .map(|_| {
                let n_words = match self.below(8) {
                    0 => 100 + self.below(150),
                    1 | 2 => 40 + self.below(60),
                    _ => 6 + self.below(30),
                };
                self.text(n_words)
            })
            .collect()
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % bound
    }
}
