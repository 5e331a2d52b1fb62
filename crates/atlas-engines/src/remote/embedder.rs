//! An embedder outside this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use atlas_domain::{Check, Destination, Pooling, ProviderError, ProviderErrorKind as Kind};
use atlas_embed::{EmbedError, Embedder, EmbeddingSpace, Priority, Purpose, TokenCounter};
use atlas_guard::Cleared;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use super::batch;
use super::patience::{Memory, persistently};
use super::refusal::{is_batch_too_large, wants_less};
use super::{Known, Wire};

/// Requests at a time. One of them is kept free of bulk work, so that a question never waits for
/// an import.
const REQUESTS: usize = 4;
/// What a question may take. Below the 2 s after which search answers without it, so that it is
/// this engine that notices, and remembers.
const QUESTION_TIME: Duration = Duration::from_millis(1_800);
/// What measuring the dimension at loading may take.
const MEASURING_TIME: Duration = Duration::from_secs(30);
/// Bytes of an answer that is asked for, counted as JSON numbers; well below what is read at most.
const ANSWER_BYTES: usize = 10 << 20;
const BYTES_PER_NUMBER: usize = 14;
/// A text that is refused as too long is not halved below this.
const SHORTEST_BYTES: usize = 64;

/// One model of one provider.
pub(crate) struct RemoteEmbedder {
    space: EmbeddingSpace,
    prefixes: (String, String),
    wire: Arc<dyn Wire>,
    /// Texts per request: less after the server said so.
    texts: AtomicUsize,
    input_tokens: AtomicUsize,
    request_tokens: usize,
    input_chars: Option<usize>,
    /// Done when the server was asked about its limits.
    limits: OnceCell<()>,
    requests: Semaphore,
    bulk_requests: Semaphore,
    memory: Memory,
}

impl RemoteEmbedder {
    /// An embedder of a known dimension. Calls nobody.
    pub(crate) fn new(known: &Known, dimension: usize, wire: Arc<dyn Wire>) -> Self {
        Self {
            space: EmbeddingSpace {
                engine: known.label.into(),
                model: known.model.clone(),
                revision: known.revision(),
                dimension,
                pooling: Pooling::Remote,
                precision: "remote".into(),
            },
            prefixes: known.prefixes.clone(),
            wire,
            texts: AtomicUsize::new(known.texts.max(1)),
            input_tokens: AtomicUsize::new(known.input_tokens),
            request_tokens: known.request_tokens,
            input_chars: known.input_chars,
            limits: OnceCell::new(),
            requests: Semaphore::new(REQUESTS),
            bulk_requests: Semaphore::new(REQUESTS - 1),
            memory: Memory::default(),
        }
    }

    /// An embedder whose dimension is that of a first vector.
    pub(crate) async fn measured(known: &Known, wire: Arc<dyn Wire>) -> Result<Self, ProviderError> {
        let text = ["How long is a vector?".to_owned()];
        let measuring = persistently(Priority::Interactive, || wire.ask(&text, Purpose::Passage));
        let vectors =
            timeout(MEASURING_TIME, measuring).await.map_err(|_| ProviderError::timeout("loading"))??;
        match vectors.first().map(Vec::len) {
            Some(dimension) if dimension > 0 => Ok(Self::new(known, dimension, wire)),
            _ => Err(ProviderError::new(Kind::Protocol, "there is no vector in the answer")),
        }
    }

    async fn embed_all(
        &self,
        texts: Vec<String>,
        purpose: Purpose,
        priority: Priority,
    ) -> Result<Vec<Vec<f32>>, ProviderError> {
        self.memory.check()?;
        let work = self.embed_now(texts, purpose, priority);
        let made = match (purpose, priority) {
            (Purpose::Query, Priority::Interactive) => {
                timeout(QUESTION_TIME, work).await.unwrap_or_else(|_| Err(ProviderError::timeout("question")))
            }
            _ => work.await,
        };
        match &made {
            Ok(_) => self.memory.forget(),
            Err(error) => self.memory.note(error),
        }
        made
    }

    async fn embed_now(
        &self,
        texts: Vec<String>,
        purpose: Purpose,
        priority: Priority,
    ) -> Result<Vec<Vec<f32>>, ProviderError> {
        let mut vectors = vec![self.vector_of_nothing(); texts.len()];
        // Some servers refuse an empty text and some embed it; it has no meaning to lose.
        let (positions, texts): (Vec<usize>, Vec<String>) =
            texts.into_iter().enumerate().filter(|(_, text)| !text.trim().is_empty()).unzip();
        if texts.is_empty() {
            return Ok(vectors);
        }
        self.learn_limits(priority).await?;
        let texts: Vec<String> = texts.into_iter().map(|text| self.worded(text, purpose)).collect();
        let batches = batch::plan(&texts, self.texts_per_request(), self.request_tokens);
        let requests: Vec<_> =
            batches.into_iter().map(|range| self.batch(&texts[range], purpose, priority)).collect();
        let made: Vec<Vec<Vec<f32>>> = iter(requests).buffered(REQUESTS).try_collect().await?;
        for (position, vector) in positions.into_iter().zip(made.into_iter().flatten()) {
            vectors[position] = vector;
        }
        Ok(vectors)
    }

    /// The vector of a text without a word: some direction, always the same.
    fn vector_of_nothing(&self) -> Vec<f32> {
        let mut vector = vec![0.0; self.space.dimension];
        if let Some(first) = vector.first_mut() {
            *first = 1.0;
        }
        vector
    }

