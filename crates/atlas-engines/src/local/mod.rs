//! The engine in the process: a BERT sentence model on the CPU, no network, no second process.
//!
//! Vectors agree with sentence-transformers in fp32 (the tests hold them to a cosine of 0.99999):
//! the same cut at the model's limit, pooling over the tokens that are there, unit length.
//!
//! Not here: models of other families. `config.json` says `bert` or loading says why not.

mod model;
mod ops;
mod options;
#[cfg(test)]
mod tests;
mod tokens;
mod weights;
mod worker;

use std::sync::Arc;

use atlas_domain::{Destination, Pooling};
use atlas_embed::{EmbedError, Embedder, Embedding, EmbeddingSpace, Engine, Priority, Purpose, TokenCounter};
use atlas_guard::Cleared;
use futures_util::future::BoxFuture;

pub use options::LocalOptions;

use model::Bert;
use options::{ModelFiles, Place};
use tokens::Tokens;
use weights::Weights;
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
    destination: Destination,
    tokens: Arc<Tokens>,
    workers: Workers,
}

impl LocalEmbedder {
    /// Reads and checks the model. Blocks for the fraction of a second that this takes.
    pub fn load(options: &LocalOptions) -> Result<Self, EmbedError> {
        let files = ModelFiles::read(options)?;
        let place = Place(&files.place);
        let tokens = Tokens::parse(&files.tokenizer, files.max_tokens).map_err(|error| {
            place.unusable(format!(
                "tokenizer.json cannot be used ({error}); copy it again from the model's source"
            ))
        })?;
        if tokens.vocabulary() > files.config.vocab_size {
            return Err(place.unusable(format!(
                "tokenizer.json has {} words and config.json {}; they belong to different models",
                tokens.vocabulary(),
                files.config.vocab_size
            )));
        }
        let bert = Weights::parse(&files.weights)
            .and_then(|weights| Bert::load(&weights, &files.config, files.max_tokens))
            .map_err(|error| {
                place.unusable(format!("model.safetensors {error}; copy it again from the model's source"))
            })?;

        // One product runs on the thread that asks for it; without this `gemm` hands large ones to
        // rayon's pool, and the workers wait for each other. It is the process's only user.
        gemm::set_threading_threshold(usize::MAX);
        let tokens = Arc::new(tokens);
        let sentences = Sentences { bert, tokens: tokens.clone(), pooling: files.pooling };
        let threads = options
            .threads
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
            .max(1);
        let workers = Workers::start(sentences, limits(threads))
            .map_err(|source| EmbedError::Failed { source: Box::new(source) })?;
        Ok(Self {
            space: EmbeddingSpace {
                engine: LABEL.into(),
                model: files.name,
                revision: files.revision,
                dimension: files.config.hidden_size,
                pooling: files.pooling,
                precision: "f32".into(),
            },
            destination: Destination::in_process(),
            tokens,
            workers,
        })
    }
}

fn limits(threads: usize) -> Limits {
    Limits {
        threads,
        batch_tokens: 256,
        interactive_texts: 256,
        window_texts: 64,
        // Two windows per thread keep every thread busy while the caller reads the next texts.
        bulk_texts: 64 * 2 * threads,
    }
}

impl std::fmt::Debug for LocalEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalEmbedder").field("space", &self.space).finish_non_exhaustive()
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
}

/// Texts to unit vectors.
struct Sentences {
    bert: Bert,
    tokens: Arc<Tokens>,
    pooling: Pooling,
}

impl Encoder for Sentences {
    fn tokenize(&self, text: &str) -> Result<Vec<u32>, Cause> {
        self.tokens.encode(text)
    }

    fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>, Cause> {
        let rows = self.bert.forward(sequences)?;
        let (_, width) = rows.dims2()?;
        let states: Vec<f32> = rows.flatten_all()?.to_vec1()?;
        let mut rest = states.as_slice();
        sequences
            .iter()
            .map(|sequence| {
                let (own, others) = rest.split_at(sequence.len() * width);
                rest = others;
                unit(match self.pooling {
                    Pooling::Cls => own[..width].to_vec(),
                    Pooling::Mean | Pooling::Remote => mean(own, width),
                })
            })
            .collect()
    }
}

/// The sum serves as the mean: the length is divided away.
fn mean(states: &[f32], width: usize) -> Vec<f32> {
    let mut sum = vec![0.0; width];
    for state in states.chunks_exact(width) {
        sum.iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
    }
    sum
}

fn unit(mut vector: Vec<f32>) -> Result<Vec<f32>, Cause> {
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt() as f32;
    if !length.is_finite() || length == 0.0 {
        return Err("the model's weights give no direction for this text".into());
    }
    vector.iter_mut().for_each(|value| *value /= length);
    Ok(vector)
}
