//! Vectors of texts for callers that are not the search: other tools that use this server's
//! engine.

use std::sync::Arc;
use std::time::Duration;

use atlas_embed::{EmbeddingSpace, Priority, Purpose};
use tokio::time::Instant;

use crate::api::{EmbeddingState, RetrievalError};
use crate::retrieval::Shared;

/// Time for a list of texts: a list of two thousand takes minutes on a small machine.
const TIME: Duration = Duration::from_secs(240);
/// Above this many texts nobody waits for each.
const INTERACTIVE_TEXTS: usize = 8;

/// Vectors of texts, and what they cost.
#[derive(Debug, Clone)]
pub struct EmbeddedTexts {
    /// The space of the vectors.
    pub space: EmbeddingSpace,
    /// In the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// Word pieces of all texts, as the engine counts them.
    pub tokens: u64,
}

pub(crate) async fn embed(
    shared: &Arc<Shared>,
    texts: Vec<String>,
    purpose: Purpose,
) -> Result<Option<EmbeddedTexts>, RetrievalError> {
    let Some(vectors) = shared.vectors() else { return Ok(None) };
    let (EmbeddingState::Ready { space } | EmbeddingState::Failing { space, .. }) = vectors.state() else {
        return Ok(None);
    };
    let priority = if texts.len() > INTERACTIVE_TEXTS { Priority::Bulk } else { Priority::Interactive };
    let counter = Arc::clone(&vectors);
    let count = move || {
        let tokens = texts.iter().map(|text| counter.tokens().count_tokens(text) as u64).sum();
        (texts, tokens)
    };
    let (texts, tokens) = shared.off_worker(count).await;
    let vectors = vectors.embed(texts, purpose, priority, Instant::now() + TIME).await?;
    Ok(Some(EmbeddedTexts { space, vectors, tokens }))
}
