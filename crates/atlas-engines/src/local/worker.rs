//! The threads that run a model, and the queue in front of them.
//!
//! One thread per core, each running whole units alone: a small model's matrices are too small
//! to share, and cores that wait for each other inside a product are lost. A unit is some
//! hundred tokens of whole texts, of as many callers as it takes to fill it, but it waits for
//! nobody: a thread that is free takes what is there. Between two units a thread looks at the
//! queue again, interactive lane first, so a query waits for at most the units that run, never
//! for an import.
//!
//! Memory is bounded by the texts that are let in. A bulk caller waits for room, an interactive
//! one is told that there is none, and so is a bulk caller when too many wait.

mod queue;
mod stats;
#[cfg(test)]
mod tests;
mod unit;
mod window;

use std::sync::Arc;

use atlas_embed::{EmbedError, EngineStats, Priority};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use queue::Queue;
use stats::Counters;
use window::Window;

pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What runs on the threads.
pub(super) trait Encoder: Send + Sync + 'static {
    /// What a thread keeps from unit to unit, so that buffers grow once. Made on the thread that
    /// uses it, and made anew after a panic.
    type Scratch;

    fn scratch(&self) -> Self::Scratch;

    /// Floats of a vector.
    fn dimension(&self) -> usize;

    /// Ids of a text, never empty.
    fn tokenize(&self, text: &str) -> Result<Vec<u32>, Cause>;

    /// Writes one vector per sequence, one after the other. `vectors` holds
    /// `sequences.len() * dimension()` floats of any value. What a sequence becomes may not
    /// depend on the others: they belong to other callers.
    fn encode(
        &self,
        sequences: &[&[u32]],
        scratch: &mut Self::Scratch,
        vectors: &mut [f32],
    ) -> Result<(), Cause>;
}

/// Sizes of the queue and of the work taken from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) threads: usize,
    /// Tokens of a unit, give or take half a text.
    pub(super) unit_tokens: usize,
    /// Texts of interactive callers that may wait or run.
    pub(super) interactive_texts: usize,
    /// The same for bulk callers.
    pub(super) bulk_texts: usize,
    /// Bulk callers that may wait for room or run.
    pub(super) bulk_callers: usize,
    /// Texts of one call that are let in together and gathered together.
    pub(super) window_texts: usize,
    /// Interactive units that may overtake a waiting bulk unit, before it is its turn.
    pub(super) overtakings: u32,
}

/// A pool of threads around one encoder. Dropping it ends them after the unit they run.
pub(super) struct Workers {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    interactive: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
    bulk_callers: Semaphore,
    limits: Limits,
}

impl Workers {
    pub(super) fn start<E: Encoder>(encoder: E, limits: Limits) -> std::io::Result<Self> {
        let encoder = Arc::new(encoder);
        // Built first, so that threads already started end if a later one cannot be.
        let workers = Self {
            queue: Arc::new(Queue::new(limits.unit_tokens, limits.overtakings)),
            counters: Arc::default(),
            interactive: Arc::new(Semaphore::new(limits.interactive_texts)),
            bulk: Arc::new(Semaphore::new(limits.bulk_texts)),
            bulk_callers: Semaphore::new(limits.bulk_callers),
            limits,
        };
        for number in 0..limits.threads {
            let (queue, counters) = (workers.queue.clone(), workers.counters.clone());
            let encoder = encoder.clone();
            std::thread::Builder::new()
                .name(format!("embed-{number}"))
                .spawn(move || unit::run(&queue, &counters, &*encoder))?;
        }
        Ok(workers)
    }

    /// Vectors in the order of the texts. Dropping the future gives up what has not begun.
    pub(super) async fn embed(
        &self,
        texts: Vec<String>,
        priority: Priority,
    ) -> Result<Vec<Vec<f32>>, EmbedError> {
        let n_texts = texts.len();
        let mut answers = Vec::with_capacity(n_texts.div_ceil(self.limits.window_texts));
        let mut texts = texts.into_iter().peekable();
        let (_caller, admitted) = match priority {
            Priority::Bulk => (Some(self.bulk_callers.try_acquire().map_err(|_| EmbedError::Busy)?), None),
            Priority::Interactive => {
                let room = try_admit(&self.interactive, n_texts, self.limits.interactive_texts)?;
                (None, Some(Arc::new(room)))
            }
        };
        while texts.peek().is_some() {
            let window: Vec<String> = texts.by_ref().take(self.limits.window_texts).collect();
            let room = match &admitted {
                Some(room) => room.clone(),
                None => Arc::new(admit(&self.bulk, window.len(), self.limits.bulk_texts).await?),
            };
            let (reply, answer) = oneshot::channel();
            self.queue.push(priority, &Arc::new(Window::new(window, reply, room)));
            answers.push(answer);
        }
        let mut vectors = Vec::with_capacity(n_texts);
        for answer in answers {
            vectors.extend(answer.await.map_err(|_| EmbedError::Stopped)??);
        }
        Ok(vectors)
    }

    /// What the threads have done since they were started.
    pub(super) fn stats(&self) -> EngineStats {
        self.counters.read(self.limits, self.queue.waiting())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.stop();
    }
}

/// A call larger than the queue takes all of it.
fn permits(n_texts: usize, capacity: usize) -> u32 {
    u32::try_from(n_texts.min(capacity)).unwrap_or(u32::MAX)
}

fn try_admit(
    room: &Arc<Semaphore>,
    n_texts: usize,
    capacity: usize,
) -> Result<OwnedSemaphorePermit, EmbedError> {
    room.clone().try_acquire_many_owned(permits(n_texts, capacity)).map_err(|_| EmbedError::Busy)
}

async fn admit(
    room: &Arc<Semaphore>,
    n_texts: usize,
    capacity: usize,
) -> Result<OwnedSemaphorePermit, EmbedError> {
    room.clone().acquire_many_owned(permits(n_texts, capacity)).await.map_err(|_| EmbedError::Stopped)
}
