//! Records near a record, records near texts, and vectors of texts.

use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{Corpus, Filter, RecordId, RecordKey, TenantScope};
use atlas_embed::{Priority, Purpose};
use tokio::time::Instant;

use crate::api::{Legs, RetrievalError, SearchAnswer, SearchRequest, Syntax};
use crate::asked::{Asked, LIMIT};
use crate::engine::Vectors;
use crate::legs::Meaning;
use crate::retrieval::Shared;
use crate::search;
use crate::vector_leg;

/// Time for the vectors of a list of texts.
const TEXTS_TIME: Duration = Duration::from_secs(20);
/// Above this many texts nobody waits for each.
const INTERACTIVE_TEXTS: usize = 8;
/// What of a record is asked about when its words ask: its title and the begin of its text.
const QUESTION_CHARS: usize = 1_200;

pub(crate) async fn similar(
    shared: &Arc<Shared>,
    scope: &TenantScope,
    key: &RecordKey,
    corpus: Corpus,
    filter: Filter,
    limit: usize,
) -> Result<SearchAnswer, RetrievalError> {
    let began = Instant::now();
    let tenant = shared.tenant(scope).await?;
    tenant.opened().await;
    let serving = tenant.serving();
    let space = serving.as_ref().map(|legs| legs.vectors.space().clone());
    let (record, rows) = shared
        .blocking({
            let (scope, key) = (scope.clone(), key.clone());
            move |store| {
                let record = store.get(&scope, &key)?;
                let rows = match (&record, space) {
                    (Some(_), Some(space)) => store.vectors_of(&scope, &key, &space)?,
                    _ => Vec::new(),
                };
                Ok((record, rows))
            }
        })
        .await?;
    let record = record.ok_or_else(|| RetrievalError::NotFound(key.clone()))?;

    let text: String =
        record.title.chars().chain(['\n']).chain(record.text.chars()).take(QUESTION_CHARS).collect();
    let limit = limit.clamp(1, LIMIT);
    let legs = Legs { exact: false, lexical: true, vector: true };
    let request = SearchRequest {
        text,
        syntax: Syntax::Words,
        corpora: vec![corpus],
        filter,
        limit,
        legs,
        explain: false,
    };
    let mut asked = Asked::of(request)?;
    // The record itself is the best hit and is left out.
    asked.limit = limit + 1;
    let query = async {
        match mean(rows.into_iter().map(|row| row.vector)).zip(serving) {
            Some((vector, legs)) => Ok(Some(Meaning { legs, vector })),
            None => search::query_vector(&tenant, &asked.question.text).await,
        }
    };
    let (keywords, query) = tokio::join!(search::keywords(shared, &tenant, &asked), query);
    let mut answer = search::answer(shared, tenant, asked, keywords, query, began).await?;
    answer.hits.retain(|hit| hit.key != *key);
    answer.hits.truncate(limit);
    Ok(answer)
}

/// The direction of several vectors; `None` when there is none.
fn mean(vectors: impl Iterator<Item = Vec<f32>>) -> Option<Vec<f32>> {
    let mut sum = vectors.reduce(|mut sum, vector| {
        sum.iter_mut().zip(&vector).for_each(|(total, component)| *total += component);
        sum
    })?;
    let length = sum.iter().map(|component| component * component).sum::<f32>().sqrt();
    // Opposite passages cancel out: then there is no direction.
    if length < 1e-6 {
        return None;
    }
    sum.iter_mut().for_each(|component| *component /= length);
    Some(sum)
}

pub(crate) async fn nearest(
    shared: &Arc<Shared>,
    scope: &TenantScope,
    corpus: Corpus,
    texts: Vec<String>,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<Vec<(RecordId, f32)>>, RetrievalError> {
    let tenant = shared.tenant(scope).await?;
    tenant.opened().await;
    let n_texts = texts.len();
    let Some(legs) = tenant.serving() else { return Ok(vec![Vec::new(); n_texts]) };
    let queries = embed_by(&legs.vectors, texts).await?;
    let (filter, limit) = (filter.clone(), limit.clamp(1, LIMIT));
    shared
        .blocking(move |store| {
            let near = |vector: Vec<f32>| {
                let meaning = Meaning { legs: Arc::clone(&legs), vector };
                let found = vector_leg::nearest(store, &tenant, corpus, &meaning, &filter, limit)?;
                Ok(found.into_iter().map(|hit| (hit.id, hit.score)).collect())
            };
            queries.into_iter().map(near).collect()
        })
        .await
}

/// Embeds texts as passages: they are compared with texts of their own kind, and one that is
/// stored later is in the cache by then.
pub(crate) async fn embed(
    shared: &Shared,
    texts: Vec<String>,
) -> Result<Option<Vec<Vec<f32>>>, RetrievalError> {
    let Some(vectors) = shared.vectors() else { return Ok(None) };
    embed_by(&vectors, texts).await.map(Some)
}

async fn embed_by(vectors: &Vectors, texts: Vec<String>) -> Result<Vec<Vec<f32>>, RetrievalError> {
    let priority = if texts.len() > INTERACTIVE_TEXTS { Priority::Bulk } else { Priority::Interactive };
    let deadline = Instant::now() + TEXTS_TIME;
    vectors.embed(texts, Purpose::Passage, priority, deadline).await
}
