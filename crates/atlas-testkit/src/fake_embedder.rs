//! An embedding engine for tests: a text is the bag of its words, hashed into a few dimensions.
//! Texts that share words are near, the same text has cosine 1, and the test decides whether the
//! engine works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use atlas_domain::{Destination, DestinationClass, EmbeddingSpace, Pooling, TextHash};
use atlas_embed::{EmbedError, Embedder, Embedding, Priority, Purpose, TokenCounter};
use atlas_guard::Cleared;
use futures_util::future::BoxFuture;

/// Enough that the words of these tests do not fall together.
const DIMENSION: usize = 2_048;

/// The engine. Its switches may be turned while it is in use.
#[derive(Debug)]
pub struct Words {
    space: EmbeddingSpace,
    destination: Destination,
    /// Every call fails.
    pub failing: AtomicBool,
    /// Every call is told that the queue is full.
    pub busy: AtomicBool,
    /// No call ends.
    pub hanging: AtomicBool,
    /// Texts embedded so far.
    pub n_embedded: AtomicUsize,
}

impl Words {
    /// In this process.
    pub fn new() -> Arc<Self> {
        Self::of_model("bag-of-words", Destination::in_process())
    }

    /// The same outside the process, so that the guard has something to do.
    pub fn outside() -> Arc<Self> {
        Self::of_model("bag-of-words", Destination::host(DestinationClass::Public, "embed.example"))
    }

    /// With a name and a place of its own: another name is another space.
    pub fn of_model(model: &str, destination: Destination) -> Arc<Self> {
        let space = EmbeddingSpace {
            engine: "fake".into(),
            model: model.into(),
            revision: "1".into(),
            dimension: DIMENSION,
            pooling: Pooling::Mean,
            precision: "f32".into(),
        };
        Arc::new(Self {
            space,
            destination,
            failing: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            hanging: AtomicBool::new(false),
            n_embedded: AtomicUsize::new(0),
        })
    }

    /// Ready for the search path.
    pub fn engine() -> Embedding {
        Embedding::Vectors(Self::new())
    }

    fn vector(text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; DIMENSION];
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let hash = TextHash::of(&word.to_lowercase()).0;
            vector[usize::from(u16::from_le_bytes([hash[8], hash[9]])) % DIMENSION] += 1.0;
            vector[usize::from(u16::from_le_bytes([hash[10], hash[11]])) % DIMENSION] += 0.5;
        }
        let length = vector.iter().map(|c: &f32| c * c).sum::<f32>().sqrt();
        match length > 0.0 {
            true => vector.iter_mut().for_each(|c| *c /= length),
            false => vector[0] = 1.0,
        }
        vector
    }
}

impl TokenCounter for Words {
    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn max_tokens(&self) -> usize {
        64
    }
}

impl Embedder for Words {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn tokens(&self) -> &dyn TokenCounter {
        self
    }

    fn embed(
        &self,
        texts: Cleared<Vec<String>>,
        _: Purpose,
        _: Priority,
    ) -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        Box::pin(async move {
            if self.hanging.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if self.busy.load(Ordering::SeqCst) {
                return Err(EmbedError::Busy);
            }
            if self.failing.load(Ordering::SeqCst) {
                return Err(EmbedError::Failed { source: "the test said so".into() });
            }
            self.n_embedded.fetch_add(texts.value().len(), Ordering::SeqCst);
            Ok(texts.value().iter().map(|text| Self::vector(text)).collect())
        })
    }
}
