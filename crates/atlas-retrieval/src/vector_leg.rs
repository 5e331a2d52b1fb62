//! Asking the vector leg for records.

use atlas_domain::{Corpus, Filter, RecordId, SpaceId, TenantScope};
use atlas_index::VectorHit;
use atlas_store::{ListQuery, NearQuery, Store, StoreError};

use crate::ranking::{DEPTH, Found};
use crate::tenant::Tenant;

/// Templates that are expanded to lines, and the newest lines of each.
const TEMPLATES: usize = 10;
const LINES_PER_TEMPLATE: usize = 10;

/// The corpus whose vectors stand for `corpus`: log lines are compared through their templates,
/// of which there are a thousand times fewer.
pub(crate) fn corpus_compared(corpus: Corpus) -> Corpus {
    if corpus == Corpus::Logs { Corpus::LogTemplates } else { corpus }
}

/// A question's vector, and the space it is of.
pub(crate) type Query = (SpaceId, Vec<f32>);

/// Adds what the vector leg finds for `query`.
pub(crate) fn find(
    store: &dyn Store,
    tenant: &Tenant,
    corpus: Corpus,
    query: &Query,
    filter: &Filter,
    found: &mut Found,
) -> Result<(), StoreError> {
    if corpus == Corpus::Logs {
        // A template has no facets of its own lines; the filter is applied to the lines.
        let templates = nearest(store, tenant, Corpus::LogTemplates, query, &Filter::default(), DEPTH)?;
        found.vector = lines(store, &tenant.scope, templates, filter)?;
    } else {
        for hit in nearest(store, tenant, corpus, query, filter, DEPTH)? {
            found.chunks.insert(hit.id.clone(), hit.chunk);
            found.vector.push((hit.id, hit.score));
        }
    }
    Ok(())
}

/// The nearest records, each by its nearest chunk, best first, ties by id: from the store where it
/// compares vectors itself, else from the leg in memory.
pub(crate) fn nearest(
    store: &dyn Store,
    tenant: &Tenant,
    corpus: Corpus,
    (space, vector): &Query,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<VectorHit>, StoreError> {
    if let Some(search) = store.vector_search() {
        let found = search.nearest(&tenant.scope, corpus, NearQuery { space, vector, filter, limit })?;
        let hit = |near: atlas_store::Near| VectorHit { chunk: near.chunk, id: near.id, score: near.score };
        return Ok(found.into_iter().map(hit).collect());
    }
    let Some(leg) = tenant.legs(corpus).and_then(|legs| legs.vector()) else { return Ok(Vec::new()) };
    Ok(leg.search(vector, filter, limit).unwrap_or_else(|reason| {
        tracing::warn!(%corpus, %reason, "the vector leg did not answer");
        Vec::new()
    }))
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
