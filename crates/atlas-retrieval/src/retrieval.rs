//! The search path of all tenants: what they share, and how it opens and ends.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use atlas_domain::{Corpus, Filter, RecordId, RecordKey, TenantId, TenantScope};
use atlas_embed::{EmbedStats, Embedder, Embedding, Purpose};
use atlas_guard::Guard;
use atlas_store::{Store, StoreError, Turn};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{EmbeddingState, Options, PutReport, RetrievalError, SearchAnswer, SearchRequest, Write};
use crate::engine::Vectors;
use crate::progress::{IndexProgress, VectorProgress};
use crate::tenant::{Tenant, WITH_LEGS};
use crate::texts::EmbeddedTexts;
use crate::{near, others, progress, rebuild, rest, search, texts, write};

/// The search path of all tenants. Cheap to share; every function is cancel-safe.
pub struct Retrieval {
    pub(crate) shared: Arc<Shared>,
}

/// What all tenants share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    engines: RwLock<Engines>,
    guard: Arc<Guard>,
    pub(crate) options: Options,
    /// Every background task and every blocking call, so that shutdown can wait for them.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    tenants: Mutex<HashMap<TenantId, Cell>>,
}

/// A tenant that is open or being opened.
pub(crate) type Cell = Arc<OnceCell<Arc<Tenant>>>;

/// The engine of the settings, and the one before it.
#[derive(Default)]
struct Engines {
    current: Option<Arc<Vectors>>,
    /// Lives for as long as a tenant answers by it.
    retired: Weak<Vectors>,
}

impl Shared {
    /// The engine of the settings, if there is one. What answers for a tenant may be another: see
    /// [`Tenant::serving`].
    pub(crate) fn vectors(&self) -> Option<Arc<Vectors>> {
        self.engines.read().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    /// The engine before that, if it can still be asked.
    pub(crate) fn retired(&self) -> Option<Arc<Vectors>> {
        self.engines.read().unwrap_or_else(PoisonError::into_inner).retired.upgrade()
    }

    /// Where the derived files of a tenant live.
    pub(crate) fn index_dir(&self, tenant: &TenantId) -> Option<PathBuf> {
        self.options.index_dir.as_ref().map(|dir| dir.join(tenant.as_str()))
    }

    /// Tells the open legs of a tenant that something was committed. Not by the tenant that the
    /// writer began with: it may have been closed and opened again meanwhile.
    pub(crate) fn wake(&self, scope: &TenantScope, incomplete: bool) {
        let cell = self.cells().get(scope.tenant()).cloned();
        // A tenant that is being opened reads the store afterwards.
        let Some(tenant) = cell.as_ref().and_then(|cell| cell.get()) else { return };
        tenant.wake();
        if incomplete || tenant.filling().is_some() {
            tenant.wake_backlog();
        }
    }

    pub(crate) fn cells(&self) -> MutexGuard<'_, HashMap<TenantId, Cell>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open legs of a tenant.
    pub(crate) async fn tenant(self: &Arc<Self>, scope: &TenantScope) -> Result<Arc<Tenant>, RetrievalError> {
        if self.stop.is_cancelled() {
            return Err(RetrievalError::Stopped);
        }
        let cell = {
            let mut cells = self.cells();
            let cell = cells.entry(scope.tenant().clone()).or_default();
            // Under the lock, so that it is not closed as idle before it is used.
            cell.get().inspect(|tenant| tenant.note_use());
            Cell::clone(cell)
        };
        let tenant = cell.get_or_try_init(|| Tenant::open(self, scope)).await?;
        // It may have been opened while the engine was replaced.
        self.turn(tenant).await?;
        Ok(Arc::clone(tenant))
    }

    /// Turns a tenant to the engine of the settings, unless it has done so.
    async fn turn(&self, tenant: &Tenant) -> Result<(), RetrievalError> {
        let engine = self.vectors();
        if !tenant.follows(engine.as_deref()) {
            let scope = tenant.scope.clone();
            let stored = self.blocking(move |store| store.spaces(&scope)).await?;
            tenant.turn_to(engine, &stored);
        }
        Ok(())
    }

    /// Makes an engine the one of the settings.
    fn take_engine(&self, inner: Option<Arc<dyn Embedder>>) {
        let mut engines = self.engines.write().unwrap_or_else(PoisonError::into_inner);
        let next = inner.map(|inner| {
            let known = [engines.current.clone(), engines.retired.upgrade()].into_iter().flatten();
            // Whoever holds an engine of this space goes on with the new one.
            let known = known.filter(|known| known.renew(Arc::clone(&inner))).reduce(|first, _| first);
            known.unwrap_or_else(|| Arc::new(Vectors::new(inner, Arc::clone(&self.guard))))
        });
        let before = std::mem::replace(&mut engines.current, next);
        if let (Some(before), Some(next)) = (&before, &engines.current)
            && !Arc::ptr_eq(before, next)
        {
            engines.retired = Arc::downgrade(before);
        }
    }

    /// What has vector legs in memory: nothing where the store compares vectors itself.
    pub(crate) fn leg_corpora(&self) -> &'static [Corpus] {
        if self.store.vector_search().is_some() { &[] } else { &WITH_LEGS }
    }

