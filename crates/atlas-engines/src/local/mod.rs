//! The engine in the process: a BERT-family sentence model on the CPU, no network, no second process.
//!
//! Vectors agree with sentence-transformers in fp32: the same cut at the model's limit, pooling
//! over the tokens that are there, unit length. How closely depends on the precision; the tests
//! hold each to its bar.
//!
//! Not here: models of other families. `config.json` names one of BERT's (`config`), or loading
//! says why not.

mod backend;
mod calibrate;
mod checkpoint;
mod config;
#[cfg(any(feature = "cuda", test))]
mod device;
mod fused;
mod model;
mod ops;
mod options;
mod precision;
mod smoothing;
#[cfg(test)]
mod tests;
mod tokens;
mod weights;
mod worker;

use std::sync::Arc;

use atlas_domain::Destination;
use atlas_embed::{
    EmbedError, EmbedStats, Embedder, Embedding, EmbeddingSpace, Engine, Priority, Purpose, TokenCounter,
};
use atlas_guard::Cleared;
use futures_util::future::BoxFuture;

pub use backend::Backend;
pub use calibrate::{calibrate, calibration_texts};
pub use options::LocalOptions;
pub use precision::Precision;

use atlas_kernels::encoder::Workspace;
use backend::{Loaded, Model};
use options::ModelFiles;
use tokens::Tokens;
use worker::{Cause, Encoder, Limits, Workers};

pub(crate) const LABEL: &str = "local";

/// The kind `local`.
#[derive(Debug, Clone)]
pub struct LocalEngine {
    options: LocalOptions,
}

impl LocalEngine {
    /// An engine that will load what the options name.
    pub fn new(options: LocalOptions) -> Self {
        Self { options }
    }
}

impl Engine for LocalEngine {
    fn label(&self) -> &'static str {
        LABEL
    }

    fn load(&self) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        let options = self.options.clone();
        Box::pin(async move {
            let loading = tokio::task::spawn_blocking(move || LocalEmbedder::load(&options));
            let embedder =
                loading.await.map_err(|source| EmbedError::Failed { source: Box::new(source) })??;
            Ok(Embedding::Vectors(Arc::new(embedder)))
        })
    }
}

/// A loaded model with its threads; they end when it is dropped.
pub struct LocalEmbedder {
    space: EmbeddingSpace,
    backend: Backend,
    destination: Destination,
    tokens: Arc<Tokens>,
    workers: Workers,
}

impl LocalEmbedder {
    /// Reads and checks the model. Blocks for the fraction of a second that this takes.
    pub fn load(options: &LocalOptions) -> Result<Self, EmbedError> {
        let files = ModelFiles::read(options)?;
        let tokens = files.tokens()?;
        let Loaded { model, precision, backend, is_smoothed } =
            Model::load(&files, options.precision, options.backend)?;

        // One product runs on the thread that asks for it; without this `gemm` hands large ones to
        // rayon's pool, and the workers wait for each other. It is the process's only user.
        gemm::set_threading_threshold(usize::MAX);
        let tokens = Arc::new(tokens);
        let dimension = files.config.hidden_size;
        let sentences = Sentences { model, tokens: tokens.clone(), dimension };
        let revision = if is_smoothed { files.smoothed_revision() } else { files.revision.clone() };
        let threads = options
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
            .max(1);
        let workers = Workers::start(sentences, limits(threads, backend))
            .map_err(|source| EmbedError::Failed { source: Box::new(source) })?;
        Ok(Self {
            space: EmbeddingSpace {
                engine: LABEL.into(),
                model: files.name,
                revision,
                dimension,
                pooling: files.pooling,
                precision: precision.word().into(),
            },
            backend,
            destination: Destination::in_process(),
            tokens,
            workers,
        })
    }
}

impl LocalEmbedder {
    /// What computes the vectors; never [`Backend::Best`].
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Tokens that the model sees of a text: special ones included, cut at its limit.
    pub fn input_tokens(&self, text: &str) -> usize {
        self.tokens.encode(text).map_or(0, |ids| ids.len())
    }
}

fn limits(threads: usize, backend: Backend) -> Limits {
    // What one step takes: a core has enough in some hundred tokens, a device in some thousand.
    let (unit_tokens, window_texts) = match backend {
        #[cfg(feature = "cuda")]
        Backend::Cuda => (8192, 512),
        Backend::Best | Backend::Reference | Backend::Fused(_) => (256, 64),
    };
    Limits {
        threads,
        unit_tokens,
        interactive_texts: 256,
        window_texts,
        // Two windows per thread keep every thread busy while the caller reads the next texts.
        bulk_texts: window_texts * 2 * threads,
        bulk_callers: 64,
        // An import beside a stream of queries keeps a ninth of the machine.
        overtakings: 8,
    }
}

impl std::fmt::Debug for LocalEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalEmbedder")
            .field("space", &self.space)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

impl TokenCounter for LocalEmbedder {
    fn count_tokens(&self, text: &str) -> usize {
        self.tokens.count(text)
    }

    fn max_tokens(&self) -> usize {
        self.tokens.room()
    }
}

impl Embedder for LocalEmbedder {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn tokens(&self) -> &dyn TokenCounter {
        self
    }

    /// The purpose changes nothing: the model is symmetric.
    fn embed(
        &self,
        texts: Cleared<Vec<String>>,
        _purpose: Purpose,
        priority: Priority,
    ) -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        Box::pin(self.workers.embed(texts.into_value(), priority))
    }

    fn stats(&self) -> EmbedStats {
        EmbedStats { cache: None, engine: Some(self.workers.stats()) }
    }
}

/// Texts to unit vectors.
struct Sentences {
    model: Model,
    tokens: Arc<Tokens>,
    dimension: usize,
}

impl Encoder for Sentences {
    type Scratch = Option<Workspace>;

    fn scratch(&self) -> Option<Workspace> {
        self.model.workspace()
    }

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>, Cause> {
        self.tokens.encode(text)
    }

    fn encode(
        &self,
        sequences: &[&[u32]],
        workspace: &mut Option<Workspace>,
        vectors: &mut [f32],
    ) -> Result<(), Cause> {
        self.model.encode(sequences, workspace, vectors)?;
        vectors.chunks_exact_mut(self.dimension).try_for_each(normalize)
    }
}

fn normalize(vector: &mut [f32]) -> Result<(), Cause> {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt() as f32;
    if !length.is_finite() || length == 0.0 {
        return Err("the model's weights give no direction for this text".into());
    }
    vector.iter_mut().for_each(|value| *value /= length);
    Ok(())
}
