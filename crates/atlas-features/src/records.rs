//! Nouns in and out of the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use atlas_domain::{Filter, Noun, Record, RecordId, RecordKey, TenantId, TenantScope, Timestamp};
use atlas_retrieval::{Document, Retrieval, Write};
use atlas_store::{ListQuery, Outcome, Turn};
use serde::Serialize;

use crate::error::FeatureError;

/// A noun with what the store knows about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stored<N> {
    /// The noun.
    #[serde(flatten)]
    pub item: N,
    /// When its first version was written.
    pub created_at: Timestamp,
    /// When this version was written.
    pub updated_at: Timestamp,
}

/// A page of nouns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed<N> {
    /// Newest first.
    pub items: Vec<Stored<N>>,
    /// Pass it as the cursor to go on; `None` at the end.
    pub next: Option<String>,
}

fn stored<N: Noun>(record: &Record) -> Result<Stored<N>, FeatureError> {
    match N::from_record(record) {
        Ok(item) => Ok(Stored { item, created_at: record.created, updated_at: record.updated }),
        Err(source) => Err(FeatureError::Unreadable { key: record.key.clone(), source }),
    }
}

/// The noun of an id.
pub(crate) async fn get<N: Noun>(
    retrieval: &Retrieval,
    scope: &TenantScope,
    id: &RecordId,
) -> Result<Stored<N>, FeatureError> {
    let key = RecordKey::new(N::CORPUS, id.clone());
    find(retrieval, scope, id).await?.ok_or_else(|| FeatureError::not_found(&key))
}

/// The noun of an id, if there is one.
pub(crate) async fn find<N: Noun>(
    retrieval: &Retrieval,
    scope: &TenantScope,
    id: &RecordId,
) -> Result<Option<Stored<N>>, FeatureError> {
    let (scope, key) = (scope.clone(), RecordKey::new(N::CORPUS, id.clone()));
    let record = retrieval.read(move |store| store.get(&scope, &key)).await?;
    record.as_ref().map(stored).transpose()
}

/// The nouns that exist among `ids`, in their order.
pub(crate) async fn get_many<N: Noun>(
    retrieval: &Retrieval,
    scope: &TenantScope,
    ids: Vec<RecordId>,
) -> Result<Vec<N>, FeatureError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let scope = scope.clone();
    let records = retrieval.read(move |store| store.get_many(&scope, N::CORPUS, &ids)).await?;
    records.iter().map(|record| stored(record).map(|stored| stored.item)).collect()
}

/// A page of nouns.
pub(crate) async fn list<N: Noun>(
    retrieval: &Retrieval,
    scope: &TenantScope,
    query: ListQuery,
) -> Result<Listed<N>, FeatureError> {
    let scope = scope.clone();
    let page = retrieval.read(move |store| store.list(&scope, N::CORPUS, &query)).await?;
    Ok(Listed { items: page.records.iter().map(stored).collect::<Result<_, _>>()?, next: page.next })
}

/// The newest nouns that match, at most `limit`.
pub(crate) async fn newest<N: Noun>(
    retrieval: &Retrieval,
    scope: &TenantScope,
    filter: Filter,
    limit: usize,
) -> Result<Vec<N>, FeatureError> {
    let listed = list::<N>(retrieval, scope, ListQuery { filter, limit, cursor: None }).await?;
    Ok(listed.items.into_iter().map(|stored| stored.item).collect())
}

/// Writes one noun and returns it as it is kept.
pub(crate) async fn put<N: Noun>(
    retrieval: &Retrieval,
    scope: &TenantScope,
    item: &N,
) -> Result<Stored<N>, FeatureError> {
    retrieval.write(scope, vec![Write::Put(Document::of(item))]).await?;
    get(retrieval, scope, item.id()).await
}

/// Removes a record.
pub(crate) async fn delete(
    retrieval: &Retrieval,
    scope: &TenantScope,
    key: RecordKey,
) -> Result<(), FeatureError> {
    let report = retrieval.write(scope, vec![Write::Delete(key.clone())]).await?;
    match report.outcomes.as_slice() {
        [Outcome::Missing] => Err(FeatureError::not_found(&key)),
        _ => Ok(()),
    }
}

/// One turn at a time per tenant, for what is read, changed and written back, with what is kept in
/// memory between two turns: among the callers of this process by a lock, and among servers on a
/// shared store by the store. Async, because the writing waits for the disk; tenants do not wait
/// for each other.
pub(crate) struct TenantLocks<T = ()> {
    what: &'static str,
    locks: Mutex<HashMap<TenantId, Arc<tokio::sync::Mutex<T>>>>,
}

/// A tenant's turn; it ends when it is dropped.
pub(crate) struct TenantTurn<T = ()> {
    // Before the lock of this process: who has that one next finds the other free.
    everywhere: Option<Turn>,
    /// What was kept by the turn before.
    pub(crate) kept: tokio::sync::OwnedMutexGuard<T>,
}

impl<T> TenantTurn<T> {
    /// Whether other servers may have had a turn since: what is kept then is not what they left.
    pub(crate) fn is_shared(&self) -> bool {
        self.everywhere.is_some()
    }
}

impl<T: Default> TenantLocks<T> {
    /// Turns of this name.
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, locks: Mutex::default() }
    }

    /// Waits for the tenant's turn.
    pub(crate) async fn lock(
        &self,
        retrieval: &Retrieval,
        scope: &TenantScope,
    ) -> Result<TenantTurn<T>, FeatureError> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(scope.tenant().clone()).or_default().clone()
        };
        let kept = lock.lock_owned().await;
        let everywhere = retrieval.turn(scope, self.what).await?;
        Ok(TenantTurn { everywhere, kept })
    }
}
