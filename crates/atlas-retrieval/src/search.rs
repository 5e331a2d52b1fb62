//! Searching: the legs side by side, then one ranking, then passages.

use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{Corpus, Filter, TenantScope};
use atlas_embed::{EmbedError, Priority, Purpose};
use tokio::time::Instant;

use crate::api::{Leg, RetrievalError, SearchAnswer, SearchRequest};
use crate::ranking::{DEPTH, Found, merge, rank};
use crate::retrieval::Shared;
use crate::tenant::Tenant;
use crate::{passages, vector_leg};

/// Most hits in an answer.
pub(crate) const LIMIT: usize = 100;
/// How long a person waits for the engine before the words alone answer.
pub(crate) const QUERY_TIME: Duration = Duration::from_secs(2);
/// What of a very long query is used: a stack trace says what it is about at its begin.
const QUERY_BYTES: usize = 16 << 10;

pub(crate) async fn search(
    shared: &Arc<Shared>,
    scope: &TenantScope,
    request: SearchRequest,
) -> Result<SearchAnswer, RetrievalError> {
    let began = Instant::now();
    let request = checked(request)?;
    let tenant = shared.tenant(scope).await?;
    tenant.opened().await;

    let vector_question = async {
        if !request.legs.vector {
            return Ok(None);
        }
        query_vector(shared, &request.text).await
    };
    let (keywords, query) = tokio::join!(keywords(shared, &tenant, &request), vector_question);
    answer(shared, tenant, request, keywords, query, began).await
}

/// What the keyword legs found, by corpus, and why one could not answer.
pub(crate) struct Keywords {
    pub(crate) found: Vec<(Corpus, Found)>,
    pub(crate) failure: Option<String>,
}

/// Puts an answer together from the keyword legs and the query's vector.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    tenant: Arc<Tenant>,
    request: SearchRequest,
    keywords: Keywords,
    query: Result<Option<Vec<f32>>, RetrievalError>,
    began: Instant,
) -> Result<SearchAnswer, RetrievalError> {
    let mut degraded = Vec::new();
    let asked_for_words = request.legs.exact || request.legs.lexical;
    if asked_for_words && let Some(detail) = keywords.failure {
        if !request.legs.vector {
            return Err(RetrievalError::Index { detail });
        }
        if request.legs.exact {
            degraded.push(Leg::Exact);
        }
        if request.legs.lexical {
            degraded.push(Leg::Lexical);
        }
    } else if request.legs.lexical && !words_are_whole(&tenant, &request.corpora) {
        degraded.push(Leg::Lexical);
    }
    let query = match query {
        Ok(query) => query,
        Err(error) if !asked_for_words => return Err(error),
        Err(_) => None,
    };
    let query = query.zip(shared.vectors()).map(|(query, vectors)| (vectors.space().clone(), query));
    let in_store = shared.store.vector_search().is_some();
    let whole = || in_store || vectors_are_whole(&tenant, &request.corpora);
    if request.legs.vector && (query.is_none() || !whole()) {
        degraded.push(Leg::Vector);
    }

    let text = request.text.clone();
    let hits = shared
        .blocking({
            let tenant = tenant.clone();
            move |store| {
                let mut rankings = Vec::with_capacity(keywords.found.len());
                for (corpus, mut found) in keywords.found {
                    if let Some(query) = &query {
                        vector_leg::find(store, &tenant, corpus, query, &request.filter, &mut found)?;
                    }
                    rankings.push(rank(corpus, found));
                }
                passages::hits(store, &tenant.scope, merge(rankings), &text, &request.filter, request.limit)
            }
        })
        .await?;
    Ok(SearchAnswer { hits, degraded, took: began.elapsed() })
}

fn words_are_whole(tenant: &Tenant, corpora: &[Corpus]) -> bool {
    let whole = |corpus: &Corpus| tenant.legs(*corpus)?.lexical.as_ref().map(|leg| leg.is_whole());
    corpora.iter().all(|corpus| whole(corpus).unwrap_or(false))
}

fn vectors_are_whole(tenant: &Tenant, corpora: &[Corpus]) -> bool {
    let whole = |corpus: &Corpus| {
        tenant.legs(vector_leg::corpus_compared(*corpus))?.vector().map(|leg| leg.is_whole())
    };
    corpora.iter().all(|corpus| whole(corpus).unwrap_or(false))
}

fn checked(mut request: SearchRequest) -> Result<SearchRequest, RetrievalError> {
    let refused = |field, reason: &str| Err(RetrievalError::Request { field, reason: reason.into() });
    if request.text.trim().is_empty() {
        return refused("query", "it is empty");
    }
    if request.corpora.is_empty() {
        return refused("corpora", "there is none");
    }
    if let Some(corpus) = request.corpora.iter().find(|corpus| !Corpus::SEARCHABLE.contains(corpus)) {
        return refused("corpora", &format!("{corpus} cannot be searched"));
    }
    if !(request.legs.exact || request.legs.lexical || request.legs.vector) {
        return refused("legs", "there is none");
    }
    request.corpora.sort_unstable();
    request.corpora.dedup();
    request.limit = request.limit.clamp(1, LIMIT);
    request.text.truncate(request.text.floor_char_boundary(QUERY_BYTES));
    Ok(request)
}

/// Asks the exact and lexical legs. Takes what a leg has while it is still being filled.
pub(crate) async fn keywords(
    shared: &Arc<Shared>,
    tenant: &Arc<Tenant>,
    request: &SearchRequest,
) -> Keywords {
    let (tenant, request) = (tenant.clone(), request.clone());
    shared
        .off_worker(move || {
            let mut answer = Keywords { found: Vec::new(), failure: None };
            for corpus in &request.corpora {
                let found = corpus_keywords(&tenant, *corpus, &request, &request.filter);
                let found = found.unwrap_or_else(|reason| {
                    tracing::warn!(%corpus, %reason, "the lexical leg did not answer");
                    // It may have been damaged: the next round looks.
                    tenant.wake();
                    answer.failure = Some(reason);
                    Found::default()
                });
                answer.found.push((*corpus, found));
            }
            answer
        })
        .await
}

fn corpus_keywords(
    tenant: &Tenant,
    corpus: Corpus,
    request: &SearchRequest,
    filter: &Filter,
) -> Result<Found, String> {
    let mut found = Found::default();
    if let Some(lexical) = tenant.legs(corpus).and_then(|legs| legs.lexical.as_ref()) {
        let pairs =
            |hits: Vec<atlas_index::LexicalHit>| hits.into_iter().map(|hit| (hit.id, hit.score)).collect();
        if request.legs.exact {
            found.exact = pairs(lexical.exact(&request.text, filter, DEPTH)?);
        }
        if request.legs.lexical {
            found.lexical = pairs(lexical.search(&request.text, filter, DEPTH)?);
        }
    }
    Ok(found)
}

/// The vector of a question; `None` when there is no engine.
pub(crate) async fn query_vector(shared: &Shared, text: &str) -> Result<Option<Vec<f32>>, RetrievalError> {
    let Some(vectors) = shared.vectors() else { return Ok(None) };
    let deadline = Instant::now() + QUERY_TIME;
    let made = vectors.embed(vec![text.to_owned()], Purpose::Query, Priority::Interactive, deadline).await?;
    // One text in, one vector out is checked where vectors are made.
    made.into_iter().next().map(Some).ok_or(RetrievalError::Embed(EmbedError::Stopped))
}
