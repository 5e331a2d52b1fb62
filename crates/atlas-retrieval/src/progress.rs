//! How far the derived structures of a tenant are.

use std::sync::Arc;

use atlas_domain::{Corpus, EmbeddingSpace, Seq, TenantId, TenantScope};
use serde::Serialize;

use crate::api::{EmbeddingState, RetrievalError};
use crate::legs::SpaceLegs;
use crate::retrieval::Shared;
use crate::tenant::Tenant;

/// The derived structures of one tenant against its records.
#[derive(Debug, Clone, Serialize)]
pub struct IndexProgress {
    /// Whether nothing is left to do.
    pub complete: bool,
    /// The tenant's last change.
    pub seq: Seq,
    /// Each corpus that can be searched.
    pub corpora: Vec<CorpusProgress>,
    /// The vectors; absent without an engine.
    pub vectors: Option<VectorProgress>,
}

/// The legs of one corpus.
#[derive(Debug, Clone, Serialize)]
pub struct CorpusProgress {
    /// Which.
    pub corpus: Corpus,
    /// The last change that the word index covers.
    pub lexical: Option<Seq>,
    /// The last change that the vectors in memory cover.
    pub vector: Option<Seq>,
}

/// The vectors of one space.
#[derive(Debug, Clone, Serialize)]
pub struct VectorProgress {
    /// The space that answers; absent while words answer alone.
    pub serving: Option<EmbeddingSpace>,
    /// The space whose vectors are made to take over.
    pub filling: Option<EmbeddingSpace>,
    /// All chunks.
    pub chunks: u64,
    /// Those that have a vector in the space that is filled, or else in the one that answers.
    pub made: u64,
    /// Why no more are made at the moment.
    pub problem: Option<String>,
}

pub(crate) async fn of_tenant(
    shared: &Arc<Shared>,
    scope: &TenantScope,
) -> Result<IndexProgress, RetrievalError> {
    let tenant = shared.tenant(scope).await?;
    let asked = scope.clone();
    let seq = shared.blocking(move |store| store.last_seq(&asked)).await?;
    let vectors = vectors_of(shared, &tenant).await?;
    let legs = tenant.filling().or_else(|| tenant.serving());
    let corpora: Vec<CorpusProgress> = tenant
        .all_legs()
        .iter()
        .map(|of| CorpusProgress {
            corpus: of.corpus,
            lexical: of.lexical.as_ref().map(|leg| leg.covered()),
            vector: legs.as_ref().and_then(|legs| legs.leg(of.corpus)).map(|leg| leg.covered()),
        })
        .collect();
    let follows = |covered: &Option<Seq>| covered.is_none_or(|covered| covered >= seq);
    let legs_are_complete = corpora.iter().all(|of| follows(&of.lexical) && follows(&of.vector));
    let vectors_are_complete =
        vectors.as_ref().is_none_or(|vectors| vectors.filling.is_none() && vectors.made >= vectors.chunks);
    Ok(IndexProgress { complete: legs_are_complete && vectors_are_complete, seq, corpora, vectors })
}

pub(crate) async fn changing(
    shared: &Arc<Shared>,
) -> Result<Vec<(TenantId, VectorProgress)>, RetrievalError> {
    let mut changing = Vec::new();
    for tenant in shared.open_tenants().into_iter().filter(|tenant| tenant.filling().is_some()) {
        if let Some(progress) = vectors_of(shared, &tenant).await? {
            changing.push((tenant.scope.tenant().clone(), progress));
        }
    }
    changing.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(changing)
}

async fn vectors_of(
    shared: &Arc<Shared>,
    tenant: &Arc<Tenant>,
) -> Result<Option<VectorProgress>, RetrievalError> {
    let (serving, filling) = (tenant.serving(), tenant.filling());
    let Some(counted) = filling.as_ref().or(serving.as_ref()) else { return Ok(None) };
    let (scope, space) = (tenant.scope.clone(), counted.vectors.space().clone());
    let count = shared.blocking(move |store| store.vector_count(&scope, &space)).await?;
    let described = |legs: &Arc<SpaceLegs>| legs.vectors.description().clone();
    Ok(Some(VectorProgress {
        serving: serving.as_ref().map(described),
        filling: filling.as_ref().map(described),
        chunks: count.chunks,
        made: count.vectors,
        problem: match counted.vectors.state() {
            EmbeddingState::Failing { reason, .. } => Some(reason),
            EmbeddingState::Ready { .. } | EmbeddingState::KeywordsOnly => None,
        },
    }))
}
