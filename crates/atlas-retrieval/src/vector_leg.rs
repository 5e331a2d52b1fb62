//! Asking the vector leg for records.

use atlas_domain::{Corpus, Filter, RecordId, TenantScope};
use atlas_index::VectorHit;
use atlas_store::{ListQuery, Store, StoreError};

use crate::legs::Question;
use crate::ranking::{DEPTH, Found};

/// Templates that are expanded to lines, and the newest lines of each.
const TEMPLATES: usize = 10;
const LINES_PER_TEMPLATE: usize = 10;

/// The corpus whose vectors stand for `corpus`: log lines are compared through their templates,
/// of which there are a thousand times fewer.
pub(crate) fn corpus_compared(corpus: Corpus) -> Corpus {
    if corpus == Corpus::Logs { Corpus::LogTemplates } else { corpus }
}

/// Adds what the vector leg finds for a question.
pub(crate) fn find(
    store: &dyn Store,
    scope: &TenantScope,
    corpus: Corpus,
    question: &Question,
    filter: &Filter,
    found: &mut Found,
) -> Result<(), StoreError> {
    if corpus == Corpus::Logs {
        // A template has no facets of its own lines; the filter is applied to the lines.
        let templates = nearest(question, Corpus::LogTemplates, &Filter::default(), DEPTH);
        found.vector = lines(store, scope, templates, filter)?;
    } else {
        for hit in nearest(question, corpus, filter, DEPTH) {
            found.chunks.insert(hit.id.clone(), hit.chunk);
            found.vector.push((hit.id, hit.score));
        }
    }
    Ok(())
}

/// The nearest records, each by its nearest chunk, best first, ties by id.
pub(crate) fn nearest(question: &Question, corpus: Corpus, filter: &Filter, limit: usize) -> Vec<VectorHit> {
    let Some(leg) = question.legs.leg(corpus) else { return Vec::new() };
    leg.search(&question.vector, filter, limit).unwrap_or_else(|reason| {
        tracing::warn!(%corpus, %reason, "the vector leg did not answer");
        Vec::new()
    })
}

/// The newest lines of the nearest templates that match the filter, with their template's score.
fn lines(
    store: &dyn Store,
    scope: &TenantScope,
    templates: Vec<VectorHit>,
    filter: &Filter,
) -> Result<Vec<(RecordId, f32)>, StoreError> {
    let mut lines = Vec::new();
    let mut n_expanded = 0;
    for VectorHit { id: template, score, .. } in templates {
        if !filter.link.is_empty() && !filter.link.iter().any(|link| link == template.as_str()) {
            continue;
        }
        let query = ListQuery {
            filter: Filter { link: vec![template.as_str().to_owned()], ..filter.clone() },
            limit: LINES_PER_TEMPLATE,
            cursor: None,
        };
        let page = store.list(scope, Corpus::Logs, &query)?;
        if !page.records.is_empty() {
            n_expanded += 1;
        }
        lines.extend(page.records.into_iter().map(|line| (line.key.id, score)));
        if n_expanded == TEMPLATES {
            break;
        }
    }
    Ok(lines)
}