    /// The tenants that are open.
    pub(crate) fn open_tenants(&self) -> Vec<Arc<Tenant>> {
        self.cells().values().filter_map(|cell| cell.get().cloned()).collect()
    }

    /// Calls the store off the async workers.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RetrievalError> {
        let store = self.store.clone();
        Ok(self.off_worker(move || call(store.as_ref())).await?)
    }

    /// Runs blocking code off the async workers. Goes on when the caller gives up.
    pub(crate) async fn off_worker<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> T {
        let span = tracing::Span::current();
        match self.tasks.spawn_blocking(move || span.in_scope(call)).await {
            Ok(value) => value,
            // Nobody aborts blocking tasks, so it panicked, and the panic belongs to the caller.
            Err(error) => resume_unwind(error.into_panic()),
        }
    }
}

impl Retrieval {
    /// Opens the search path. Loads no tenant: each is opened at its first use. Must be called on a tokio runtime.
    pub fn open(
        store: Arc<dyn Store>,
        embedding: Embedding,
        guard: Arc<Guard>,
        options: Options,
    ) -> Arc<Self> {
        let vectors = match embedding {
            Embedding::Vectors(inner) => Some(Arc::new(Vectors::new(inner, Arc::clone(&guard)))),
            Embedding::KeywordsOnly => None,
        };
        let shared = Shared {
            store,
            engines: RwLock::new(Engines { current: vectors, retired: Weak::new() }),
            guard,
            options,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            tenants: Mutex::default(),
        };
        let shared = Arc::new(shared);
        if shared.store.others().is_some() {
            shared.tasks.spawn(others::follow(Arc::clone(&shared)));
        }
        if let Some(after) = shared.options.idle_after {
            shared.tasks.spawn(rest::close_idle(Arc::clone(&shared), after));
        }
        Arc::new(Self { shared })
    }

    /// Replaces the embedding engine while the server runs. One of the same space, such as one with
    /// a new key, takes over at once; calls that run finish on the old one. One of another space
    /// takes over tenant by tenant, each when its vectors are complete; none at all ends search by
    /// meaning and leaves the stored vectors where they are.
    pub async fn replace_embedder(&self, embedding: Embedding) -> Result<(), RetrievalError> {
        let shared = &self.shared;
        shared.take_engine(match embedding {
            Embedding::Vectors(inner) => Some(inner),
            Embedding::KeywordsOnly => None,
        });
        for tenant in shared.open_tenants() {
            shared.turn(&tenant).await?;
            // What waited for an engine that works may have it now.
            tenant.wake_backlog();
        }
        Ok(())
    }

    /// Writes a batch: chunk, clear, embed, one commit. When it returns, the batch is on the disk.
    #[tracing::instrument(name = "retrieval.write", skip_all, fields(tenant = %scope.tenant(), n_writes = writes.len()))]
    pub async fn write(&self, scope: &TenantScope, writes: Vec<Write>) -> Result<PutReport, RetrievalError> {
        Box::pin(write::write(&self.shared, scope, writes)).await
    }

    /// Searches.
    #[tracing::instrument(name = "retrieval.search", skip_all, fields(tenant = %scope.tenant()))]
    pub async fn search(
        &self,
        scope: &TenantScope,
        request: SearchRequest,
    ) -> Result<SearchAnswer, RetrievalError> {
        Box::pin(search::search(&self.shared, scope, request)).await
    }

