//! What the threads have done, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use atlas_embed::{EngineStats, Priority};

use super::Limits;

/// Sums since the start. Read while they move, so two of them may be a unit apart.
#[derive(Default)]
pub(super) struct Counters {
    units: AtomicU64,
    texts: AtomicU64,
    folded: AtomicU64,
    tokens: AtomicU64,
    busy_nanos: AtomicU64,
    interactive: Waits,
    bulk: Waits,
}

#[derive(Default)]
struct Waits {
    texts: AtomicU64,
    nanos: AtomicU64,
}

impl Counters {
    /// A text left the queue.
    pub(super) fn waited(&self, priority: Priority, time: Duration) {
        let waits = match priority {
            Priority::Interactive => &self.interactive,
            Priority::Bulk => &self.bulk,
        };
        waits.texts.fetch_add(1, Relaxed);
        waits.nanos.fetch_add(nanos(time), Relaxed);
    }

    /// A unit was filled.
    pub(super) fn unit(&self, n_texts: usize, n_sequences: usize, n_tokens: usize) {
        self.units.fetch_add(1, Relaxed);
        self.texts.fetch_add(n_texts as u64, Relaxed);
        self.folded.fetch_add((n_texts - n_sequences) as u64, Relaxed);
        self.tokens.fetch_add(n_tokens as u64, Relaxed);
    }

    /// A thread read and ran a unit for so long.
    pub(super) fn busy(&self, time: Duration) {
        self.busy_nanos.fetch_add(nanos(time), Relaxed);
    }

    pub(super) fn read(&self, limits: Limits, waiting_texts: usize) -> EngineStats {
        EngineStats {
            threads: limits.threads,
            unit_tokens: limits.unit_tokens,
            waiting_texts,
            units: self.units.load(Relaxed),
            texts: self.texts.load(Relaxed),
            folded: self.folded.load(Relaxed),
            tokens: self.tokens.load(Relaxed),
            busy: Duration::from_nanos(self.busy_nanos.load(Relaxed)),
            interactive_wait: self.interactive.mean(),
            bulk_wait: self.bulk.mean(),
        }
    }
}

impl Waits {
    fn mean(&self) -> Duration {
        let n_texts = self.texts.load(Relaxed).max(1);
        Duration::from_nanos(self.nanos.load(Relaxed) / n_texts)
    }
}

/// 584 years fit.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
