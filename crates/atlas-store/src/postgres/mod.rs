//! The shared store: PostgreSQL with pgvector, for several servers on one database.
//!
//! All tenants are in the same tables, the tenant first in every key. Three things keep them
//! apart: every statement names its tenant; every transaction names it to the database, whose row
//! policies show and take that tenant's rows only; and the server works as a role that cannot set
//! the policies aside (see `schema`).
//!
//! The store makes no socket of its own. [`Connect`] hands connections in, so that where they go
//! is decided where every other connection is.
//!
//! Calls block, as the contract says: the asynchronous client runs on a small runtime in here.
//!
//! Not here: search by words. The lexical index is derived from the change log by each server.

mod connect;
mod failure;
mod near;
mod pool;
mod read;
mod row;
mod schema;
mod select;
#[cfg(test)]
mod tests;
mod turn;
mod write;

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atlas_domain::{
    Corpus, Filter, Record, RecordId, RecordKey, Seq, SpaceId, TenantId, TenantScope, Timestamp,
};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

pub use connect::{Connect, Connecting, PostgresOptions, Stream, TLS_AGREED, TLS_PROTOCOL, TLS_REQUEST};

use crate::work::Work;
use crate::{
    Batch, ChangeEntry, Chunk, ChunkId, Committed, ListQuery, Near, NearQuery, Others, Page, Store,
    StoreError, Turn, VectorCount, VectorRow, VectorSearch,
};
use connect::{Session, params};
use failure::Failure;
use near::Graphs;
use pool::Pool;
use turn::Turns;
use write::Pending;

/// How long the database is asked what became of a transaction whose connection was lost.
const VERDICT_TIME: Duration = Duration::from_secs(15);
/// Between two of these questions.
const VERDICT_PAUSE: Duration = Duration::from_millis(200);

/// The store in a PostgreSQL database.
pub struct PostgresStore {
    pool: Arc<Pool>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    id: String,
    /// Tenants that were seen. None is ever removed, so what was seen once stays true.
    known: Mutex<HashSet<TenantId>>,
    graphs: Graphs,
    turns: Arc<Turns>,
}

impl PostgresStore {
    /// Connects and makes sure that tenants are kept apart here: a role that is not bound by row
    /// policies is refused, and so is a database whose tables are not this version's.
    pub fn open(connect: Box<dyn Connect>, options: PostgresOptions) -> Result<Self, StoreError> {
        let (runtime, pool) = (runtime()?, Arc::new(Pool::new(connect, options)));
        let place = pool.options().place.clone();
        let examined = runtime
            .block_on(pool.with(async |session| schema::examine(session, &place).await))
            .map_err(|failure| failure.explain(&place, "read"))?;
        Ok(Self {
            pool,
            runtime: Some(runtime),
            id: examined.id,
            known: Mutex::default(),
            graphs: Graphs::default(),
            turns: Arc::default(),
        })
    }

    /// Brings the tables to this version, as the role that owns them, and lets `serving` work with
    /// them. Gives the version that was found; 0 for an empty database.
    pub fn migrate(
        connect: Box<dyn Connect>,
        options: PostgresOptions,
        serving: &str,
    ) -> Result<u32, StoreError> {
        let place = options.place.clone();
        let outcome = runtime()?.block_on(async {
            let session = Session::open(connect.as_ref(), &options).await?;
            schema::migrate(&session, &place, serving).await
        });
        outcome.map_err(|failure| failure.explain(&place, "written"))
    }

    /// Builds a graph for every tenant's vectors that are too many to compare one by one, as the
    /// role that owns the tables, beside running servers; and removes those whose vectors have
    /// gone. Says what it did.
    pub fn index(connect: Box<dyn Connect>, options: PostgresOptions) -> Result<Vec<String>, StoreError> {
        let place = options.place.clone();
        let outcome = runtime()?.block_on(async {
            let session = Session::open(connect.as_ref(), &options).await?;
            near::build(&session).await
        });
        outcome.map_err(|failure| failure.explain(&place, "written"))
    }

