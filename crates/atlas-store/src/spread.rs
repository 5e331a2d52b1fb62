//! Tenants spread over several databases.
//!
//! A new tenant goes where rendezvous hashing of its name and the databases' names puts it: every
//! server works that out alike, without a table, and a database that is added takes an equal share
//! from each of the others. A tenant that exists stays where it lies, so adding a database moves
//! nothing and loses nothing; who wants an old tenant there moves it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use atlas_domain::{
    Corpus, Filter, Record, RecordId, RecordKey, Seq, SpaceId, TenantId, TenantScope, Timestamp,
};
use sha2::{Digest, Sha256};

use crate::{
    Batch, ChangeEntry, Chunk, ChunkId, Committed, ListQuery, Near, NearQuery, Others, Page, PostgresStore,
    Store, StoreError, Turn, VectorCount, VectorRow, VectorSearch,
};

/// One store out of several.
#[derive(Debug)]
pub struct SpreadStore {
    /// By name; never empty.
    stores: Vec<(String, PostgresStore)>,
    /// Where tenants that were seen lie.
    places: Mutex<HashMap<TenantId, usize>>,
}

impl SpreadStore {
    /// Spreads over these, each under a name that stays the same.
    pub fn new(stores: Vec<(String, PostgresStore)>) -> Self {
        assert!(!stores.is_empty(), "there is nothing to spread over");
        Self { stores, places: Mutex::default() }
    }

    /// A name for all of them together. What is derived from one set of databases says nothing
    /// about another.
    pub fn id(&self) -> String {
        if let [(_, only)] = self.stores.as_slice() {
            return only.id().to_owned();
        }
        let mut ids: Vec<&str> = self.stores.iter().map(|(_, store)| store.id()).collect();
        ids.sort_unstable();
        let digest = Sha256::digest(ids.join(" ").as_bytes());
        digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Where the tenant lies, or where it would be made.
    fn place(&self, tenant: &TenantId) -> Result<usize, StoreError> {
        if let Some(place) = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(tenant) {
            return Ok(*place);
        }
        let names: Vec<&str> = self.stores.iter().map(|(name, _)| name.as_str()).collect();
        let order = preference(&names, tenant);
        for place in &order {
            if self.stores[*place].1.has_tenant(tenant)? {
                self.places.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), *place);
                return Ok(*place);
            }
        }
        Ok(order[0])
    }

    fn of(&self, tenant: &TenantId) -> Result<&PostgresStore, StoreError> {
        Ok(&self.stores[self.place(tenant)?].1)
    }
}

/// The databases in the order in which a tenant prefers them.
fn preference(names: &[&str], tenant: &TenantId) -> Vec<usize> {
    let weight = |name: &str| {
        let mut hasher = Sha256::new();
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(tenant.as_str().as_bytes());
        <[u8; 32]>::from(hasher.finalize())
    };
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse((weight(names[*place]), names[*place])));
    order
}

