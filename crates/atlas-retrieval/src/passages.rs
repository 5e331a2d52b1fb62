//! From candidates to hits: the record as it is now, and the passage that answers best.

use std::collections::{HashMap, HashSet};

use atlas_domain::{Record, RecordKey, TenantScope};
use atlas_index::matched_words;
use atlas_store::{Chunk, Store, StoreError};

use crate::api::{Explanation, Hit, Passage, ScorePart};
use crate::question::Question;
use crate::ranking::Candidate;

/// Length of a passage that is the begin of a record.
const BEGIN_CHARS: usize = 1_200;
/// Length of a passage that is a chunk; only a long code block is cut.
const CHUNK_CHARS: usize = 4_000;

/// The first `limit` candidates that still exist and match.
///
/// The legs follow the store by milliseconds: what was removed or no longer matches is left out
/// here and the next candidate takes its place.
pub(crate) fn hits(
    store: &dyn Store,
    scope: &TenantScope,
    candidates: Vec<Candidate>,
    question: &Question,
    limit: usize,
    explain: bool,
) -> Result<Vec<Hit>, StoreError> {
    let terms = terms(&question.text);
    let mut hits = Vec::with_capacity(limit.min(candidates.len()));
    for batch in candidates.chunks(limit.max(1)) {
        let mut records = records(store, scope, batch)?;
        let chunks: Vec<_> = batch.iter().filter_map(|candidate| candidate.chunk).collect();
        let chunks: HashMap<_, _> =
            store.chunks(scope, &chunks)?.into_iter().map(|chunk| (chunk.id, chunk)).collect();
        for candidate in batch {
            let Some(record) =
                records.remove(&candidate.key).filter(|record| question.admits(&record.facets))
            else {
                continue;
            };
            let nearest = candidate.chunk.and_then(|id| chunks.get(&id));
            let passage = match nearest.filter(|chunk| chunk.key == candidate.key) {
                Some(chunk) => of_chunk(&record, chunk),
                None => by_words(store, scope, &record, &terms)?,
            };
            let explanation = explain.then(|| Explanation {
                parts: candidate.parts.iter().map(|&(leg, score)| ScorePart { leg, score }).collect(),
                matched: matched_words(&question.text, &record.title, &record.text),
            });
            hits.push(hit(candidate, record, passage, explanation));
            if hits.len() == limit {
                return Ok(hits);
            }
        }
    }
    Ok(hits)
}

fn hit(candidate: &Candidate, record: Record, passage: Passage, explain: Option<Explanation>) -> Hit {
    let Candidate { key, score, legs, .. } = candidate.clone();
    Hit { key, title: record.title, score, legs, passage, facets: record.facets, explain }
}

fn records(
    store: &dyn Store,
    scope: &TenantScope,
    batch: &[Candidate],
) -> Result<HashMap<RecordKey, Record>, StoreError> {
    let mut by_corpus: HashMap<_, Vec<_>> = HashMap::new();
    for candidate in batch {
        by_corpus.entry(candidate.key.corpus).or_default().push(candidate.key.id.clone());
    }
    let mut records = HashMap::with_capacity(batch.len());
    for (corpus, ids) in by_corpus {
        let found = store.get_many(scope, corpus, &ids)?;
        records.extend(found.into_iter().map(|record| (record.key.clone(), record)));
    }
    Ok(records)
}

/// The chunk with the most words of the query; the begin of a record that has no chunks.
fn by_words(
    store: &dyn Store,
    scope: &TenantScope,
    record: &Record,
    wanted: &HashSet<String>,
) -> Result<Passage, StoreError> {
    let chunks = store.chunks_of(scope, &record.key)?;
    let overlap = |chunk: &Chunk| terms(&chunk.text).intersection(wanted).count();
    // The first of equals: `max_by_key` takes the last.
    let best = chunks.iter().rev().max_by_key(|chunk| overlap(chunk));
    Ok(best.map_or_else(
        || Passage { heading: record.title.clone(), text: cut(&record.text, BEGIN_CHARS) },
        |chunk| of_chunk(record, chunk),
    ))
}

fn of_chunk(record: &Record, chunk: &Chunk) -> Passage {
    let heading = if chunk.heading.is_empty() { &record.title } else { &chunk.heading };
    Passage { heading: heading.clone(), text: cut(&chunk.text, CHUNK_CHARS) }
}

fn terms(text: &str) -> HashSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn cut(text: &str, n_chars: usize) -> String {
    text.char_indices().nth(n_chars).map_or(text, |(end, _)| &text[..end]).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(cut("äöü", 2), "äö");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("", 3), "");
    }
}
