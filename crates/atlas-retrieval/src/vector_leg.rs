//! Asking the vector leg for records.

use atlas_domain::{Corpus, Filter, LogTemplate, Noun, RecordId, RecordKey, TenantScope};
use atlas_index::{Demands, VectorHit};
use atlas_store::{ListQuery, NearQuery, Store, StoreError};

use crate::legs::Meaning;
use crate::question::Question;
use crate::ranking::{DEPTH, Found};
use crate::tenant::Tenant;

/// Templates that are expanded to lines, and the newest lines of each.
const TEMPLATES: usize = 10;
const LINES_PER_TEMPLATE: usize = 10;
/// Records looked at for those that fulfil the demands of a query.
const DEEPEST: usize = 6_400;

/// The corpus whose vectors stand for `corpus`: log lines are compared through their templates,
/// of which there are a thousand times fewer.
pub(crate) fn corpus_compared(corpus: Corpus) -> Corpus {
    if corpus == Corpus::Logs { Corpus::LogTemplates } else { corpus }
}

/// Adds what the vector leg finds for a question.
pub(crate) fn find(
    store: &dyn Store,
    tenant: &Tenant,
    corpus: Corpus,
    meaning: &Meaning,
    question: &Question,
    found: &mut Found,
) -> Result<(), StoreError> {
    let Question { filter, demands, .. } = question;
    if corpus == Corpus::Logs {
        // A template has no facets of its own lines; the filter is applied to the lines.
        let templates = nearest(store, tenant, Corpus::LogTemplates, meaning, &Filter::default(), DEPTH)?;
        let lines = lines(store, &tenant.scope, templates, filter)?;
        found.vector = admitted(tenant, corpus, lines, |(id, _)| id, demands);
        return Ok(());
    }
    let mut depth = DEPTH;
    let hits = loop {
        let hits = nearest(store, tenant, corpus, meaning, filter, depth)?;
        let is_all = hits.len() < depth || depth >= DEEPEST;
        let hits = admitted(tenant, corpus, hits, |hit| &hit.id, demands);
        if is_all || hits.len() >= DEPTH {
            break hits;
        }
        depth *= 8;
    };
    for hit in hits.into_iter().take(DEPTH) {
        found.chunks.insert(hit.id.clone(), hit.chunk);
        found.vector.push((hit.id, hit.score));
    }
    Ok(())
}

/// Those that fulfil the demands, which only words can tell. Without words there are none: an
/// answer without the phrase that was asked for is worse than one without this leg.
fn admitted<T>(
    tenant: &Tenant,
    corpus: Corpus,
    hits: Vec<T>,
    id: impl Fn(&T) -> &RecordId,
    demands: &Demands,
) -> Vec<T> {
    if demands.is_empty() || hits.is_empty() {
        return hits;
    }
    let Some(lexical) = tenant.legs(corpus).and_then(|legs| legs.lexical.as_ref()) else { return Vec::new() };
    let ids: Vec<RecordId> = hits.iter().map(|hit| id(hit).clone()).collect();
    match lexical.admitted(&ids, demands) {
        Ok(admitted) => hits.into_iter().filter(|hit| admitted.contains(id(hit))).collect(),
        Err(reason) => {
            tracing::warn!(%corpus, %reason, "the lexical leg did not say which records fulfil the query");
            Vec::new()
        }
    }
}

/// The nearest records, each by its nearest chunk, best first, ties by id: from the store where it
/// compares vectors itself, else from the leg in memory.
pub(crate) fn nearest(
    store: &dyn Store,
    tenant: &Tenant,
    corpus: Corpus,
    meaning: &Meaning,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<VectorHit>, StoreError> {
    let Meaning { legs, vector } = meaning;
    if let Some(search) = store.vector_search() {
        let query = NearQuery { space: legs.vectors.space(), vector, filter, limit };
        let found = search.nearest(&tenant.scope, corpus, query)?;
        let hit = |near: atlas_store::Near| VectorHit { chunk: near.chunk, id: near.id, score: near.score };
        return Ok(found.into_iter().map(hit).collect());
    }
    let Some(leg) = legs.leg(corpus) else { return Ok(Vec::new()) };
    Ok(leg.search(vector, filter, limit).unwrap_or_else(|reason| {
        tracing::warn!(%corpus, %reason, "the vector leg did not answer");
        // One that is damaged is filled anew by the next round.
        tenant.wake();
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
        let mut names = names(store, scope, &template)?;
        if !filter.link.is_empty() {
            names.retain(|name| filter.link.contains(name));
        }
        if names.is_empty() {
            continue;
        }
        let query = ListQuery {
            filter: Filter { link: names, ..filter.clone() },
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

/// What lines name a template by: its id, and those of templates that it absorbed.
fn names(store: &dyn Store, scope: &TenantScope, template: &RecordId) -> Result<Vec<String>, StoreError> {
    let record = store.get(scope, &RecordKey::new(Corpus::LogTemplates, template.clone()))?;
    // Absorbed itself since the search began, it is found through the other.
    let template = record.and_then(|record| LogTemplate::from_record(&record).ok());
    Ok(template.map(|template| template.ids()).unwrap_or_default())
}