    /// The text with its purpose's prefix, cut to what the model reads.
    fn worded(&self, text: String, purpose: Purpose) -> String {
        let prefix = match purpose {
            Purpose::Passage => &self.prefixes.0,
            Purpose::Query => &self.prefixes.1,
        };
        let text = if prefix.is_empty() { text } else { format!("{prefix}{text}") };
        batch::fit(text, self.max_tokens(), self.input_chars)
    }

    fn texts_per_request(&self) -> usize {
        let fitting = ANSWER_BYTES / (self.space.dimension * BYTES_PER_NUMBER).max(1);
        self.texts.load(Ordering::Relaxed).min(fitting).max(1)
    }

    /// Asks the server about its limits, once.
    async fn learn_limits(&self, priority: Priority) -> Result<(), ProviderError> {
        let learn = || async {
            let limits = persistently(priority, || self.wire.limits()).await?;
            if let Some(texts) = limits.texts {
                self.texts.store(texts.max(1), Ordering::Relaxed);
            }
            if let Some(tokens) = limits.input_tokens {
                self.input_tokens.store(tokens, Ordering::Relaxed);
            }
            Ok(())
        };
        self.limits.get_or_try_init(learn).await.copied()
    }

    /// The vectors of one request's texts, by several requests if the server wants less at once.
    fn batch<'a>(
        &'a self,
        texts: &'a [String],
        purpose: Purpose,
        priority: Priority,
    ) -> BoxFuture<'a, Result<Vec<Vec<f32>>, ProviderError>> {
        async move {
            let error = match persistently(priority, || self.ask(texts, purpose, priority)).await {
                Ok(vectors) => return Ok(vectors),
                Err(error) if wants_less(&error) => error,
                Err(error) => return Err(error),
            };
            let half = texts.len() / 2;
            if half > 0 {
                if is_batch_too_large(&error) {
                    self.texts.fetch_min(half, Ordering::Relaxed);
                }
                let mut vectors = self.batch(&texts[..half], purpose, priority).await?;
                vectors.extend(self.batch(&texts[half..], purpose, priority).await?);
                return Ok(vectors);
            }
            // The estimate was too low for this text. Its beginning stands for it, as it does for
            // every text that is longer than a model reads; failing would fail every text after it.
            match texts {
                [text] if text.len() > SHORTEST_BYTES => {
                    self.batch(&[batch::halved(text)], purpose, priority).await
                }
                _ => Err(error),
            }
        }
        .boxed()
    }

    /// One request, its answer checked and normalised.
    async fn ask(
        &self,
        texts: &[String],
        purpose: Purpose,
        priority: Priority,
    ) -> Result<Vec<Vec<f32>>, ProviderError> {
        let closed = |_| ProviderError::new(Kind::Network, "the engine is stopping");
        let _bulk = match priority {
            Priority::Bulk => Some(self.bulk_requests.acquire().await.map_err(closed)?),
            Priority::Interactive => None,
        };
        let _request = self.requests.acquire().await.map_err(closed)?;
        let vectors = self.wire.ask(texts, purpose).await?;
        // A wrong number of vectors would put them to the wrong texts, silently.
        if vectors.len() != texts.len() {
            let detail = format!("{} vectors came back for {} texts", vectors.len(), texts.len());
            return Err(ProviderError::new(Kind::Protocol, detail));
        }
        vectors.into_iter().map(|vector| self.unit(vector)).collect()
    }

    /// A vector of this space, with the length 1 whatever the server's own scale is.
    fn unit(&self, mut vector: Vec<f32>) -> Result<Vec<f32>, ProviderError> {
        let expected = self.space.dimension;
        if vector.len() != expected {
            let reason = format!(
                "vectors of {} have {} components and {expected} are expected; set it to {} and restart",
                self.space.model,
                vector.len(),
                vector.len()
            );
            return Err(ProviderError::setting("EMBEDDING_DIMENSIONS", reason));
        }
        let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt() as f32;
        if !length.is_finite() || length == 0.0 {
            return Err(ProviderError::new(Kind::Protocol, "a vector has no direction"));
        }
        vector.iter_mut().for_each(|value| *value /= length);
        Ok(vector)
    }
}

impl TokenCounter for RemoteEmbedder {
    /// An estimate from above.
    fn count_tokens(&self, text: &str) -> usize {
        batch::tokens(text)
    }

    fn max_tokens(&self) -> usize {
        batch::room(self.input_tokens.load(Ordering::Relaxed))
    }
}

impl Embedder for RemoteEmbedder {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn destination(&self) -> &Destination {
        self.wire.destination()
    }

    fn tokens(&self) -> &dyn TokenCounter {
        self
    }

    fn embed(
        &self,
        texts: Cleared<Vec<String>>,
        purpose: Purpose,
        priority: Priority,
    ) -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        async move {
            if texts.destination() != self.destination() {
                let detail = "the text was cleared for another destination";
                return Err(ProviderError::new(Kind::Egress, detail).into());
            }
            Ok(self.embed_all(texts.into_value(), purpose, priority).await?)
        }
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        async {
            if let Some(check) = self.wire.reach().await {
                return vec![check];
            }
            // A test is about now.
            self.memory.forget();
            vec![atlas_embed::check_vectors(self).await]
        }
        .boxed()
    }
}

impl std::fmt::Debug for RemoteEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteEmbedder").field("space", &self.space).finish_non_exhaustive()
    }
}
