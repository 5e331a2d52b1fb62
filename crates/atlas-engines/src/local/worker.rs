//! The threads that run a model, and the queue in front of them.
//!
//! One thread per core, each running whole batches alone: a small model's matrices are too small
//! to share, and cores that wait for each other inside a product are lost. Between two batches a
//! thread looks at the queue again, interactive lane first, so a query waits for at most the
//! batches that run, never for an import.
//!
//! Memory is bounded by the texts that are let in. A bulk caller waits for room; an interactive
//! one is told that there is none.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use atlas_embed::{EmbedError, Priority};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What runs on the threads.
pub(super) trait Encoder: Send + Sync + 'static {
    /// Ids of a text, never empty.
    fn tokenize(&self, text: &str) -> Result<Vec<u32>, Cause>;

    /// One vector per sequence.
    fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, Cause>;
}

/// Sizes of the queue and of the work taken from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) threads: usize,
    /// A batch is closed when it has this many tokens.
    pub(super) batch_tokens: usize,
    /// Texts of interactive callers that may wait or run.
    pub(super) interactive_texts: usize,
    /// The same for bulk callers.
    pub(super) bulk_texts: usize,
    /// Texts that are tokenised in one go.
    pub(super) window_texts: usize,
}

/// A pool of threads around one encoder. Dropping it ends them after the batch they run.
pub(super) struct Workers {
    queue: Arc<Queue>,
    interactive: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
    limits: Limits,
}

