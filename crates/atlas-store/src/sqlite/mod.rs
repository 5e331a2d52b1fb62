//! The embedded store: one SQLite database per tenant.
//!
//! A tenant is a directory of its own, so no query can reach another tenant's rows by a missing
//! condition, a damaged file takes one tenant down rather than all, and removing or moving a
//! tenant is a matter of one folder. Tenants are opened when they are first used.
//!
//! Several processes on one data directory are refused (see `directory`): derived structures live
//! in memory and would not see another process's writes.
//!
//! Not here: search. SQLite holds the truth, the lexical index is derived from the change log.

mod backup;
mod directory;
mod failure;
mod lines;
mod read;
mod row;
mod schema;
mod select;
mod tenant;
mod write;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use atlas_domain::{
    Corpus, Filter, Record, RecordId, RecordKey, Seq, SpaceId, TenantId, TenantScope, Timestamp,
};

use crate::work::Work;
use crate::{
    Batch, ChangeEntry, Chunk, ChunkId, Committed, ListQuery, Page, Store, StoreError, VectorCount, VectorRow,
};
pub use backup::Restored;
use directory::Directory;
use tenant::{Tenant, lock};

/// A data directory that belongs to this process, for a server whose records are elsewhere and
/// whose derived files are here.
#[derive(Debug)]
pub struct DataDirectory(#[expect(dead_code, reason = "it is held for its lock")] Directory);

impl DataDirectory {
    /// Takes the directory, creating it where it is missing.
    pub fn claim(data_dir: &Path) -> Result<Self, StoreError> {
        Directory::claim(data_dir).map(Self)
    }
}

/// The store on a local disk.
pub struct SqliteStore {
    // Before the directory: tenants close while the lock is still held.
    open: Mutex<HashMap<TenantId, Arc<Tenant>>>,
    directory: Directory,
    /// Backups are made and removed one at a time.
    backing_up: Mutex<()>,
}

impl SqliteStore {
    /// Takes the data directory for this process, creating it where it is missing.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let directory = Directory::claim(data_dir)?;
        Ok(Self { directory, open: Mutex::default(), backing_up: Mutex::default() })
    }

    /// The directory as it was given to [`Self::open`].
    pub fn data_dir(&self) -> &Path {
        self.directory.root()
    }

    /// Writes the logs back into the database files and closes them, so that a copy of the
    /// directory is one file per tenant. Best effort: what was acknowledged is on the disk either
    /// way. A later call opens its tenant again; the directory is given up on drop.
    pub fn close(&self) {
        let tenants = std::mem::take(&mut *lock(&self.open));
        for (name, tenant) in tenants {
            if let Err(error) = tenant.checkpoint() {
                tracing::warn!(tenant = %name, %error, "the log was not written back at close");
            }
        }
    }

    fn tenant(&self, scope: &TenantScope) -> Result<Arc<Tenant>, StoreError> {
        let name = scope.tenant();
        // Opening stays under the lock, so a tenant that is asked for twice is opened once.
        let mut open = lock(&self.open);
        if let Some(tenant) = open.get(name) {
            return Ok(Arc::clone(tenant));
        }
        if !self.directory.has(name)? {
            return Err(StoreError::UnknownTenant { tenant: name.clone() });
        }
        let tenant = Arc::new(Tenant::open(self.directory.place(name))?);
        open.insert(name.clone(), Arc::clone(&tenant));
        Ok(tenant)
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("data_dir", &self.data_dir()).finish_non_exhaustive()
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for SqliteStore {
    fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        self.directory.tenants()
    }

    fn has_tenant(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        self.directory.has(tenant)
    }

    fn create_tenant(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        // Under the lock, so that one of two callers creates and the other finds.
        let _alone = lock(&self.open);
        if self.directory.has(tenant)? {
            return Ok(false);
        }
        self.directory.create(tenant).map(|()| true)
    }

    fn commit(&self, scope: &TenantScope, batch: Batch) -> Result<Committed, StoreError> {
        self.tenant(scope)?.write(Work::Batch(batch))
    }

    fn get(&self, scope: &TenantScope, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        self.tenant(scope)?.read(|tx| read::get(tx, key))
    }

    fn get_many(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        ids: &[RecordId],
    ) -> Result<Vec<Record>, StoreError> {
        self.tenant(scope)?.read(|tx| read::get_many(tx, corpus, ids))
    }

    fn list(&self, scope: &TenantScope, corpus: Corpus, query: &ListQuery) -> Result<Page, StoreError> {
        self.tenant(scope)?.read(|tx| read::list(tx, corpus, query))
    }

    fn count(&self, scope: &TenantScope, corpus: Corpus, filter: &Filter) -> Result<u64, StoreError> {
        self.tenant(scope)?.read(|tx| read::count(tx, corpus, filter))
    }

    fn chunks_of(&self, scope: &TenantScope, key: &RecordKey) -> Result<Vec<Chunk>, StoreError> {
        self.tenant(scope)?.read(|tx| read::chunks_of(tx, key))
    }

    fn chunks(&self, scope: &TenantScope, ids: &[ChunkId]) -> Result<Vec<Chunk>, StoreError> {
        self.tenant(scope)?.read(|tx| read::chunks(tx, ids))
    }

    fn last_seq(&self, scope: &TenantScope) -> Result<Seq, StoreError> {
        self.tenant(scope)?.read(read::last_seq)
    }

    fn changes_after(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        seq: Seq,
        limit: usize,
    ) -> Result<Vec<ChangeEntry>, StoreError> {
        self.tenant(scope)?.read(|tx| read::changes_after(tx, corpus, seq, limit))
    }

    fn vectors_of(
        &self,
        scope: &TenantScope,
        key: &RecordKey,
        space: &SpaceId,
    ) -> Result<Vec<VectorRow>, StoreError> {
        self.tenant(scope)?.read(|tx| read::vectors_of(tx, key, space))
    }

    fn vectors_after(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        space: &SpaceId,
        after: ChunkId,
        limit: usize,
    ) -> Result<Vec<VectorRow>, StoreError> {
        self.tenant(scope)?.read(|tx| read::vectors_after(tx, corpus, space, after, limit))
    }

    fn chunks_without_vector(
        &self,
        scope: &TenantScope,
        space: &SpaceId,
        limit: usize,
    ) -> Result<Vec<Chunk>, StoreError> {
        self.tenant(scope)?.read(|tx| read::chunks_without_vector(tx, space, limit))
    }

    fn put_vectors(
        &self,
        scope: &TenantScope,
        space: &SpaceId,
        vectors: Vec<(ChunkId, Vec<f32>)>,
    ) -> Result<Seq, StoreError> {
        let work = Work::Vectors { space: space.clone(), vectors };
        Ok(self.tenant(scope)?.write(work)?.seq)
    }

    fn spaces(&self, scope: &TenantScope) -> Result<Vec<SpaceId>, StoreError> {
        self.tenant(scope)?.read(read::spaces)
    }

    fn restore_times(
        &self,
        scope: &TenantScope,
        times: &[(RecordKey, Timestamp, Timestamp)],
    ) -> Result<(), StoreError> {
        self.tenant(scope)?.write(Work::Times(times.to_vec())).map(drop)
    }

    fn vector_count(&self, scope: &TenantScope, space: &SpaceId) -> Result<VectorCount, StoreError> {
        self.tenant(scope)?.read(|tx| read::vector_count(tx, space))
    }

    fn drop_vectors(&self, scope: &TenantScope, space: &SpaceId, limit: usize) -> Result<u64, StoreError> {
        self.tenant(scope)?.drop_vectors(space, limit)
    }

    fn rest(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let unused = {
            let mut open = lock(&self.open);
            match open.get(tenant) {
                // Whoever uses it took it under this lock.
                Some(tenant) if Arc::strong_count(tenant) == 1 => {}
                _ => return Ok(()),
            }
            open.remove(tenant)
        };
        unused.map_or(Ok(()), |tenant| tenant.checkpoint())
    }

    fn check(&self) -> Result<(), StoreError> {
        self.directory.probe()
    }

    fn close(&self) {
        SqliteStore::close(self);
    }
}
