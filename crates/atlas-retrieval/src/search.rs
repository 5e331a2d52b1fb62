//! Searching: the legs side by side, then one ranking, then passages.

use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{Corpus, TenantScope};
use atlas_embed::{EmbedError, Priority, Purpose};
use atlas_index::{LexicalHit, LexicalQuery};
use tokio::time::Instant;

use crate::api::{Leg, RetrievalError, SearchAnswer, SearchRequest};
use crate::asked::Asked;
use crate::legs::Meaning;
use crate::question::Question;
use crate::ranking::{DEPTH, Found, SPARE, merge, rank};
use crate::retrieval::Shared;
use crate::tenant::Tenant;
use crate::{confidence, passages, vector_leg};

/// How long a person waits for the engine before the words alone answer.
pub(crate) const QUERY_TIME: Duration = Duration::from_secs(2);

pub(crate) async fn search(
    shared: &Arc<Shared>,
    scope: &TenantScope,
    request: SearchRequest,
) -> Result<SearchAnswer, RetrievalError> {
    let began = Instant::now();
    let asked = Asked::of(request)?;
    let tenant = shared.tenant(scope).await?;
    tenant.opened().await;

    let vector_question = async {
        if !asked.compares_meaning() {
            return Ok(None);
        }
        query_vector(&tenant, &asked.question.text).await
    };
    let (keywords, query) = tokio::join!(keywords(shared, &tenant, &asked), vector_question);
    answer(shared, tenant, asked, keywords, query, began).await
}

/// What the keyword legs found, by corpus, and why one could not answer.
pub(crate) struct Keywords {
    pub(crate) found: Vec<(Corpus, Found)>,
    pub(crate) failure: Option<String>,
    /// The question that was answered: not the one that was asked, if nothing has its phrases.
    question: Question,
}

/// Puts an answer together from the keyword legs and the query's vector.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    tenant: Arc<Tenant>,
    asked: Asked,
    keywords: Keywords,
    meaning: Result<Option<Meaning>, RetrievalError>,
    began: Instant,
) -> Result<SearchAnswer, RetrievalError> {
    let Keywords { found, failure, question } = keywords;
    let mut degraded = Vec::new();
    let asked_for_words = asked.legs.exact || asked.legs.lexical;
    if asked_for_words && let Some(detail) = failure {
        if !asked.legs.vector {
            return Err(RetrievalError::Index { detail });
        }
        if asked.legs.exact {
            degraded.push(Leg::Exact);
        }
        if asked.legs.lexical {
            degraded.push(Leg::Lexical);
        }
    } else if asked.legs.lexical && !words_are_whole(&tenant, &asked.corpora) {
        degraded.push(Leg::Lexical);
    }
    let meaning = match meaning {
        Ok(meaning) => meaning,
        Err(error) if !asked_for_words => return Err(error),
        Err(_) => None,
    };
    let in_store = shared.store.vector_search().is_some();
    let whole = || in_store || vectors_are_whole(&tenant, &asked.corpora);
    if asked.compares_meaning() && (meaning.is_none() || !whole()) {
        degraded.push(Leg::Vector);
    }

    let (read_as, notes) = (asked.read_as, question.notes.clone());
    let (hits, confidence) = shared
        .blocking(move |store| {
            let best_share = found.iter().map(|(_, found)| found.best_share()).fold(0.0, f32::max);
            let mut rankings = Vec::with_capacity(found.len());
            for (corpus, mut found) in found {
                if let Some(meaning) = &meaning {
                    vector_leg::find(store, &tenant, corpus, meaning, &question, &mut found)?;
                }
                rankings.push(rank(corpus, found, best_share));
            }
            let ranking = merge(rankings);
            let confidence = confidence::of(ranking.first());
            let scope = &tenant.scope;
            let hits = passages::hits(store, scope, ranking, &question, asked.limit, asked.explain)?;
            Ok((hits, confidence))
        })
        .await?;
    let (matches, confidence) = confidence::judge(hits.is_empty(), confidence);
    Ok(SearchAnswer { hits, matches, confidence, read_as, notes, degraded, took: began.elapsed() })
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

/// Asks the exact and lexical legs. Takes what a leg has while it is still being filled.
pub(crate) async fn keywords(shared: &Arc<Shared>, tenant: &Arc<Tenant>, asked: &Asked) -> Keywords {
    let (tenant, asked) = (tenant.clone(), asked.clone());
    shared
        .off_worker(move || {
            let answer = all_keywords(&tenant, &asked, asked.question.clone());
            let nothing = |answer: &Keywords| answer.found.iter().all(|(_, found)| found.is_empty());
            match answer.question.without_demanded_phrases() {
                Some(relaxed) if asked.legs.lexical && nothing(&answer) && answer.failure.is_none() => {
                    all_keywords(&tenant, &asked, relaxed)
                }
                _ => answer,
            }
        })
        .await
}

fn all_keywords(tenant: &Tenant, asked: &Asked, question: Question) -> Keywords {
    let mut answer = Keywords { found: Vec::new(), failure: None, question };
    for corpus in &asked.corpora {
        let found = corpus_keywords(tenant, *corpus, asked, &mut answer.question);
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
}

fn corpus_keywords(
    tenant: &Tenant,
    corpus: Corpus,
    asked: &Asked,
    question: &mut Question,
) -> Result<Found, String> {
    let mut found = Found::default();
    let Some(lexical) = tenant.legs(corpus).and_then(|legs| legs.lexical.as_ref()) else { return Ok(found) };
    if asked.is_contradiction {
        return Ok(found);
    }
    let pairs = |hits: Vec<LexicalHit>| hits.into_iter().map(|hit| (hit.id, hit.score)).collect();
    let query = LexicalQuery {
        text: &question.text,
        phrases: &question.phrases,
        filter: &question.filter,
        demands: &question.demands,
    };
    if asked.legs.exact && asked.has_words() {
        found.exact = pairs(lexical.exact(query, DEPTH)?);
    }
    if asked.legs.lexical {
        let ranks_alone = found.exact.is_empty() && !(asked.compares_meaning() && tenant.serving().is_some());
        let depth = if ranks_alone { asked.limit.saturating_add(SPARE) } else { DEPTH };
        let answer = lexical.search(query, depth)?;
        found.lexical = pairs(answer.hits);
        found.best_possible = answer.best_possible;
        for correction in answer.corrections {
            let readings = correction.readings.join(", ");
            question.note(&correction.word, format!("it is in no record of {corpus}; searched {readings}"));
        }
    }
    Ok(found)
}

/// The vector of a question; `None` when no engine can be asked, or while the vectors of the first
/// one that can are still being made.
pub(crate) async fn query_vector(tenant: &Tenant, text: &str) -> Result<Option<Meaning>, RetrievalError> {
    let Some(legs) = tenant.serving() else { return Ok(None) };
    let deadline = Instant::now() + QUERY_TIME;
    let made =
        legs.vectors.embed(vec![text.to_owned()], Purpose::Query, Priority::Interactive, deadline).await?;
    // One text in, one vector out is checked where vectors are made.
    let vector = made.into_iter().next().ok_or(RetrievalError::Embed(EmbedError::Stopped))?;
    Ok(Some(Meaning { legs, vector }))
}