    /// The database's own name, made with its tables. What is derived from its change log belongs
    /// to it and to no other.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken in drop only")
    }

    fn place(&self) -> &str {
        &self.pool.options().place
    }

    /// Asks something that is about no tenant's content.
    fn ask<T>(&self, work: impl AsyncFn(&Session) -> Result<T, Failure>) -> Result<T, StoreError> {
        let outcome = self.runtime().block_on(self.pool.with(work));
        outcome.map_err(|failure| failure.explain(self.place(), "read"))
    }

    fn read<T>(
        &self,
        scope: &TenantScope,
        work: impl AsyncFn(&Session, &TenantId) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let tenant = scope.tenant();
        if !self.has_tenant(tenant)? {
            return Err(StoreError::UnknownTenant { tenant: tenant.clone() });
        }
        self.ask(async |session| work(session, tenant).await)
    }

    fn write(&self, scope: &TenantScope, work: &Work) -> Result<Committed, StoreError> {
        work.validate()?;
        let outcome = self.runtime().block_on(self.write_and_confirm(scope.tenant(), work));
        outcome.map_err(|failure| failure.explain(self.place(), "written"))
    }

    /// A transaction and its confirmation. When the connection is lost between the two, the
    /// database itself is asked what became of it: nobody is told that a write failed that is
    /// there, nor that one succeeded that is not.
    async fn write_and_confirm(&self, tenant: &TenantId, work: &Work) -> Result<Committed, Failure> {
        let mut again = true;
        loop {
            let (failure, pending) = match self.write_once(tenant, work).await {
                (Err(failure @ (Failure::Unconfirmed | Failure::Late)), Some(pending)) => (failure, pending),
                (outcome, _) => return outcome,
            };
            match self.was_committed(&pending.transaction).await {
                Some(true) => return Ok(pending.committed),
                // It was undone as a whole, so it can be made once more.
                Some(false) if again => again = false,
                Some(false) => return Err(failure),
                None => return Err(Failure::Unconfirmed),
            }
        }
    }

    /// The second part is there from the moment at which the confirmation was asked for.
    async fn write_once(
        &self,
        tenant: &TenantId,
        work: &Work,
    ) -> (Result<Committed, Failure>, Option<Pending>) {
        let confirming = RefCell::new(None);
        let write = async |session: &Session| {
            confirming.take();
            let pending = write::apply(session, tenant, work).await?;
            self.turns.check(session, tenant).await?;
            let committed = pending.committed.clone();
            confirming.replace(Some(pending));
            match session.run("COMMIT").await {
                Err(failure) if failure.is_lost() => Err(Failure::Unconfirmed),
                outcome => outcome.map(|()| committed),
            }
        };
        let outcome = self.pool.with(write).await;
        (outcome, confirming.into_inner())
    }

    /// What became of a transaction; `None` when the database does not say in time.
    async fn was_committed(&self, transaction: &str) -> Option<bool> {
        let deadline = Instant::now() + VERDICT_TIME;
        while Instant::now() < deadline {
            let values = params([Box::new(transaction.to_owned())]);
            let verdict = self
                .pool
                .with(async |session| {
                    let rows = session.query("SELECT pg_xact_status($1::text::xid8)", &values).await?;
                    let status = rows.first().map(|row| row.try_get::<_, Option<String>>(0)).transpose()?;
                    Ok(status.flatten())
                })
                .await;
            match verdict.ok().flatten().as_deref() {
                Some("committed") => return Some(true),
                Some("aborted") => return Some(false),
                // Still at work, or the database is not back yet.
                _ => sleep(VERDICT_PAUSE).await,
            }
        }
        None
    }
}

fn runtime() -> Result<Runtime, StoreError> {
    // One thread: it moves bytes, the work is the database's.
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("postgres")
        .enable_all()
        .build();
    built.map_err(|source| StoreError::Io {
        place: "the runtime of the store".to_owned(),
        action: "started",
        source: Box::new(source),
    })
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("place", &self.place()).finish_non_exhaustive()
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.pool.close();
        // It may be dropped on an async worker, which must not wait for another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

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

/// A panic elsewhere leaves nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
