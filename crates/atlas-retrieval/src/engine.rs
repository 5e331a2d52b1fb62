//! The embedding engine as the search path sees it: cleared texts in, checked vectors out, and a
//! memory of whether its last use worked.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atlas_domain::SpaceId;
use atlas_embed::{CachedEmbedder, EmbedError, Embedder, Embedding, Priority, Purpose, TokenCounter};
use atlas_guard::Guard;
use tokio::time::{Instant, sleep, timeout_at};

use crate::api::{EmbeddingState, RetrievalError};

/// Vectors the engine made lately: alert texts and log templates repeat.
const CACHE_BYTES: usize = 64 << 20;
/// Texts per call. A call that does not return in time is lost whole, so not too many.
const TEXTS_PER_CALL: usize = 32;
/// How long to wait before an engine that is busy is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// The engine of the one space this process writes and searches.
pub(crate) struct Vectors {
    embedder: CachedEmbedder,
    guard: Arc<Guard>,
    space: SpaceId,
    failure: Mutex<Option<String>>,
}

impl Vectors {
    pub(crate) fn of(embedding: Embedding, guard: Arc<Guard>) -> Option<Self> {
        let Embedding::Vectors(inner) = embedding else { return None };
        let embedder = CachedEmbedder::new(inner, CACHE_BYTES);
        Some(Self { space: embedder.space().id(), embedder, guard, failure: Mutex::default() })
    }

    pub(crate) fn space(&self) -> &SpaceId {
        &self.space
    }

    pub(crate) fn dimension(&self) -> usize {
        self.embedder.space().dimension
    }

    pub(crate) fn tokens(&self) -> &dyn TokenCounter {
        self.embedder.tokens()
    }

    pub(crate) fn state(&self) -> EmbeddingState {
        let space = self.embedder.space().clone();
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(reason) => EmbeddingState::Failing { space, reason },
            None => EmbeddingState::Ready { space },
        }
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Embeds all texts or none, until `deadline`.
    pub(crate) async fn embed(
        &self,
        texts: Vec<String>,
        purpose: Purpose,
        priority: Priority,
        deadline: Instant,
    ) -> Result<Vec<Vec<f32>>, RetrievalError> {
        let (vectors, failure) = self.embed_until(texts, purpose, priority, deadline).await;
        match failure {
            Some(failure) => Err(failure),
            None => Ok(vectors),
        }
    }

    /// Embeds texts in order until the first failure or `deadline`; what is done by then is kept.
    pub(crate) async fn embed_until(
        &self,
        texts: Vec<String>,
        purpose: Purpose,
        priority: Priority,
        deadline: Instant,
    ) -> (Vec<Vec<f32>>, Option<RetrievalError>) {
        let mut vectors = Vec::with_capacity(texts.len());
        for slice in texts.chunks(TEXTS_PER_CALL) {
            match self.embed_slice(slice, purpose, priority, deadline).await {
                Ok(more) => vectors.extend(more),
                Err(failure) => {
                    // A full queue, or a long list that ran out of time half-way, says how much
                    // there is to do and not that the engine fails.
                    let is_load = matches!(failure, RetrievalError::Embed(EmbedError::Busy))
                        || (!vectors.is_empty() && Instant::now() >= deadline);
                    if !is_load {
                        self.remember(Some(chain(&failure)));
                    }
                    return (vectors, Some(failure));
                }
            }
        }
        if !vectors.is_empty() {
            self.remember(None);
        }
        (vectors, None)
    }

    async fn embed_slice(
        &self,
        texts: &[String],
        purpose: Purpose,
        priority: Priority,
        deadline: Instant,
    ) -> Result<Vec<Vec<f32>>, RetrievalError> {
        loop {
            let cleared = self.guard.clear(texts.to_vec(), self.embedder.destination())?;
            let answer = timeout_at(deadline, self.embedder.embed(cleared, purpose, priority)).await;
            let vectors = match answer {
                Err(_) => return Err(failed("it did not answer in time").into()),
                Ok(Err(EmbedError::Busy)) if Instant::now() + BUSY_PAUSE < deadline => {
                    sleep(BUSY_PAUSE).await;
                    continue;
                }
                Ok(answer) => answer?,
            };
            // A wrong number of vectors would put them to the wrong texts, silently.
            let fits =
                |vector: &Vec<f32>| vector.len() == self.dimension() && vector.iter().all(|c| c.is_finite());
            if vectors.len() != texts.len() || !vectors.iter().all(fits) {
                return Err(failed("its vectors do not fit its space").into());
            }
            return Ok(vectors);
        }
    }

    fn remember(&self, failure: Option<String>) {
        let mut last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*last, &failure) {
            (None, Some(reason)) => {
                tracing::warn!(%reason, "the embedding engine fails; answers come from keywords")
            }
            (Some(_), None) => tracing::info!("the embedding engine works again"),
            _ => {}
        }
        *last = failure;
    }
}

fn failed(reason: &'static str) -> EmbedError {
    EmbedError::Failed { source: reason.into() }
}

/// An error with its causes, for a person.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        // A transparent wrapper says the same twice.
        if !text.ends_with(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = error.source();
    }
    text
}
