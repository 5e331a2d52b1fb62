//! What an embedder tells operators about its work.

use std::time::Duration;

/// Counts since an embedder was loaded; the parts that it does not have are absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmbedStats {
    /// Of the memory in front of the engine.
    pub cache: Option<CacheStats>,
    /// Of the threads of an engine in this process.
    pub engine: Option<EngineStats>,
}

/// Texts that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Remembered, or repeated within one call.
    pub hits: u64,
    /// Given to the engine.
    pub misses: u64,
    /// Vectors that are kept now.
    pub entries: usize,
    /// About how much memory they take, and how much they may.
    pub used_bytes: usize,
    /// The limit of `used_bytes`.
    pub budget_bytes: usize,
}

/// The work of an engine's threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Threads that run the model.
    pub threads: usize,
    /// Tokens of a full unit.
    pub unit_tokens: usize,
    /// Texts that wait now.
    pub waiting_texts: usize,
    /// Batches that were run.
    pub units: u64,
    /// Texts in them.
    pub texts: u64,
    /// Of these, texts whose vector was that of another text in the same unit.
    pub folded: u64,
    /// Tokens that were computed.
    pub tokens: u64,
    /// Time of all threads together with work at hand.
    pub busy: Duration,
    /// How long an interactive text waited for a thread, on average.
    pub interactive_wait: Duration,
    /// The same for bulk texts.
    pub bulk_wait: Duration,
}

impl EngineStats {
    /// Tokens of the average unit as a part of a full one; a little above 1 is possible.
    pub fn fill(&self) -> f64 {
        ratio(self.tokens as f64, (self.units * self.unit_tokens as u64) as f64)
    }

    /// Tokens per second and busy thread.
    pub fn tokens_per_busy_second(&self) -> f64 {
        ratio(self.tokens as f64, self.busy.as_secs_f64())
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
