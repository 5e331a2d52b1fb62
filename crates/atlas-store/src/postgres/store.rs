//! The contract, function by function.

use std::sync::Arc;

use atlas_domain::{
    Corpus, Filter, Record, RecordId, RecordKey, Seq, SpaceId, TenantId, TenantScope, Timestamp,
};

use super::connect::params;
use super::failure::Failure;
use super::{PostgresStore, lock, near, read, turn, write};
use crate::work::Work;
use crate::{
    Batch, ChangeEntry, Chunk, ChunkId, Committed, ListQuery, Near, NearQuery, Others, Page, Store,
    StoreError, Turn, VectorCount, VectorRow, VectorSearch,
};

impl Store for PostgresStore {
    fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        self.ask(async |session| read::tenants(session).await)
    }

    fn has_tenant(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        if lock(&self.known).contains(tenant) {
            return Ok(true);
        }
        let found = self.ask(async |session| Ok(read::last_seq(session, tenant).await?.is_some()))?;
        if found {
            lock(&self.known).insert(tenant.clone());
        }
        Ok(found)
    }

    fn create_tenant(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        let created = self.pool.with(async |session| write::create_tenant(session, tenant).await);
        self.runtime().block_on(created).map_err(|failure| failure.explain(self.place(), "written"))
    }

    fn commit(&self, scope: &TenantScope, batch: Batch) -> Result<Committed, StoreError> {
        self.write(scope, &Work::Batch(batch))
    }

    fn get(&self, scope: &TenantScope, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.read(scope, async |session, tenant| read::get(session, tenant, key).await)
    }

    fn get_many(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        ids: &[RecordId],
    ) -> Result<Vec<Record>, StoreError> {
        self.read(scope, async |session, tenant| read::get_many(session, tenant, corpus, ids).await)
    }

    fn list(&self, scope: &TenantScope, corpus: Corpus, query: &ListQuery) -> Result<Page, StoreError> {
        self.read(scope, async |session, tenant| read::list(session, tenant, corpus, query).await)
    }

    fn count(&self, scope: &TenantScope, corpus: Corpus, filter: &Filter) -> Result<u64, StoreError> {
        self.read(scope, async |session, tenant| read::count(session, tenant, corpus, filter).await)
    }

    fn chunks_of(&self, scope: &TenantScope, key: &RecordKey) -> Result<Vec<Chunk>, StoreError> {
        self.read(scope, async |session, tenant| read::chunks_of(session, tenant, key).await)
    }

    fn chunks(&self, scope: &TenantScope, ids: &[ChunkId]) -> Result<Vec<Chunk>, StoreError> {
        self.read(scope, async |session, tenant| read::chunks(session, tenant, ids).await)
    }

    fn last_seq(&self, scope: &TenantScope) -> Result<Seq, StoreError> {
        let tenant = scope.tenant();
        let seq = self.ask(async |session| read::last_seq(session, tenant).await)?;
        seq.ok_or_else(|| StoreError::UnknownTenant { tenant: tenant.clone() })
    }

    fn changes_after(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        seq: Seq,
        limit: usize,
    ) -> Result<Vec<ChangeEntry>, StoreError> {
        self.read(scope, async |session, tenant| {
            read::changes_after(session, tenant, corpus, seq, limit).await
        })
    }

    fn vectors_of(
        &self,
        scope: &TenantScope,
        key: &RecordKey,
        space: &SpaceId,
    ) -> Result<Vec<VectorRow>, StoreError> {
        self.read(scope, async |session, tenant| read::vectors_of(session, tenant, key, space).await)
    }

    fn vectors_after(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        space: &SpaceId,
        after: ChunkId,
        limit: usize,
    ) -> Result<Vec<VectorRow>, StoreError> {
        self.read(scope, async |session, tenant| {
            read::vectors_after(session, tenant, corpus, space, after, limit).await
        })
    }

    fn chunks_without_vector(
        &self,
        scope: &TenantScope,
        space: &SpaceId,
        limit: usize,
    ) -> Result<Vec<Chunk>, StoreError> {
        self.read(scope, async |session, tenant| {
            read::chunks_without_vector(session, tenant, space, limit).await
        })
    }

    fn put_vectors(
        &self,
        scope: &TenantScope,
        space: &SpaceId,
        vectors: Vec<(ChunkId, Vec<f32>)>,
    ) -> Result<Seq, StoreError> {
        Ok(self.write(scope, &Work::Vectors { space: space.clone(), vectors })?.seq)
    }

    fn spaces(&self, scope: &TenantScope) -> Result<Vec<SpaceId>, StoreError> {
        self.read(scope, async |session, tenant| read::spaces(session, tenant).await)
    }

    fn restore_times(
        &self,
        scope: &TenantScope,
        times: &[(RecordKey, Timestamp, Timestamp)],
    ) -> Result<(), StoreError> {
        self.write(scope, &Work::Times(times.to_vec())).map(drop)
    }

    fn vector_count(&self, scope: &TenantScope, space: &SpaceId) -> Result<VectorCount, StoreError> {
        self.read(scope, async |session, tenant| read::vector_count(session, tenant, space).await)
    }

    /// Whether its confirmation came through makes no difference: the caller asks until none is left.
    fn drop_vectors(&self, scope: &TenantScope, space: &SpaceId, limit: usize) -> Result<u64, StoreError> {
        let dropped =
            self.pool.with(async |session| write::drop_vectors(session, scope.tenant(), space, limit).await);
        self.runtime().block_on(dropped).map_err(|failure| failure.explain(self.place(), "written"))
    }

    /// That the database answers and takes writes: a standby says here that it is one.
    fn check(&self) -> Result<(), StoreError> {
        self.ask(async |session| {
            let rows = session.query("SELECT pg_is_in_recovery()", &params([])).await?;
            match rows.first().map(|row| row.try_get(0)).transpose()? {
                Some(false) => Ok(()),
                _ => Err(Failure::Unreachable("it is a standby and takes no writes".into())),
            }
        })
    }

    fn vector_search(&self) -> Option<&dyn VectorSearch> {
        Some(self)
    }

    fn others(&self) -> Option<&dyn Others> {
        Some(self)
    }

    fn close(&self) {
        self.pool.close();
    }
}

impl VectorSearch for PostgresStore {
    fn nearest(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        query: NearQuery<'_>,
    ) -> Result<Vec<Near>, StoreError> {
        if query.limit == 0 || query.vector.is_empty() {
            return Ok(Vec::new());
        }
        self.read(scope, async |session, tenant| {
            let has_graph = self.graphs.covers(session, tenant, corpus, &query).await?;
            near::nearest(session, tenant, corpus, &query, has_graph).await
        })
    }
}

impl Others for PostgresStore {
    fn last_seqs(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, Seq)>, StoreError> {
        self.ask(async |session| read::last_seqs(session, tenants).await)
    }

    fn take_turn(&self, scope: &TenantScope, what: &'static str) -> Result<Turn, StoreError> {
        let (pool, turns) = (Arc::clone(&self.pool), Arc::clone(&self.turns));
        let taken = self.runtime().block_on(turn::take(pool, turns, scope.tenant(), what));
        Ok(Turn::until_dropped(taken.map_err(|failure| failure.explain(self.place(), "written"))?))
    }
}
