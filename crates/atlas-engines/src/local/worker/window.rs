//! Some texts of one call, and where their vectors are gathered.

use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use atlas_embed::EmbedError;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Cause;

type Reply = oneshot::Sender<Result<Vec<Vec<f32>>, EmbedError>>;

/// Lives until the last of its texts has left the queue and the threads.
pub(super) struct Window {
    pub(super) texts: Vec<String>,
    pub(super) arrived: Instant,
    gathered: Mutex<Gathered>,
    /// Given back with the window.
    _room: Arc<OwnedSemaphorePermit>,
}

struct Gathered {
    vectors: Vec<Vec<f32>>,
    missing: usize,
    /// Taken by the first outcome.
    reply: Option<Reply>,
}

impl Window {
    pub(super) fn new(texts: Vec<String>, reply: Reply, room: Arc<OwnedSemaphorePermit>) -> Self {
        let gathered =
            Gathered { vectors: vec![Vec::new(); texts.len()], missing: texts.len(), reply: Some(reply) };
        Self { texts, arrived: Instant::now(), gathered: Mutex::new(gathered), _room: room }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody still waits: the caller may be gone, or another text may have failed.
    pub(super) fn is_wanted(&self) -> bool {
        self.lock().reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    /// Takes the vector of the text at `position`, each once.
    pub(super) fn gather(&self, position: usize, vector: &[f32]) {
        let mut gathered = self.lock();
        gathered.missing -= 1;
        // Empty since the reply was taken by a failure.
        if let Some(slot) = gathered.vectors.get_mut(position) {
            *slot = vector.to_vec();
        }
        if gathered.missing == 0 {
            let vectors = std::mem::take(&mut gathered.vectors);
            // Nobody listening is fine: the caller was dropped meanwhile.
            let _ = gathered.reply.take().map(|reply| reply.send(Ok(vectors)));
        }
    }

    pub(super) fn fail(&self, source: Cause) {
        let reply = self.lock().reply.take();
        let _ = reply.map(|reply| reply.send(Err(EmbedError::Failed { source })));
    }
}
