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
mod plan;
mod pool;
mod read;
mod row;
mod schema;
mod segments;
mod select;
mod store;
#[cfg(test)]
mod tests;
mod turn;
mod write;

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atlas_domain::{TenantId, TenantScope};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep};

pub use connect::{Connect, Connecting, PostgresOptions, Stream, TLS_AGREED, TLS_PROTOCOL, TLS_REQUEST};

use crate::work::Work;
use crate::{Committed, Store, StoreError};
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

/// A panic elsewhere leaves nothing half-done behind these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
