//! Searching: the legs side by side, then one ranking, then passages.

use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{Corpus, Filter, TenantScope};
use atlas_embed::{EmbedError, Priority, Purpose};
use tokio::time::Instant;

use crate::api::{Leg, RetrievalError, SearchAnswer, SearchRequest};
use crate::legs::Question;
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
        query_vector(&tenant, &request.text).await
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
    query: Result<Option<Question>, RetrievalError>,
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
    if request.legs.vector && (query.is_none() || !vectors_are_whole(&tenant, &request.corpora)) {
        degraded.push(Leg::Vector);
    }

    let text = request.text.clone();
    let hits = shared
        .blocking({
            let tenant = tenant.clone();
            move |store| {
                let mut rankings = Vec::with_capacity(keywords.found.len());
                for (corpus, mut found) in keywords.found {
                    if let Some(question) = &query {
                        vector_leg::find(
                            store,
                            &tenant.scope,
                            corpus,
                            question,
                            &request.filter,
                            &mut found,
                        )?;
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
    let Some(legs) = tenant.serving() else { return false };
    let whole = |corpus: &Corpus| legs.leg(vector_leg::corpus_compared(*corpus)).map(|leg| leg.is_whole());
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

/// The vector of a question; `None` when no engine can be asked, or while the vectors of the first
/// one that can are still being made.
pub(crate) async fn query_vector(tenant: &Tenant, text: &str) -> Result<Option<Question>, RetrievalError> {
    let Some(legs) = tenant.serving() else { return Ok(None) };
    let deadline = Instant::now() + QUERY_TIME;
    let made =
        legs.vectors.embed(vec![text.to_owned()], Purpose::Query, Priority::Interactive, deadline).await?;
    // One text in, one vector out is checked where vectors are made.
    let vector = made.into_iter().next().ok_or(RetrievalError::Embed(EmbedError::Stopped))?;
    Ok(Some(Question { legs, vector }))
}
