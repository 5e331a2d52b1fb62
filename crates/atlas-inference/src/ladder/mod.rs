//! The connection test: a ladder from the policy to an answer, and beyond to what the model can do.
//!
//! It climbs with the client, the guard and the model of real traffic, so what it finds is what
//! traffic would find. On the way to an answer the first rung that fails ends the climb: whatever
//! rests on it would only repeat the failure in worse words. What an answering model lacks is no
//! error of the connection; it is measured, kept as the model's profile and used for routing.

mod answer;
mod deep;
mod questions;

use std::sync::{Arc, Weak};
use std::time::Duration;

use atlas_domain::{Check, ProviderError, Timestamp};
use atlas_llm::{CapabilityProfile, ChatEvent, ChatRequest, Collector, Completion};
use futures_util::StreamExt;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::audit::Entry;
use crate::call::egress;
use crate::inference::Inference;
use crate::job::Feature;
use crate::report::{Problem, TestReport};
use crate::route::Route;
use crate::snapshot::Snapshot;

/// A person watches: a test without the deep rungs is over by then, and so is every deep rung.
const LIMIT: Duration = Duration::from_secs(15);

const TO_AN_ANSWER: [&str; 3] = ["auth", "model", "chat"];
const DEEP: [&str; 4] = ["stream", "json_schema", "tools", "context"];

/// The test that runs, or the last one that did: there is one at a time.
#[derive(Default)]
pub(crate) struct Testing {
    last: Mutex<Option<Done>>,
}

struct Done {
    snapshot: Weak<Snapshot>,
    deep: bool,
    report: TestReport,
}

impl Inference {
    /// Proves the connection with the model that serves traffic, and says what to do if it fails.
    /// A provider that answers the test is up, so the breaker closes. Whoever asks while a test
    /// runs waits for it and shares its report.
    pub async fn test(&self, deep: bool) -> TestReport {
        let snapshot = self.snapshot();
        let mut last = match self.testing.last.try_lock() {
            Ok(last) => last,
            Err(_) => {
                let last = self.testing.last.lock().await;
                if let Some(done) = &*last
                    && std::ptr::eq(done.snapshot.as_ptr(), Arc::as_ptr(&snapshot))
                    && done.deep >= deep
                {
                    return done.report.clone();
                }
                last
            }
        };
        // A test that is cancelled leaves nothing to share.
        *last = None;
        let report = Box::pin(self.climb(&snapshot, deep)).await;
        *last = Some(Done { snapshot: Arc::downgrade(&snapshot), deep, report: report.clone() });
        report
    }

    async fn climb(&self, snapshot: &Arc<Snapshot>, deep: bool) -> TestReport {
        let route = match snapshot.route(Feature::Test, None, &self.profiles) {
            Ok(route) => route,
            Err(error) => {
                let label = snapshot.provider().map_or("", |provider| provider.label());
                let problem = error.provider_error().map(|error| Problem::of(label, error));
                return problem.map_or_else(TestReport::not_configured, TestReport::refused);
            }
        };
        let before = self.profiles.of(route.model.as_ref());
        let profile = CapabilityProfile {
            measured_at: Some(Timestamp::now()),
            chat: Some(true),
            ..before.clone().unwrap_or_default()
        };
        let mut ladder = Ladder {
            inference: self,
            snapshot,
            context_tokens: route.facts.context_tokens,
            route,
            checks: Vec::new(),
            end: (!deep).then(|| Instant::now() + LIMIT),
            profile,
        };
        let latency = ladder.climb_to_an_answer().await;
        if latency.is_some() {
            snapshot.breaker.close();
            if deep {
                ladder.measure().await;
            }
        } else if deep {
            ladder.skip(&DEEP);
        }
        let Ladder { route, checks, profile, .. } = ladder;
        // A short test has not measured what an earlier deep one has.
        let profile = match before {
            _ if latency.is_some() && deep => Some(profile),
            None if latency.is_some() => Some(profile),
            before => before,
        };
        if let Some(profile) = profile.as_ref().filter(|_| latency.is_some()) {
            self.profiles.store(route.model.as_ref(), profile.clone());
            self.snapshot().routes.clear();
        }
        TestReport::of(&route.served_by, checks, latency, profile)
    }
}

/// One climb.
struct Ladder<'a> {
    inference: &'a Inference,
    snapshot: &'a Arc<Snapshot>,
    route: Arc<Route>,
    checks: Vec<Check>,
    /// When the whole of a short test must be over.
    end: Option<Instant>,
    /// The context as far as it is known.
    context_tokens: Option<u64>,
    profile: CapabilityProfile,
}

/// An answer, and when its pieces came.
struct Heard {
    completion: Completion,
    n_texts: usize,
    /// The first and the last piece of text or thought.
    pieces: Option<(Instant, Instant)>,
    took: Duration,
}

impl Ladder<'_> {
    /// When the next rung must be over.
    fn limit(&self) -> Instant {
        let limit = Instant::now() + LIMIT;
        self.end.map_or(limit, |end| end.min(limit))
    }

    /// Puts a check in its place: a later rung may know better what an earlier one only assumed.
    fn put(&mut self, check: Check) {
        match self.checks.iter_mut().find(|known| known.id == check.id) {
            Some(known) => *known = check,
            None => self.checks.push(check),
        }
    }

    /// Marks as not tried what was not tried.
    fn skip(&mut self, ids: &[&'static str]) {
        let failed = self.checks.iter().rev().find(|check| check.status == atlas_domain::CheckStatus::Failed);
        let reason =
            failed.map_or("not tried".to_owned(), |failed| format!("not tried: {} failed", failed.id));
        for id in ids {
            if !self.checks.iter().any(|known| known.id == *id) {
                self.checks.push(Check::skipped(id, reason.clone()));
            }
        }
    }

    /// Asks as traffic asks, and reads the answer with a clock.
    async fn hear(&self, request: ChatRequest, limit: Instant) -> Result<Heard, ProviderError> {
        let mut entry =
            Entry::new(Feature::Test, &self.route, &request, self.snapshot, &self.inference.tally);
        let heard = timeout_at(limit, self.read(request, &mut entry)).await;
        let heard = heard.unwrap_or_else(|_| Err(ProviderError::timeout("connection test, 15 s")));
        match &heard {
            Ok(_) => entry.answered(),
            Err(error) => entry.failed(error.code()),
        }
        heard
    }

    async fn read(&self, request: ChatRequest, entry: &mut Entry) -> Result<Heard, ProviderError> {
        entry.attempted();
        let asked_at = Instant::now();
        let model = &self.route.model;
        let cleared = self.inference.guard.clear(request, model.destination()).map_err(egress)?;
        let mut stream = model.stream(cleared).await?;
        entry.accepted();
        let mut collector = Collector::default();
        let (mut n_texts, mut pieces) = (0, None);
        while let Some(event) = stream.next().await {
            let event = event?;
            entry.note(&event);
            if let ChatEvent::Text(_) | ChatEvent::Reasoning(_) = event {
                let now = Instant::now();
                pieces = Some((pieces.map_or(now, |(first, _)| first), now));
                n_texts += usize::from(matches!(event, ChatEvent::Text(_)));
            }
            if let Some(completion) = collector.push(event) {
                return Ok(Heard { completion, n_texts, pieces, took: asked_at.elapsed() });
            }
        }
        Err(ProviderError::cut_short())
    }
}
