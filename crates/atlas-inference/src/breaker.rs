//! Not asking a provider that is down.
//!
//! After five failures in a row nobody asks for fifteen seconds; then one job tries, and its
//! outcome decides for all. Only what speaks against the provider counts: a refused key or a
//! throttle is an answer, and an answering provider is up.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atlas_domain::{Fault, Timestamp};
use atlas_llm::LlmError;
use serde::Serialize;
use tokio::time::Instant;

/// Two jobs with all their retries, less one: one unlucky job does not open it.
const FAILURES_TO_OPEN: u32 = 5;
/// Long enough for a restart of a small server, short enough not to be noticed after one.
const OPEN_FOR: Duration = Duration::from_secs(15);

/// Whether calls go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// They do.
    Closed,
    /// They do not.
    Open,
    /// One does, to see.
    HalfOpen,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    failures: u32,
    /// Open until then; half open afterwards.
    open_until: Option<Instant>,
    trying: bool,
    since: Timestamp,
    last_error: Option<LlmError>,
}

/// Why nobody asks at the moment.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) source: LlmError,
    pub(crate) retry_after: Duration,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        let inner =
            Inner { failures: 0, open_until: None, trying: false, since: Timestamp::now(), last_error: None };
        Self { inner: Mutex::new(inner) }
    }

    /// Lets an attempt through, or says when to come back.
    pub(crate) fn admit(&self) -> Result<Pass<'_>, Rejected> {
        let mut inner = self.lock();
        let Some(until) = inner.open_until else {
            return Ok(Pass { breaker: self, trial: false, settled: false });
        };
        let now = Instant::now();
        if now < until || inner.trying {
            // A trial that is under way will be over in a moment, one way or the other.
            let retry_after = until.saturating_duration_since(now).max(Duration::from_secs(1));
            let source = inner.last_error.clone().unwrap_or(LlmError::CutShort);
            return Err(Rejected { source, retry_after });
        }
        inner.trying = true;
        Ok(Pass { breaker: self, trial: true, settled: false })
    }

    /// The state, and since when nothing changed about it.
    pub(crate) fn state(&self) -> (BreakerState, Timestamp) {
        let inner = self.lock();
        let state = match inner.open_until {
            None => BreakerState::Closed,
            Some(until) if Instant::now() < until => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        };
        (state, inner.since)
    }

    /// The provider answered.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        if inner.open_until.take().is_some() {
            inner.since = Timestamp::now();
        }
        inner.failures = 0;
        inner.trying = false;
    }

    fn fail(&self, error: &LlmError) {
        let mut inner = self.lock();
        inner.failures += 1;
        inner.trying = false;
        inner.last_error = Some(error.clone());
        if inner.failures >= FAILURES_TO_OPEN {
            if inner.open_until.is_none() {
                inner.since = Timestamp::now();
            }
            inner.open_until = Some(Instant::now() + OPEN_FOR);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error speaks against the provider.
pub(crate) fn counts(error: &LlmError) -> bool {
    error.fault() == Fault::Upstream && !matches!(error, LlmError::Throttled { .. })
}

/// One attempt. Dropped without a verdict (the caller went away), it says nothing.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    breaker: &'a Breaker,
    trial: bool,
    settled: bool,
}

impl Pass<'_> {
    pub(crate) fn succeeded(mut self) {
        self.settled = true;
        self.breaker.close();
    }

    pub(crate) fn failed(mut self, error: &LlmError) {
        self.settled = true;
        if counts(error) { self.breaker.fail(error) } else { self.breaker.close() }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.trial && !self.settled {
            self.breaker.lock().trying = false;
        }
    }
}