impl Store for SpreadStore {
    fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let mut all = Vec::new();
        for (_, store) in &self.stores {
            all.extend(store.tenants()?);
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    fn has_tenant(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        self.of(tenant)?.has_tenant(tenant)
    }

    fn create_tenant(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        self.of(tenant)?.create_tenant(tenant)
    }

    fn commit(&self, scope: &TenantScope, batch: Batch) -> Result<Committed, StoreError> {
        self.of(scope.tenant())?.commit(scope, batch)
    }

    fn rest(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.of(tenant)?.rest(tenant)
    }

    fn get(&self, scope: &TenantScope, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.of(scope.tenant())?.get(scope, key)
    }

    fn get_many(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        ids: &[RecordId],
    ) -> Result<Vec<Record>, StoreError> {
        self.of(scope.tenant())?.get_many(scope, corpus, ids)
    }

    fn list(&self, scope: &TenantScope, corpus: Corpus, query: &ListQuery) -> Result<Page, StoreError> {
        self.of(scope.tenant())?.list(scope, corpus, query)
    }

    fn count(&self, scope: &TenantScope, corpus: Corpus, filter: &Filter) -> Result<u64, StoreError> {
        self.of(scope.tenant())?.count(scope, corpus, filter)
    }

    fn chunks_of(&self, scope: &TenantScope, key: &RecordKey) -> Result<Vec<Chunk>, StoreError> {
        self.of(scope.tenant())?.chunks_of(scope, key)
    }

    fn chunks(&self, scope: &TenantScope, ids: &[ChunkId]) -> Result<Vec<Chunk>, StoreError> {
        self.of(scope.tenant())?.chunks(scope, ids)
    }

    fn last_seq(&self, scope: &TenantScope) -> Result<Seq, StoreError> {
        self.of(scope.tenant())?.last_seq(scope)
    }

    fn changes_after(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        seq: Seq,
        limit: usize,
    ) -> Result<Vec<ChangeEntry>, StoreError> {
        self.of(scope.tenant())?.changes_after(scope, corpus, seq, limit)
    }

    fn vectors_of(
        &self,
        scope: &TenantScope,
        key: &RecordKey,
        space: &SpaceId,
    ) -> Result<Vec<VectorRow>, StoreError> {
        self.of(scope.tenant())?.vectors_of(scope, key, space)
    }

    fn vectors_after(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        space: &SpaceId,
        after: ChunkId,
        limit: usize,
    ) -> Result<Vec<VectorRow>, StoreError> {
        self.of(scope.tenant())?.vectors_after(scope, corpus, space, after, limit)
    }

    fn chunks_without_vector(
        &self,
        scope: &TenantScope,
        space: &SpaceId,
        limit: usize,
    ) -> Result<Vec<Chunk>, StoreError> {
        self.of(scope.tenant())?.chunks_without_vector(scope, space, limit)
    }

    fn put_vectors(
        &self,
        scope: &TenantScope,
        space: &SpaceId,
        vectors: Vec<(ChunkId, Vec<f32>)>,
    ) -> Result<Seq, StoreError> {
        self.of(scope.tenant())?.put_vectors(scope, space, vectors)
    }

    fn spaces(&self, scope: &TenantScope) -> Result<Vec<SpaceId>, StoreError> {
        self.of(scope.tenant())?.spaces(scope)
    }

    fn restore_times(
        &self,
        scope: &TenantScope,
        times: &[(RecordKey, Timestamp, Timestamp)],
    ) -> Result<(), StoreError> {
        self.of(scope.tenant())?.restore_times(scope, times)
    }

    fn vector_count(&self, scope: &TenantScope, space: &SpaceId) -> Result<VectorCount, StoreError> {
        self.of(scope.tenant())?.vector_count(scope, space)
    }

    fn drop_vectors(&self, scope: &TenantScope, space: &SpaceId, limit: usize) -> Result<u64, StoreError> {
        self.of(scope.tenant())?.drop_vectors(scope, space, limit)
    }

    /// All of them: a server that reaches only some would fail some tenants.
    fn check(&self) -> Result<(), StoreError> {
        self.stores.iter().try_for_each(|(_, store)| store.check())
    }

    fn vector_search(&self) -> Option<&dyn VectorSearch> {
        Some(self)
    }

    fn others(&self) -> Option<&dyn Others> {
        Some(self)
    }

    fn close(&self) {
        self.stores.iter().for_each(|(_, store)| store.close());
    }
}

impl VectorSearch for SpreadStore {
    fn nearest(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        query: NearQuery<'_>,
    ) -> Result<Vec<Near>, StoreError> {
        self.of(scope.tenant())?.nearest(scope, corpus, query)
    }
}

impl Others for SpreadStore {
    fn last_seqs(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, Seq)>, StoreError> {
        let mut asked: Vec<Vec<TenantId>> = vec![Vec::new(); self.stores.len()];
        for tenant in tenants {
            asked[self.place(tenant)?].push(tenant.clone());
        }
        let (mut seqs, mut failure) = (Vec::with_capacity(tenants.len()), None);
        for ((_, store), tenants) in self.stores.iter().zip(asked).filter(|(_, tenants)| !tenants.is_empty())
        {
            match store.last_seqs(&tenants) {
                Ok(more) => seqs.extend(more),
                Err(error) => failure = Some(error),
            }
        }
        // One database that is away does not hide what happens in the others.
        match failure {
            Some(error) if seqs.is_empty() => Err(error),
            _ => Ok(seqs),
        }
    }

    fn take_turn(&self, scope: &TenantScope, what: &'static str) -> Result<Turn, StoreError> {
        self.of(scope.tenant())?.take_turn(scope, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(names: &[&str], n: usize) -> String {
        let tenant: TenantId = format!("tenant-{n}").parse().expect("a name");
        names[preference(names, &tenant)[0]].to_owned()
    }

    #[test]
    fn every_database_gets_its_share_and_a_new_one_takes_from_all() {
        let (three, four) =
            (["a:5432/x", "b:5432/x", "c:5432/x"], ["d:5432/x", "c:5432/x", "b:5432/x", "a:5432/x"]);
        let mut counts: HashMap<String, u32> = HashMap::new();
        let mut moved: HashMap<String, u32> = HashMap::new();
        for n in 0..3_000 {
            let (before, after) = (first(&three, n), first(&four, n));
            if before != after {
                assert_eq!(after, "d:5432/x", "nothing moves between the old ones");
                *moved.entry(before.clone()).or_default() += 1;
            }
            *counts.entry(before).or_default() += 1;
        }
        // Five standard deviations of a fair draw.
        assert!(counts.len() == 3 && counts.values().all(|n| (870..1_130).contains(n)), "{counts:?}");
        assert!(moved.len() == 3 && moved.values().all(|n| (175..325).contains(n)), "{moved:?}");
    }
}
