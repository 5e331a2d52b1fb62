//! Embedding chunks that were committed without a vector.

use std::sync::Arc;
use std::time::Duration;

use atlas_embed::{Priority, Purpose};
use tokio::time::Instant;

use crate::chunk::embedded_text;
use crate::engine::{Vectors, chain};
use crate::retrieval::Shared;
use crate::tenant::Tenant;

/// Chunks per round: one transaction, and one wait for people in between.
const CHUNKS: usize = 64;
/// Time for one round on a slow machine.
const TIME: Duration = Duration::from_secs(60);

/// Embeds until nothing is left or the engine fails.
pub(crate) async fn embed(
    shared: &Arc<Shared>,
    tenant: &Arc<Tenant>,
    vectors: &Vectors,
) -> Result<(), String> {
    loop {
        let (scope, space) = (tenant.scope.clone(), vectors.space().clone());
        let chunks = shared
            .blocking(move |store| store.chunks_without_vector(&scope, &space, CHUNKS))
            .await
            .map_err(|error| chain(&error))?;
        if chunks.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> =
            chunks.iter().map(|chunk| embedded_text(&chunk.heading, &chunk.text)).collect();
        let (made, failure) =
            vectors.embed_until(texts, Purpose::Passage, Priority::Bulk, Instant::now() + TIME).await;
        if !made.is_empty() {
            let made: Vec<_> = chunks.iter().map(|chunk| chunk.id).zip(made).collect();
            let (scope, space, waker) = (tenant.scope.clone(), vectors.space().clone(), tenant.clone());
            shared
                .blocking(move |store| {
                    let stored = store.put_vectors(&scope, &space, made);
                    waker.wake();
                    stored
                })
                .await
                .map_err(|error| chain(&error))?;
        }
        if let Some(failure) = failure {
            return Err(chain(&failure));
        }
    }
}
