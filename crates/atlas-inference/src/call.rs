//! From a job to an answer that has begun: admit, route, clear, call, try again, fall back.
//!
//! All of it happens before the caller sees anything, so all of it can still be undone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use atlas_domain::ProviderError;
use atlas_guard::GuardError;
use atlas_llm::{ChatEvent, ChatRequest, Collector};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::answering::{Answering, Begun, Opened};
use crate::audit::Entry;
use crate::breaker::Pass;
use crate::error::InferenceError;
use crate::inference::Inference;
use crate::job::{Answered, Job};
use crate::retry::delay;
use crate::snapshot::Snapshot;

/// A deadline says something about the provider only if it was given time to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether an event is a part of the answer for whoever waits: after it, nothing is repeated.
type Commits = fn(&ChatEvent) -> bool;

/// A reader of a stream sees thoughts too, and they cannot be taken back.
fn is_seen_live(event: &ChatEvent) -> bool {
    event.is_delivery() || matches!(event, ChatEvent::Reasoning(_))
}

impl Inference {
    /// Answers a job. Dropping the future cancels it, upstream too.
    pub async fn complete(&self, mut job: Job) -> Result<Answered, InferenceError> {
        let mut on_text = job.on_text.take();
        let mut answering = self.begin(job, ChatEvent::is_delivery).await?;
        let mut collector = Collector::default();
        while let Some(event) = answering.next().await {
            let event = event?;
            if let (ChatEvent::Text(piece), Some(on_text)) = (&event, &mut on_text) {
                on_text(piece);
            }
            if let Some(completion) = collector.push(event) {
                return Ok(answering.answered(completion));
            }
        }
        Err(InferenceError::from_provider(ProviderError::cut_short()))
    }

    /// Begins to answer a job, and hands over the pieces as they come. What can be tried again is
    /// tried before this returns; after that, an error among the pieces is the end.
    pub async fn open(&self, job: Job) -> Result<Opened, InferenceError> {
        Ok(self.begin(job, is_seen_live).await?.opened())
    }

    async fn begin(&self, job: Job, commits: Commits) -> Result<Answering, InferenceError> {
        let Job { feature, request, model, deadline, on_text: _ } = job;
        let snapshot = self.snapshot();
        let route = snapshot.route(feature, model.as_deref(), &self.profiles)?;
        // Over the limit is an answer, not a queue: the caller can come back, and its own
        // deadline is running.
        let slot =
            Arc::clone(self.slots(feature)).try_acquire_owned().map_err(|_| InferenceError::Capacity)?;
        let mut entry = Entry::new(feature, &route, &request, &snapshot, &self.tally);
        let end = entry.started + deadline;

        let refusal = match self.ask(&snapshot, &request, end, commits, &mut entry).await {
            Ok((begun, pass)) => {
                return Ok(Answering::new(begun, entry, snapshot, Some(pass), slot, end));
            }
            Err(error) => error,
        };
        entry.failed(refusal.cause());
        let Some(fallback) = standing_in(&snapshot, &refusal) else { return Err(refusal) };
        let mut entry = Entry::new(feature, &fallback, &request, &snapshot, &self.tally);
        match timeout_at(end, self.try_once(&request, commits, &mut entry)).await {
            Ok(Ok(begun)) => Ok(Answering::new(begun, entry, snapshot, None, slot, end)),
            // What the customer can do something about is their own provider's failure.
            Ok(Err(error)) => {
                tracing::warn!(%error, "the control plane did not answer in place of the provider");
                entry.failed(error.code());
                Err(refusal)
            }
            Err(_) => {
                entry.failed(InferenceError::Deadline.code());
                Err(InferenceError::Deadline)
            }
        }
    }

    /// Tries, and tries again while nothing was delivered and it may help.
    async fn ask(
        &self,
        snapshot: &Snapshot,
        request: &ChatRequest,
        end: Instant,
        commits: Commits,
        entry: &mut Entry,
    ) -> Result<(Begun, Pass), InferenceError> {
        for n_retries in 0.. {
            let pass = snapshot.breaker.admit().map_err(|rejected| InferenceError::Unavailable {
                source: rejected.source,
                retry_after: Some(rejected.retry_after),
            })?;
            let begun_at = Instant::now();
            let error = match timeout_at(end, self.try_once(request, commits, entry)).await {
                Ok(Ok(begun)) => return Ok((begun, pass)),
                Ok(Err(error)) => error,
                Err(_) => {
                    // Silence of some length counts as a failure, a hasty caller does not.
                    if begun_at.elapsed() >= PATIENCE {
                        pass.failed(&ProviderError::timeout("the caller's deadline"));
                    }
                    return Err(InferenceError::Deadline);
                }
            };
            pass.failed(&error);
            let time_left = end.saturating_duration_since(Instant::now());
            let wait = delay(&error, n_retries, time_left).filter(|_| snapshot.budget.take());
            let Some(wait) = wait else { return Err(InferenceError::from_provider(error)) };
            tracing::debug!(code = error.code(), wait_ms = wait.as_millis() as u64, "retrying");
            tokio::time::sleep(wait).await;
        }
        Err(InferenceError::Deadline)
    }

    /// Clears the request for the destination of the entry's model, and reads until the first
    /// event that commits.
    async fn try_once(
        &self,
        request: &ChatRequest,
        commits: Commits,
        entry: &mut Entry,
    ) -> Result<Begun, ProviderError> {
        entry.attempted();
        let mut request = request.clone();
        entry.degraded = entry.route.fit(&mut request);
        let route = Arc::clone(&entry.route);
        let cleared = self.guard.clear(request, route.model.destination()).map_err(egress)?;
        entry.redactions = cleared.redactions().total();
        let mut stream = route.model.stream(cleared).await?;
        entry.accepted();
        let mut held = VecDeque::new();
        loop {
            let event = stream.next().await.unwrap_or_else(|| Err(ProviderError::cut_short()))?;
            let committed = commits(&event) || matches!(event, ChatEvent::Finished(_));
            held.push_back(event);
            if committed {
                return Ok(Begun { held, stream });
            }
        }
    }
}

/// Who may answer in place of a provider that failed like this.
fn standing_in(snapshot: &Snapshot, refusal: &InferenceError) -> Option<Arc<crate::route::Route>> {
    let fallback = snapshot.plugs.fallback.as_ref()?;
    // An open breaker carries the failure that opened it. A caller's own deadline, a full house,
    // a refusal and a throttle are no outage.
    let InferenceError::Unavailable { source, .. } = refusal else { return None };
    let route = if source.is_unavailable() { fallback.route() } else { None };
    route.cloned()
}

pub(crate) fn egress(refusal: GuardError) -> ProviderError {
    ProviderError::new(atlas_domain::ProviderErrorKind::Egress, refusal.to_string())
}
