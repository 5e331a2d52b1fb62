//! Making the vectors that are missing, and changing to another engine when none is.

use std::sync::Arc;
use std::time::Duration;

use atlas_embed::{Priority, Purpose};
use tokio::time::Instant;

use crate::chunk::embedded_text;
use crate::engine::chain;
use crate::legs::SpaceLegs;
use crate::memory::Vector;
use crate::retrieval::Shared;
use crate::tenant::Tenant;

/// Chunks per round: one transaction, and one wait for people in between.
const CHUNKS: usize = 64;
/// Time for one round on a slow machine.
const TIME: Duration = Duration::from_secs(60);
/// Vectors of a space nobody needs any more that are dropped at once: writers wait meanwhile.
const DROPPED: usize = 1_000;

/// Works until nothing is left or the engine fails.
pub(crate) async fn work(shared: &Arc<Shared>, tenant: &Arc<Tenant>) -> Result<(), String> {
    while let Some(filling) = tenant.filling() {
        if !embed(shared, tenant, &filling).await? {
            continue;
        }
        // What was made has to be searchable before it answers.
        tenant.indexed().await?;
        if tenant.switch_to(&filling) {
            let space = filling.vectors.description();
            tracing::info!(tenant = %tenant.scope.tenant(), engine = %space.engine, model = %space.model,
                "search by meaning has changed to another engine");
        }
    }
    let Some(serving) = tenant.serving() else { return Ok(()) };
    if embed(shared, tenant, &serving).await? {
        drop_others(shared, tenant, &serving).await?;
    }
    Ok(())
}

/// Whether these legs still answer or are to.
fn are_wanted(tenant: &Tenant, legs: &Arc<SpaceLegs>) -> bool {
    [tenant.serving(), tenant.filling()].iter().flatten().any(|wanted| Arc::ptr_eq(wanted, legs))
}

/// Embeds until no chunk lacks a vector in the space of these legs; `false` when they are not
/// wanted any more.
async fn embed(shared: &Arc<Shared>, tenant: &Arc<Tenant>, legs: &Arc<SpaceLegs>) -> Result<bool, String> {
    let vectors = &legs.vectors;
    loop {
        if !are_wanted(tenant, legs) {
            return Ok(false);
        }
        let (scope, space) = (tenant.scope.clone(), vectors.space().clone());
        let chunks = shared
            .blocking(move |store| store.chunks_without_vector(&scope, &space, CHUNKS))
            .await
            .map_err(|error| chain(&error))?;
        if chunks.is_empty() {
            return Ok(true);
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

/// Drops the vectors of every other space, unless another engine is to take over.
async fn drop_others(
    shared: &Arc<Shared>,
    tenant: &Arc<Tenant>,
    serving: &Arc<SpaceLegs>,
) -> Result<(), String> {
    // Other servers may still answer by them, and would make them again.
    if shared.store.others().is_some() {
        return Ok(());
    }
    let scope = tenant.scope.clone();
    let stored = shared.blocking(move |store| store.spaces(&scope)).await.map_err(|error| chain(&error))?;
    let others: Vec<_> = stored.into_iter().filter(|space| !serving.is_of(space)).collect();
    if !others.is_empty() {
        let legs = Arc::clone(serving);
        shared.off_worker(move || legs.all().for_each(Vector::remove_others)).await;
    }
    for space in others {
        let mut dropped = DROPPED as u64;
        while dropped == DROPPED as u64 {
            if tenant.filling().is_some() || !are_wanted(tenant, serving) {
                return Ok(());
            }
            let (scope, space) = (tenant.scope.clone(), space.clone());
            dropped = shared
                .blocking(move |store| store.drop_vectors(&scope, &space, DROPPED))
                .await
                .map_err(|error| chain(&error))?;
        }
    }
    Ok(())
}
