//! The search path of all tenants: what they share, and how it opens and ends.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use atlas_domain::{Corpus, Filter, RecordId, RecordKey, TenantId, TenantScope};
use atlas_embed::{EmbedStats, Embedding, Purpose};
use atlas_guard::Guard;
use atlas_store::{Store, StoreError, Turn};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{EmbeddingState, Options, PutReport, RetrievalError, SearchAnswer, SearchRequest, Write};
use crate::engine::{OtherSpace, Vectors};
use crate::tenant::Tenant;
use crate::texts::EmbeddedTexts;
use crate::{near, others, search, texts, write};

/// The search path of all tenants. Cheap to share; every function is cancel-safe.
pub struct Retrieval {
    shared: Arc<Shared>,
}

/// What all tenants share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    /// Empty without an engine; one that comes later fills it.
    vectors: OnceLock<Arc<Vectors>>,
    guard: Arc<Guard>,
    pub(crate) options: Options,
    /// Every background task and every blocking call, so that shutdown can wait for them.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    tenants: Mutex<HashMap<TenantId, Arc<OnceCell<Arc<Tenant>>>>>,
}

impl Shared {
    /// The engine, if there is one.
    pub(crate) fn vectors(&self) -> Option<Arc<Vectors>> {
        self.vectors.get().cloned()
    }

    /// The open legs of a tenant.
    pub(crate) async fn tenant(self: &Arc<Self>, scope: &TenantScope) -> Result<Arc<Tenant>, RetrievalError> {
        if self.stop.is_cancelled() {
            return Err(RetrievalError::Stopped);
        }
        let cell = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            tenants.entry(scope.tenant().clone()).or_default().clone()
        };
        let tenant = cell.get_or_try_init(|| Tenant::open(self, scope)).await?;
        if let Some(vectors) = self.vectors.get() {
            tenant.adopt(self, vectors);
        }
        Ok(tenant.clone())
    }

    /// The tenants that are open.
    pub(crate) fn open_tenants(&self) -> Vec<Arc<Tenant>> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.values().filter_map(|cell| cell.get().cloned()).collect()
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
        let shared = Shared {
            store,
            vectors: OnceLock::new(),
            guard,
            options,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            tenants: Mutex::default(),
        };
        if let Embedding::Vectors(inner) = embedding {
            let _ = shared.vectors.set(Arc::new(Vectors::new(inner, shared.guard.clone())));
        }
        let shared = Arc::new(shared);
        if shared.store.others().is_some() {
            shared.tasks.spawn(others::follow(Arc::clone(&shared)));
        }
        Arc::new(Self { shared })
    }

    /// Replaces the embedding engine while the server runs: by one of the same space, such as one
    /// with a new key, or where there was none by the first. Calls that run finish on the old one;
    /// chunks that wait for their vectors are embedded at once.
    pub fn replace_embedder(&self, embedding: Embedding) -> Result<(), OtherSpace> {
        let inner = match embedding {
            Embedding::Vectors(inner) => Some(inner),
            Embedding::KeywordsOnly => None,
        };
        let shared = &self.shared;
        match (shared.vectors.get(), inner) {
            (Some(vectors), inner) => vectors.replace(inner)?,
            (None, None) => return Ok(()),
            (None, Some(inner)) => {
                let mut first = Some(inner);
                let vectors = shared.vectors.get_or_init(|| {
                    let inner = first.take().expect("called at most once");
                    Arc::new(Vectors::new(inner, shared.guard.clone()))
                });
                // Somebody else was first.
                if first.is_some() {
                    vectors.replace(first)?;
                }
            }
        }
        let vectors = shared.vectors.get().expect("replaced or just set");
        let tenants = shared.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        for tenant in tenants.values().filter_map(|cell| cell.get()) {
            tenant.adopt(shared, vectors);
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

    /// The state of the vector leg.
    pub fn embedding(&self) -> EmbeddingState {
        self.shared.vectors.get().map_or(EmbeddingState::KeywordsOnly, |vectors| vectors.state())
    }

    /// What the engine and the cache in front of it have done. Everything that is embedded by this
    /// process goes through them.
    pub fn embedding_stats(&self) -> EmbedStats {
        self.shared.vectors.get().map(|vectors| vectors.stats()).unwrap_or_default()
    }

    /// Finishes background work and closes indexes.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.tenants.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Retrieval {
    fn drop(&mut self) {
        // The background tasks hold what is shared; without this they would keep it for ever.
        self.shared.stop.cancel();
    }
}
