//! The derived state of one tenant: its legs, and the tasks that keep them in step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use atlas_domain::{Corpus, TenantScope};
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::RetrievalError;
use crate::backlog;
use crate::engine::{Vectors, chain};
use crate::legs::{CorpusLegs, Vector};
use crate::retrieval::Shared;
use crate::signal::{Signal, pause_after};

/// Corpora that have legs. Alert groups are listed, never searched.
const WITH_LEGS: [Corpus; 5] =
    [Corpus::Runbooks, Corpus::Incidents, Corpus::Alerts, Corpus::Logs, Corpus::LogTemplates];
/// From the begin of one round to the begin of the next, so that a burst of writes is one commit
/// of the lexical leg, which costs milliseconds however little it holds.
const ROUND: Duration = Duration::from_millis(25);
/// How long the first searches after an opening wait for the legs to be complete.
const OPENING: Duration = Duration::from_secs(1);

pub(crate) struct Tenant {
    pub(crate) scope: TenantScope,
    legs: Vec<CorpusLegs>,
    indexing: Signal,
    embedding: Signal,
    /// Whether there is an engine, and a task that embeds what waits for it.
    has_engine: AtomicBool,
}

impl Tenant {
    /// Opens the lexical legs and begins to load and replay the rest.
    pub(crate) async fn open(shared: &Arc<Shared>, scope: &TenantScope) -> Result<Arc<Self>, RetrievalError> {
        let (shared, scope) = (shared.clone(), scope.clone());
        let name = scope.tenant().clone();
        if !shared.blocking(move |store| store.has_tenant(&name)).await? {
            return Err(atlas_store::StoreError::UnknownTenant { tenant: scope.tenant().clone() }.into());
        }
        let dir =
            shared.options.index_dir.as_ref().map(|dir| dir.join(scope.tenant().as_str()).join("lexical"));
        let legs = WITH_LEGS.map(|corpus| {
            let dir = dir.as_ref().map(|dir| dir.join(corpus.as_str()));
            CorpusLegs::new(corpus, dir)
        });
        let tenant = Arc::new(Self {
            scope,
            legs: legs.into(),
            indexing: Signal::begin(),
            embedding: Signal::begin(),
            has_engine: AtomicBool::new(false),
        });
        // Before the first round, which is to fill the vector legs too.
        if let Some(vectors) = shared.vectors() {
            tenant.adopt(&shared, &vectors);
        }
        shared.tasks.spawn(follow(shared.clone(), tenant.clone()));
        Ok(tenant)
    }

    /// Begins to make and search vectors, unless it did before.
    pub(crate) fn adopt(self: &Arc<Self>, shared: &Arc<Shared>, vectors: &Arc<Vectors>) {
        if self.has_engine.swap(true, Ordering::AcqRel) {
            return;
        }
        self.legs.iter().for_each(|legs| legs.adopt(vectors, shared.options.vector_index));
        shared.tasks.spawn(embed_backlog(shared.clone(), self.clone(), vectors.clone()));
        self.wake();
    }

    /// The legs of a corpus that has any.
    pub(crate) fn legs(&self, corpus: Corpus) -> Option<&CorpusLegs> {
        self.legs.iter().find(|legs| legs.corpus == corpus)
    }

    /// Lets the vector legs build what they want beside the next rounds.
    fn build(self: &Arc<Self>, shared: &Shared) {
        for at in 0..self.legs.len() {
            let (tenant, stop) = (self.clone(), shared.stop.clone());
            if self.legs[at].vector().is_some_and(Vector::wants_build) {
                shared.tasks.spawn_blocking(move || {
                    if let Some(leg) = tenant.legs[at].vector() {
                        leg.build(&stop);
                    }
                });
            }
        }
    }

    /// Something was committed.
    pub(crate) fn wake(&self) {
        self.indexing.request();
    }

    /// Chunks were committed without vectors.
    pub(crate) fn wake_backlog(&self) {
        self.embedding.request();
    }

    /// Waits a moment for the first round after the opening; later calls do not wait.
    pub(crate) async fn opened(&self) {
        const FIRST: u64 = 1;
        // Late is fine: the answer then names the legs that are not complete.
        let _ = timeout(OPENING, self.indexing.finished(FIRST)).await;
    }

    /// Waits until what was committed has its vectors, or the engine failed to make them, and
    /// both legs cover it.
    pub(crate) async fn settled(&self) -> Result<(), String> {
        // A failing engine shows in the embedding state and in every answer; the legs still cover
        // all there is.
        if self.has_engine.load(Ordering::Acquire) {
            let _ = self.embedding.finished(self.embedding.request()).await;
        }
        self.indexing.finished(self.indexing.request()).await
    }
}

/// Follows the change log until the server stops.
async fn follow(shared: Arc<Shared>, tenant: Arc<Tenant>) {
    let mut failures = 0;
    loop {
        let ticket = tokio::select! {
            () = shared.stop.cancelled() => return,
            ticket = tenant.indexing.next(pause_after(failures)) => ticket,
        };
        let began = Instant::now();
        let outcome = round(&shared, &tenant).await;
        match &outcome {
            Ok(()) => failures = 0,
            Err(reason) => {
                failures += 1;
                tracing::warn!(tenant = %tenant.scope.tenant(), %reason, "the search legs are behind");
            }
        }
        tenant.indexing.finish(ticket, outcome);
        tenant.build(&shared);
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = sleep_until(began + ROUND) => {}
        }
    }
}

async fn round(shared: &Arc<Shared>, tenant: &Arc<Tenant>) -> Result<(), String> {
    let (store, stop, tenant) = (shared.store.clone(), shared.stop.clone(), tenant.clone());
    shared
        .off_worker(move || {
            let target = store.last_seq(&tenant.scope).map_err(|error| chain(&error))?;
            let mut outcome = Ok(());
            // One corpus that cannot be indexed does not keep the others back.
            for legs in &tenant.legs {
                outcome = outcome.and(legs.catch_up(store.as_ref(), &tenant.scope, target, &stop));
            }
            outcome
        })
        .await
}

/// Embeds what was written while the engine was down, or by another engine.
async fn embed_backlog(shared: Arc<Shared>, tenant: Arc<Tenant>, vectors: Arc<Vectors>) {
    let mut failures = 0;
    loop {
        let ticket = tokio::select! {
            () = shared.stop.cancelled() => return,
            ticket = tenant.embedding.next(pause_after(failures)) => ticket,
        };
        let outcome = tokio::select! {
            () = shared.stop.cancelled() => return,
            outcome = backlog::embed(&shared, &tenant, &vectors) => outcome,
        };
        match &outcome {
            Ok(()) => failures = 0,
            Err(reason) => {
                failures += 1;
                tracing::warn!(tenant = %tenant.scope.tenant(), %reason, "chunks wait for their vectors");
            }
        }
        tenant.embedding.finish(ticket, outcome);
    }
}