impl Workers {
    pub(super) fn start<E: Encoder>(encoder: E, limits: Limits) -> std::io::Result<Self> {
        let encoder = Arc::new(encoder);
        // Built first, so that threads already started end if a later one cannot be.
        let workers = Self {
            queue: Arc::default(),
            interactive: Arc::new(Semaphore::new(limits.interactive_texts)),
            bulk: Arc::new(Semaphore::new(limits.bulk_texts)),
            limits,
        };
        for number in 0..limits.threads {
            let (queue, encoder) = (workers.queue.clone(), encoder.clone());
            std::thread::Builder::new()
                .name(format!("embed-{number}"))
                .spawn(move || run(&queue, &*encoder, limits.batch_tokens))?;
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
        let mut admitted = match priority {
            Priority::Bulk => None,
            Priority::Interactive => {
                Some(Arc::new(try_admit(&self.interactive, n_texts, self.limits.interactive_texts)?))
            }
        };
        while texts.peek().is_some() {
            let window: Vec<String> = texts.by_ref().take(self.limits.window_texts).collect();
            let room = match &mut admitted {
                Some(room) => room.clone(),
                None => Arc::new(admit(&self.bulk, window.len(), self.limits.bulk_texts).await?),
            };
            let (reply, answer) = oneshot::channel();
            self.queue.push(priority, Task::Tokenize(Arc::new(Window::new(window, priority, reply, room))));
            answers.push(answer);
        }
        let mut vectors = Vec::with_capacity(n_texts);
        for answer in answers {
            vectors.extend(answer.await.map_err(|_| EmbedError::Stopped)??);
        }
        Ok(vectors)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let lanes = self.queue.lock();
        lanes.interactive.len() + lanes.bulk.len()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let mut lanes = self.queue.lock();
        lanes.stopped = true;
        // Their callers hear `Stopped` by the dropped replies.
        lanes.interactive.clear();
        lanes.bulk.clear();
        self.queue.changed.notify_all();
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

/// Some texts of one call, and where their vectors are gathered.
struct Window {
    texts: Vec<String>,
    priority: Priority,
    gathered: Mutex<Gathered>,
    /// Given back when the last task of the window is gone.
    _room: Arc<OwnedSemaphorePermit>,
}

struct Gathered {
    vectors: Vec<Vec<f32>>,
    missing: usize,
    /// Taken by the first outcome.
    reply: Option<oneshot::Sender<Result<Vec<Vec<f32>>, EmbedError>>>,
}

impl Window {
    fn new(
        texts: Vec<String>,
        priority: Priority,
        reply: oneshot::Sender<Result<Vec<Vec<f32>>, EmbedError>>,
        room: Arc<OwnedSemaphorePermit>,
    ) -> Self {
        let gathered =
            Gathered { vectors: vec![Vec::new(); texts.len()], missing: texts.len(), reply: Some(reply) };
        Self { texts, priority, gathered: Mutex::new(gathered), _room: room }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody still waits: the caller may be gone, or another batch may have failed.
    fn is_wanted(&self) -> bool {
        self.lock().reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    fn gather(&self, first: usize, vectors: Vec<Vec<f32>>) {
        let mut gathered = self.lock();
        gathered.missing -= vectors.len();
        for (slot, vector) in gathered.vectors[first..].iter_mut().zip(vectors) {
            *slot = vector;
        }
        if gathered.missing == 0 {
            let vectors = std::mem::take(&mut gathered.vectors);
            // Nobody listening is fine: the caller was dropped meanwhile.
            let _ = gathered.reply.take().map(|reply| reply.send(Ok(vectors)));
        }
    }

    fn fail(&self, source: Cause) {
        let reply = self.lock().reply.take();
        let _ = reply.map(|reply| reply.send(Err(EmbedError::Failed { source })));
    }
}

enum Task {
    Tokenize(Arc<Window>),
    /// Neighbouring texts of a window, the first by its position.
    Encode {
        window: Arc<Window>,
        first: usize,
        sequences: Vec<Vec<u32>>,
    },
}

impl Task {
    fn window(&self) -> &Arc<Window> {
        match self {
            Self::Tokenize(window) | Self::Encode { window, .. } => window,
        }
    }
}

#[derive(Default)]
struct Queue {
    lanes: Mutex<Lanes>,
    changed: Condvar,
}

#[derive(Default)]
struct Lanes {
    interactive: VecDeque<Task>,
    bulk: VecDeque<Task>,
    stopped: bool,
}

impl Lanes {
    fn of(&mut self, priority: Priority) -> &mut VecDeque<Task> {
        match priority {
            Priority::Interactive => &mut self.interactive,
            Priority::Bulk => &mut self.bulk,
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, priority: Priority, task: Task) {
        self.lock().of(priority).push_back(task);
        self.changed.notify_one();
    }

    /// Puts the batches of a window before the windows that came after it.
    fn push_batches(&self, priority: Priority, batches: Vec<Task>) {
        let mut lanes = self.lock();
        if !lanes.stopped {
            batches.into_iter().rev().for_each(|batch| lanes.of(priority).push_front(batch));
            self.changed.notify_all();
        }
    }

    /// Waits for work; `None` when the pool is gone.
    fn pop(&self) -> Option<Task> {
        let mut lanes = self.lock();
        loop {
            if lanes.stopped {
                return None;
            }
            if let Some(task) = lanes.interactive.pop_front().or_else(|| lanes.bulk.pop_front()) {
                return Some(task);
            }
            lanes = self.changed.wait(lanes).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn run(queue: &Queue, encoder: &dyn Encoder, batch_tokens: usize) {
    while let Some(task) = queue.pop() {
        let window = task.window().clone();
        if !window.is_wanted() {
            continue;
        }
        // A panic in the model is the answer to this call, not the end of the thread.
        match catch_unwind(AssertUnwindSafe(|| perform(task, queue, encoder, batch_tokens))) {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => window.fail(cause),
            Err(panic) => window.fail(panic_message(&*panic).into()),
        }
    }
}

fn perform(task: Task, queue: &Queue, encoder: &dyn Encoder, batch_tokens: usize) -> Result<(), Cause> {
    match task {
        Task::Tokenize(window) => {
            let mut batches = Vec::new();
            let mut sequences = Vec::new();
            let mut n_tokens = 0;
            let mut first = 0;
            for (position, text) in window.texts.iter().enumerate() {
                let ids = encoder.tokenize(text)?;
                if n_tokens + ids.len() > batch_tokens && !sequences.is_empty() {
                    let sequences = std::mem::take(&mut sequences);
                    batches.push(Task::Encode { window: window.clone(), first, sequences });
                    (first, n_tokens) = (position, 0);
                }
                n_tokens += ids.len();
                sequences.push(ids);
            }
            batches.push(Task::Encode { window: window.clone(), first, sequences });
            queue.push_batches(window.priority, batches);
        }
        Task::Encode { window, first, sequences } => {
            let views: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let vectors = encoder.encode(&views)?;
            if vectors.len() != sequences.len() {
                return Err("the model returned another number of vectors than it was given texts".into());
            }
            window.gather(first, vectors);
        }
    }
    Ok(())
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the model panicked: {}", text.unwrap_or("no message"))
}

#[cfg(test)]
mod tests;