    /// Records of `corpus` that resemble the record `key`; itself left out. Answers by words when it has no vector.
    #[tracing::instrument(name = "retrieval.similar", skip_all, fields(tenant = %scope.tenant(), %corpus))]
    pub async fn similar(
        &self,
        scope: &TenantScope,
        key: &RecordKey,
        corpus: Corpus,
        filter: Filter,
        limit: usize,
    ) -> Result<SearchAnswer, RetrievalError> {
        Box::pin(near::similar(&self.shared, scope, key, corpus, filter, limit)).await
    }

    /// For each text the nearest records of a corpus by cosine, best first; empty lists when there is no vector leg.
    #[tracing::instrument(name = "retrieval.nearest", skip_all, fields(tenant = %scope.tenant(), %corpus))]
    pub async fn nearest(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        texts: Vec<String>,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Vec<(RecordId, f32)>>, RetrievalError> {
        Box::pin(near::nearest(&self.shared, scope, corpus, texts, filter, limit)).await
    }

    /// Unit vectors of texts, for comparing texts that are not stored yet; `None` without a vector leg.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Option<Vec<Vec<f32>>>, RetrievalError> {
        near::embed(&self.shared, texts).await
    }

    /// Vectors of texts for other tools, with their cost; `None` without an engine that makes vectors.
    pub async fn embed_texts(
        &self,
        texts: Vec<String>,
        purpose: Purpose,
    ) -> Result<Option<EmbeddedTexts>, RetrievalError> {
        texts::embed(&self.shared, texts, purpose).await
    }

    /// Reads from the store off the async workers.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RetrievalError> {
        self.shared.blocking(read).await
    }

    /// Waits until no other server on a shared store reads, changes and writes back what is named.
    /// `None` where there are no other servers.
    pub async fn turn(
        &self,
        scope: &TenantScope,
        what: &'static str,
    ) -> Result<Option<Turn>, RetrievalError> {
        if self.shared.store.others().is_none() {
            return Ok(None);
        }
        let scope = scope.clone();
        let take =
            move |store: &dyn Store| store.others().map(|others| others.take_turn(&scope, what)).transpose();
        self.shared.blocking(take).await
    }

    /// Resolves when both legs of a tenant cover everything committed before the call.
    pub async fn settled(&self, scope: &TenantScope) -> Result<(), RetrievalError> {
        let tenant = self.shared.tenant(scope).await?;
        tokio::select! {
            () = self.shared.stop.cancelled() => Err(RetrievalError::Stopped),
            outcome = tenant.settled() => outcome.map_err(|detail| RetrievalError::Index { detail }),
        }
    }

    /// Throws away what is derived from a tenant's records and makes it again in the background:
    /// the word index now, vectors where they are missing. Searches go on by what is there.
    pub async fn reindex(&self, scope: &TenantScope) -> Result<(), RetrievalError> {
        rebuild::rebuild(&self.shared, scope, || Ok(())).await
    }

    /// Runs `swap`, which puts another state in the place of a tenant's, while nothing is derived
    /// from it, and opens the tenant again. Searches and writes that come meanwhile wait.
    pub async fn replace<T: Send + 'static>(
        &self,
        scope: &TenantScope,
        swap: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RetrievalError> {
        rebuild::rebuild(&self.shared, scope, swap).await
    }

    /// How far the derived structures of a tenant are.
    pub async fn progress(&self, scope: &TenantScope) -> Result<IndexProgress, RetrievalError> {
        progress::of_tenant(&self.shared, scope).await
    }

    /// The tenants whose vectors are being made by another engine, among those that are open.
    pub async fn changing_engine(&self) -> Result<Vec<(TenantId, VectorProgress)>, RetrievalError> {
        progress::changing(&self.shared).await
    }

    /// The state of the vector leg.
    pub fn embedding(&self) -> EmbeddingState {
        self.shared.vectors().map_or(EmbeddingState::KeywordsOnly, |vectors| vectors.state())
    }

    /// What the engine and the cache in front of it have done. Everything that is embedded by this
    /// process goes through them.
    pub fn embedding_stats(&self) -> EmbedStats {
        self.shared.vectors().map(|vectors| vectors.stats()).unwrap_or_default()
    }

    /// Finishes background work and closes indexes.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.cells().clear();
    }
}

impl Drop for Retrieval {
    fn drop(&mut self) {
        // The background tasks hold what is shared; without this they would keep it for ever.
        self.shared.stop.cancel();
    }
}
