//! An embedder whose vectors a test makes up.

use std::sync::atomic::{AtomicUsize, Ordering};

use atlas_domain::{Destination, EmbeddingSpace, Pooling};
use atlas_guard::Cleared;
use futures_util::future::BoxFuture;

use crate::contract::{EmbedError, Embedder, Priority, Purpose, TokenCounter};

type Vectors = Result<Vec<Vec<f32>>, EmbedError>;
type Answer = dyn Fn(usize, &[String]) -> Vectors + Send + Sync;

/// Answers the nth call with what `answer` makes of n and the texts.
pub(crate) struct MadeUp {
    space: EmbeddingSpace,
    destination: Destination,
    answer: Box<Answer>,
    n_calls: AtomicUsize,
    n_texts: AtomicUsize,
}

impl MadeUp {
    pub(crate) fn new(
        model: &str,
        dimension: usize,
        answer: impl Fn(usize, &[String]) -> Vectors + Send + Sync + 'static,
    ) -> Self {
        let space = EmbeddingSpace {
            engine: "made up".into(),
            model: model.into(),
            revision: "r".into(),
            dimension,
            pooling: Pooling::Mean,
            precision: "f32".into(),
        };
        Self {
            space,
            destination: Destination::in_process(),
            answer: Box::new(answer),
            n_calls: AtomicUsize::new(0),
            n_texts: AtomicUsize::new(0),
        }
    }

    /// Texts of all calls.
    pub(crate) fn n_texts(&self) -> usize {
        self.n_texts.load(Ordering::SeqCst)
    }
}

impl TokenCounter for MadeUp {
    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }

    fn max_tokens(&self) -> usize {
        256
    }
}

impl Embedder for MadeUp {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn tokens(&self) -> &dyn TokenCounter {
        self
    }

    fn embed(&self, texts: Cleared<Vec<String>>, _: Purpose, _: Priority) -> BoxFuture<'_, Vectors> {
        let n = self.n_calls.fetch_add(1, Ordering::SeqCst);
        self.n_texts.fetch_add(texts.value().len(), Ordering::SeqCst);
        Box::pin(async move { (self.answer)(n, texts.value()) })
    }
}
