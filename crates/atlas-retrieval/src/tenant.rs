//! The derived state of one tenant: its legs, and the tasks that keep them in step.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use atlas_domain::{Corpus, SpaceId, TenantScope};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::RetrievalError;
use crate::backlog;
use crate::engine::{Vectors, chain};
use crate::legs::{CorpusLegs, SpaceLegs};
use crate::memory::{Files, Vector};
use crate::retrieval::Shared;
use crate::signal::{Signal, pause_after};
use crate::spaces::Spaces;

/// Corpora that have legs. Alert groups are listed, never searched.
pub(crate) const WITH_LEGS: [Corpus; 5] =
    [Corpus::Runbooks, Corpus::Incidents, Corpus::Alerts, Corpus::Logs, Corpus::LogTemplates];
/// From the begin of one round to the begin of the next, so that a burst of writes is one commit
/// of the lexical leg, which costs milliseconds however little it holds.
const ROUND: Duration = Duration::from_millis(25);
/// How long the first searches after an opening wait for the legs to be complete.
const OPENING: Duration = Duration::from_secs(1);

pub(crate) struct Tenant {
    pub(crate) scope: TenantScope,
    legs: Vec<CorpusLegs>,
    spaces: RwLock<Spaces>,
    indexing: Signal,
    embedding: Signal,
    used: Mutex<Instant>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Tenant {
    /// Opens the lexical legs and begins to load and replay the rest.
    pub(crate) async fn open(shared: &Arc<Shared>, scope: &TenantScope) -> Result<Arc<Self>, RetrievalError> {
        let asked = scope.clone();
        let stored = shared
            .blocking(move |store| {
                let tenant = asked.tenant();
                if !store.has_tenant(tenant)? {
                    return Err(atlas_store::StoreError::UnknownTenant { tenant: tenant.clone() });
                }
                store.spaces(&asked)
            })
            .await?;
        let dir = shared.index_dir(scope.tenant());
        let files = dir
            .as_ref()
            .map(|dir| Files { dir: dir.join("vectors"), from: shared.options.vector_files_from });
        let dir = dir.map(|dir| dir.join("lexical"));
        let legs = WITH_LEGS.map(|corpus| {
            let dir = dir.as_ref().map(|dir| dir.join(corpus.as_str()));
            CorpusLegs::new(corpus, dir)
        });
        let tenant = Arc::new(Self {
            scope: scope.clone(),
            legs: legs.into(),
            spaces: RwLock::new(Spaces::open(
                shared.vectors(),
                shared.retired(),
                &stored,
                shared.leg_corpora(),
                shared.options.vector_index,
                files,
            )),
            indexing: Signal::begin(),
            embedding: Signal::begin(),
            used: Mutex::new(Instant::now()),
            stop: shared.stop.child_token(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(tenant.tasks.track_future(follow(shared.clone(), tenant.clone())));
        shared.tasks.spawn(tenant.tasks.track_future(embed_backlog(shared.clone(), tenant.clone())));
        Ok(tenant)
    }

    /// Ends the tasks and waits for them. Who holds the tenant still gets answers from what it
    /// knew.
    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Somebody asked for it.
    pub(crate) fn note_use(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether nobody has asked for it since a moment, and it has nothing to do.
    pub(crate) fn is_idle(&self, since: Instant) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_busy = || {
            self.filling().is_some()
                || self.serving().is_some_and(|space| space.all().any(Vector::is_building))
        };
        used < since && self.indexing.is_settled() && self.embedding.is_settled() && !is_busy()
    }

    /// Whether it has turned to this engine.
    pub(crate) fn follows(&self, engine: Option<&Vectors>) -> bool {
        self.spaces().follow(engine)
    }

    /// Turns to another engine, or to none: at once where there is nothing to be made first, else
    /// when its vectors are there.
    pub(crate) fn turn_to(&self, engine: Option<Arc<Vectors>>, stored: &[SpaceId]) {
        self.spaces_mut().turn_to(engine, stored);
        self.wake();
        self.wake_backlog();
    }

    /// The vector legs that answer, if there is an engine whose vectors are complete.
    pub(crate) fn serving(&self) -> Option<Arc<SpaceLegs>> {
        self.spaces().serving.clone()
    }

    /// The vector legs that are being filled to take over.
    pub(crate) fn filling(&self) -> Option<Arc<SpaceLegs>> {
        self.spaces().filling.clone()
    }

    /// The engine that embeds what is written now: the one that answers, so that it is found at
    /// once, or the one to come when that one fails.
    pub(crate) fn writing(&self) -> Option<Arc<Vectors>> {
        let spaces = self.spaces();
        let engine = |legs: &Arc<SpaceLegs>| Arc::clone(&legs.vectors);
        let (serving, filling) = (spaces.serving.as_ref().map(engine), spaces.filling.as_ref().map(engine));
        match (serving, filling) {
            (Some(serving), Some(filling)) if serving.is_failing() => Some(filling),
            (Some(serving), _) => Some(serving),
            (None, filling) => filling,
        }
    }

    /// Lets the legs that were filled answer from now on; `false` when others are wanted meanwhile.
    pub(crate) fn switch_to(&self, filled: &Arc<SpaceLegs>) -> bool {
        self.spaces_mut().switch_to(filled)
    }

    fn spaces(&self) -> RwLockReadGuard<'_, Spaces> {
        self.spaces.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn spaces_mut(&self) -> RwLockWriteGuard<'_, Spaces> {
        self.spaces.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The legs of every corpus that has any.
    pub(crate) fn all_legs(&self) -> &[CorpusLegs] {
        &self.legs
    }

    /// The legs of a corpus that has any.
    pub(crate) fn legs(&self, corpus: Corpus) -> Option<&CorpusLegs> {
        self.legs.iter().find(|legs| legs.corpus == corpus)
    }

    /// Lets the vector legs build what they want beside the next rounds.
    fn build(self: &Arc<Self>, shared: &Shared) {
        for space in self.spaces().all() {
            if space.all().any(Vector::wants_build) {
                let tenant = Arc::clone(self);
                let build = move || {
                    // Every leg is built, whatever becomes of the others.
                    if space.all().filter(|leg| !leg.build(&tenant.stop)).count() > 0 {
                        tenant.wake();
                    }
                };
                drop(shared.tasks.spawn_blocking(build));
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

    /// Waits until the legs cover what was committed.
    pub(crate) async fn indexed(&self) -> Result<(), String> {
        self.indexing.finished(self.indexing.request()).await
    }

    /// Waits until what was committed has its vectors, or the engine failed to make them, and
    /// both legs cover it.
    pub(crate) async fn settled(&self) -> Result<(), String> {
        // A failing engine shows in the embedding state and in every answer; the legs still cover
        // all there is.
        if self.spaces().any() {
            let _ = self.embedding.finished(self.embedding.request()).await;
        }
        self.indexed().await
    }
}

/// Follows the change log until the tenant is closed.
async fn follow(shared: Arc<Shared>, tenant: Arc<Tenant>) {
    let mut failures = 0;
    loop {
        let ticket = tokio::select! {
            () = tenant.stop.cancelled() => return,
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
            () = tenant.stop.cancelled() => return,
            () = sleep_until(began + ROUND) => {}
        }
    }
}

async fn round(shared: &Arc<Shared>, tenant: &Arc<Tenant>) -> Result<(), String> {
    let (store, tenant) = (shared.store.clone(), tenant.clone());
    shared
        .off_worker(move || {
            let target = store.last_seq(&tenant.scope).map_err(|error| chain(&error))?;
            // Looked up once: legs that are added meanwhile belong to the next round.
            let spaces = tenant.spaces().all();
            let mut outcome = Ok(());
            let mut put_back = false;
            // One corpus that cannot be indexed does not keep the others back.
            for legs in &tenant.legs {
                let caught_up = legs.catch_up(
                    store.as_ref(),
                    &tenant.scope,
                    &spaces,
                    target,
                    &mut put_back,
                    &tenant.stop,
                );
                outcome = outcome.and(caught_up);
            }
            outcome
        })
        .await
}

/// Embeds what was written while the engine was down, or by another engine.
async fn embed_backlog(shared: Arc<Shared>, tenant: Arc<Tenant>) {
    let mut failures = 0;
    loop {
        let ticket = tokio::select! {
            () = tenant.stop.cancelled() => return,
            ticket = tenant.embedding.next(pause_after(failures)) => ticket,
        };
        let outcome = tokio::select! {
            () = tenant.stop.cancelled() => return,
            outcome = backlog::work(&shared, &tenant) => outcome,
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
