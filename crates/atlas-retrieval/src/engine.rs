//! The embedding engine as the search path sees it: cleared texts in, checked vectors out, and a
//! memory of whether its last use worked.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use atlas_domain::SpaceId;
use atlas_embed::{
    CachedEmbedder, EmbedError, EmbedStats, Embedder, EmbeddingSpace, Priority, Purpose, TokenCounter,
};
use atlas_guard::Guard;
use tokio::time::{Instant, sleep, timeout_at};

use crate::api::{EmbeddingState, RetrievalError};

/// Vectors the engine made lately: alert texts and log templates repeat.
const CACHE_BYTES: usize = 64 << 20;
/// Texts per call. A call that does not return in time is lost whole, so not too many; outside of
/// the process a call costs a way there and back, and inside it keeps every core busy only while
/// there is a unit for each, so not too few.
const TEXTS_PER_CALL: usize = 128;
/// How long to wait before an engine that is busy is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(25);
/// How long it is asked. A queue that stays full longer is told to whoever asked: they can come
/// back later, and those who wait here would only make it longer.
const BUSY_PATIENCE: Duration = Duration::from_secs(5);

/// The engine of one space. The engine may be replaced, with a new key or at a new address; the
/// space stays.
pub(crate) struct Vectors {
    embedder: RwLock<Arc<CachedEmbedder>>,
    guard: Arc<Guard>,
    space: EmbeddingSpace,
    id: SpaceId,
    failure: Mutex<Option<String>>,
}

impl Vectors {
    pub(crate) fn new(inner: Arc<dyn Embedder>, guard: Arc<Guard>) -> Self {
        let space = inner.space().clone();
        let embedder = RwLock::new(Arc::new(CachedEmbedder::new(inner, CACHE_BYTES)));
        Self { embedder, guard, id: space.id(), space, failure: Mutex::default() }
    }

    /// Puts another engine of the same space in the place of this one, such as one with a new key.
    /// Calls that run finish on the old one. `false`, and nothing changes, when it is of another
    /// space.
    pub(crate) fn renew(&self, inner: Arc<dyn Embedder>) -> bool {
        let mut embedder = self.embedder.write().unwrap_or_else(PoisonError::into_inner);
        let Some(next) = embedder.in_front_of(inner) else { return false };
        *embedder = Arc::new(next);
        // What failed was the old one.
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
        true
    }

    fn embedder(&self) -> Arc<CachedEmbedder> {
        self.embedder.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn space(&self) -> &SpaceId {
        &self.id
    }

    /// The space in words.
    pub(crate) fn description(&self) -> &EmbeddingSpace {
        &self.space
    }

    pub(crate) fn dimension(&self) -> usize {
        self.space.dimension
    }

    pub(crate) fn tokens(&self) -> &dyn TokenCounter {
        self
    }

    pub(crate) fn state(&self) -> EmbeddingState {
        let space = self.space.clone();
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(reason) => EmbeddingState::Failing { space, reason },
            None => EmbeddingState::Ready { space },
        }
    }

    pub(crate) fn stats(&self) -> EmbedStats {
        self.embedder().stats()
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
                        self.remember(Some(&failure));
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
        let patience = deadline.min(Instant::now() + BUSY_PATIENCE);
        loop {
            // One engine from clearing to answer, whatever is replaced meanwhile.
            let embedder = self.embedder();
            let cleared = self.guard.clear(texts.to_vec(), embedder.destination())?;
            let answer = timeout_at(deadline, embedder.embed(cleared, purpose, priority)).await;
            let vectors = match answer {
                Err(_) => return Err(failed("it did not answer in time").into()),
                Ok(Err(EmbedError::Busy)) if Instant::now() + BUSY_PAUSE < patience => {
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

    fn remember(&self, failure: Option<&RetrievalError>) {
        let mut last = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*last, failure) {
            (None, Some(failure)) => {
                let reason = chain(failure);
                tracing::warn!(%reason, "the embedding engine fails; answers come from keywords")
            }
            (Some(_), None) => tracing::info!("the embedding engine works again"),
            _ => {}
        }
        *last = failure.map(shown);
    }
}

impl TokenCounter for Vectors {
    fn count_tokens(&self, text: &str) -> usize {
        self.embedder().tokens().count_tokens(text)
    }

    fn max_tokens(&self) -> usize {
        self.embedder().tokens().max_tokens()
    }
}

/// A failure for the status, which more people see than the log: without a provider's own words.
fn shown(failure: &RetrievalError) -> String {
    match failure {
        RetrievalError::Embed(EmbedError::Provider(error)) => match error.status() {
            Some(status) => format!("{} (status {status})", error.kind().sentence()),
            None => error.to_string(),
        },
        other => chain(other),
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

#[cfg(test)]
mod tests {
    use atlas_domain::{ProviderError, ProviderErrorKind};

    use super::*;

    #[track_caller]
    fn check(error: ProviderError, expect: &str) {
        assert_eq!(shown(&RetrievalError::Embed(error.into())), expect);
    }

    #[test]
    fn a_provider_is_not_quoted_in_the_status() {
        let refused = ProviderError::new(ProviderErrorKind::Credentials, "key of acme is unknown");
        check(refused.with_status(401), "the provider refused the credentials (status 401)");
        let limit = ProviderError::timeout("question");
        check(limit, "the provider did not answer in time: limit: question");
    }
}
