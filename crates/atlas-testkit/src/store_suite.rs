//! What every [`Store`] owes, as claims.
//!
//! Each claim gets an empty store of its own. [`run`] checks them all; a new implementation needs
//! one test that calls it, and one that calls [`history::run`] where it can be opened again.

mod claims;
pub mod history;
mod lines;
mod model;
mod moving;
mod near;
mod vectors;

use atlas_domain::{
    Corpus, EmbeddingSpace, Facets, Pooling, RecordDraft, RecordId, RecordKey, SpaceId, TenantScope,
    TextHash, Timestamp,
};
use atlas_store::{Batch, Change, ChunkDraft, Committed, Store, StoreError};

/// Checks every claim on stores made by `make`. Panics at the first that does not hold.
pub fn run(make: impl Fn() -> Box<dyn Store>) {
    for claim in claims::ALL.iter().chain(vectors::ALL) {
        claim(&*make());
    }
    model::lists_and_counts_agree_with_the_definition_of_matching(&make);
    model::any_sequence_of_changes_gives_what_a_map_would_hold(&make);
    lines::any_sequence_of_lines_gives_what_a_map_would_hold(&make);
    near::its_own_vector_search_is_a_comparison_of_all_that_match(&make);
    moving::a_tenant_is_the_same_after_a_copy(&make);
    moving::lines_keep_their_times(&make);
}

/// A scope of the named tenant, created if it was not there.
pub fn tenant(store: &dyn Store, name: &str) -> TenantScope {
    let id = name.parse().expect("a tenant's name");
    store.create_tenant(&id).expect("create tenant");
    scope(name)
}

/// A scope of the named tenant.
#[expect(clippy::disallowed_methods, reason = "tests say who the caller is")]
pub fn scope(name: &str) -> TenantScope {
    TenantScope::grant(name.parse().expect("a tenant's name"))
}

/// A key in the corpus of runbooks.
pub fn key(id: &str) -> RecordKey {
    RecordKey::new(Corpus::Runbooks, RecordId::new(id).expect("an id"))
}

/// A runbook with this text, `second` seconds after the epoch.
pub fn draft(id: &str, second: i64, text: &str) -> RecordDraft {
    RecordDraft {
        key: key(id),
        title: format!("Title of {id}"),
        facets: Facets::at(Timestamp::from_second(second).expect("in range")),
        text: text.to_owned(),
        body: serde_json::json!({ "id": id, "text": text }),
    }
}

/// A chunk whose hash is its text's.
pub fn chunk(text: &str, vector: Option<&[f32]>) -> ChunkDraft {
    ChunkDraft {
        heading: "Heading".into(),
        text: text.to_owned(),
        hash: TextHash::of(text),
        vector: vector.map(<[f32]>::to_vec),
    }
}

/// One of many spaces, by the name of its model.
pub fn space(model: &str) -> SpaceId {
    let space = EmbeddingSpace {
        engine: "test".into(),
        model: model.into(),
        revision: "1".into(),
        dimension: 2,
        pooling: Pooling::Mean,
        precision: "f32".into(),
    };
    space.id()
}

/// A change that writes `record` with `chunks`.
pub fn put(record: RecordDraft, chunks: &[ChunkDraft]) -> Change {
    Change::Put { record, chunks: chunks.to_vec() }
}

/// Commits without vectors.
pub fn commit(store: &dyn Store, scope: &TenantScope, changes: Vec<Change>) -> Result<Committed, StoreError> {
    store.commit(scope, Batch { space: None, changes })
}
