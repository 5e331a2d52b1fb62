//! The traits and their one error.

use std::sync::Arc;

use atlas_domain::{Check, Destination, EmbeddingSpace, Fault, ProviderError, Retry};
use atlas_guard::Cleared;
use futures_util::future::BoxFuture;

use crate::check::check_vectors;
use crate::stats::EmbedStats;

/// What the vectors are for. Asymmetric models embed a question and a passage differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Text that will be found.
    Passage,
    /// Text that searches.
    Query,
}

/// Who waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A person waits: overtakes bulk work between two batches.
    Interactive,
    /// An import or a rebuild.
    Bulk,
}

/// Counts word pieces as the engine will.
pub trait TokenCounter: Send + Sync {
    /// Word pieces of `text` without the special tokens around it. May block for microseconds.
    fn count_tokens(&self, text: &str) -> usize;

    /// Word pieces per input that the engine reads; what is beyond is cut by the engine.
    fn max_tokens(&self) -> usize;
}

/// One loaded engine: a fixed space and a way into it.
///
/// Implementers owe: vectors in the order of the inputs, one per input, of unit length and of
/// `space().dimension` components; any text is accepted, the empty one included; dropping the
/// future gives up the work that has not begun; never blocks the async worker.
pub trait Embedder: Send + Sync {
    /// The space of every vector this embedder makes.
    fn space(&self) -> &EmbeddingSpace;

    /// Where texts go to be embedded. Clear them for this.
    fn destination(&self) -> &Destination;

    /// The counter for chunking.
    fn tokens(&self) -> &dyn TokenCounter;

    /// Embeds texts.
    fn embed(
        &self,
        texts: Cleared<Vec<String>>,
        purpose: Purpose,
        priority: Priority,
    ) -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>>;

    /// The checks `embeddings` of the connection test: dimension, length, and the same vector for
    /// the same text. Uses the engine itself, not what a cache or an earlier failure would answer.
    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async { vec![check_vectors(self).await] })
    }

    /// What it has done so far. An engine that only passes texts on has nothing to tell.
    fn stats(&self) -> EmbedStats {
        EmbedStats::default()
    }
}

/// What loading an engine gives.
#[derive(Clone)]
pub enum Embedding {
    /// Vectors of one space.
    Vectors(Arc<dyn Embedder>),
    /// No vectors: search has its lexical leg only, and says so.
    KeywordsOnly,
}

impl std::fmt::Debug for Embedding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Vectors(embedder) => f.debug_tuple("Vectors").field(embedder.space()).finish(),
            Self::KeywordsOnly => f.write_str("KeywordsOnly"),
        }
    }
}

/// A kind of embedding engine.
pub trait Engine: Send + Sync {
    /// The value of `EMBEDDING_PROVIDER` that names it.
    fn label(&self) -> &'static str;

    /// Loads it. The same function serves start-up and the connection test. May take seconds.
    ///
    /// An engine outside this process is called only when nothing else says how long its vectors
    /// are, so an outage seldom keeps it from loading. When one does, the error's
    /// [`retry`](EmbedError::retry) says whether to load again later.
    fn load(&self) -> BoxFuture<'_, Result<Embedding, EmbedError>>;
}

/// Why there are no vectors.
#[derive(Debug, thiserror::Error)]
pub enum EmbedError {
    /// The model's files are missing, damaged or of a kind the engine cannot run.
    #[error("the embedding model in {place} cannot be used: {reason}")]
    Model {
        /// Directory, or `the binary`.
        place: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// The bounded queue is full.
    #[error("the embedding engine has more work than it can queue")]
    Busy,
    /// The engine failed on this input.
    #[error("the embedding engine failed")]
    Failed {
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine has been shut down.
    #[error("the embedding engine has stopped")]
    Stopped,
    /// An engine outside this process did not answer as it should.
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

impl EmbedError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Model { .. } => Fault::Settings,
            Self::Busy => Fault::Capacity,
            Self::Failed { .. } | Self::Stopped => Fault::Ourselves,
            Self::Provider(error) => error.fault(),
        }
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy => Retry::Now,
            Self::Model { .. } | Self::Failed { .. } | Self::Stopped => Retry::Never,
            Self::Provider(error) => error.retry(),
        }
    }
}
