//! Not asking a provider that is down.
//!
//! After five failures in a row nobody asks for fifteen seconds; then one job tries, and its
//! outcome decides for all. Only what speaks against the provider counts: a refused key or a
//! throttle is an answer, and an answering provider is up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atlas_domain::{ProviderError, ProviderErrorKind, Timestamp};
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
    last_error: Option<ProviderError>,
}

/// Why nobody asks at the moment.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) source: ProviderError,
    pub(crate) retry_after: Duration,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        let inner =
            Inner { failures: 0, open_until: None, trying: false, since: Timestamp::now(), last_error: None };
        Self { inner: Mutex::new(inner) }
    }

    /// Lets an attempt through, or says when to come back.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<Pass, Rejected> {
        let mut inner = self.lock();
        let Some(until) = inner.open_until else {
            return Ok(Pass { breaker: Arc::clone(self), trial: false });
        };
        let now = Instant::now();
        if now < until || inner.trying {
            // A trial that is under way will be over in a moment, one way or the other.
            let retry_after = until.saturating_duration_since(now).max(Duration::from_secs(1));
            let source = inner.last_error.clone().unwrap_or_else(ProviderError::cut_short);
            return Err(Rejected { source, retry_after });
        }
        inner.trying = true;
        Ok(Pass { breaker: Arc::clone(self), trial: true })
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

    fn fail(&self, error: &ProviderError) {
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

/// What an error says about the provider.
fn verdict(error: &ProviderError) -> Verdict {
    match error.kind() {
        kind if kind.is_unavailable() => Verdict::Down,
        // Somebody else answers in its place: a captive portal, the start page of a proxy.
        ProviderErrorKind::Protocol => Verdict::Down,
        // It was never asked.
        ProviderErrorKind::Egress | ProviderErrorKind::Settings => Verdict::Nothing,
        _ => Verdict::Up,
    }
}

enum Verdict {
    Up,
    Down,
    Nothing,
}

/// One attempt. Dropped without a verdict (the caller went away), it says nothing.
#[derive(Debug)]
pub(crate) struct Pass {
    breaker: Arc<Breaker>,
    trial: bool,
}

impl Pass {
    /// The answer has begun. A trial is over with that: nobody has to wait for its last word.
    pub(crate) fn answers(&mut self) {
        if std::mem::take(&mut self.trial) {
            self.breaker.close();
        }
    }

    pub(crate) fn succeeded(mut self) {
        self.trial = false;
        self.breaker.close();
    }

    pub(crate) fn failed(mut self, error: &ProviderError) {
        match verdict(error) {
            Verdict::Up => self.breaker.close(),
            Verdict::Down => self.breaker.fail(error),
            Verdict::Nothing => return,
        }
        self.trial = false;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.trial {
            self.breaker.lock().trying = false;
        }
    }
}
