//! When a request is repeated, and for how long a failure is remembered.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atlas_domain::{ProviderError, ProviderErrorKind as Kind, Retry};
use atlas_embed::Priority;
use tokio::time::{Instant, sleep};

/// How long a failure answers in place of the provider: short enough that nobody notices the
/// recovery late, long enough that a dead provider costs one wait and not one per search.
const MEMORY: Duration = Duration::from_secs(5);
/// The longest wait for a provider that names one.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Repeats an attempt as far as who waits and what failed allow.
pub(super) async fn persistently<T, F>(
    priority: Priority,
    mut attempt: impl FnMut() -> F,
) -> Result<T, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    let mut n_failures = 0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(wait) = wait(priority, n_failures, error.retry()) else { return Err(error) };
        n_failures += 1;
        sleep(wait).await;
    }
}

/// The wait before the next attempt, if there is one. A person is not made to wait: the words
/// alone answer meanwhile.
fn wait(priority: Priority, n_failures: u32, retry: Retry) -> Option<Duration> {
    let (attempts, first, longest) = match priority {
        Priority::Interactive => (1, Duration::from_millis(100), Duration::from_millis(500)),
        Priority::Bulk => (2, Duration::from_millis(500), LONGEST_WAIT),
    };
    let wait = match retry {
        Retry::Never => return None,
        Retry::Now => first * 2_u32.pow(n_failures),
        Retry::After(wait) => wait,
    };
    (n_failures < attempts && wait <= longest).then_some(wait)
}

/// The last failure, for as long as it counts.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Option<(Instant, ProviderError)>>);

impl Memory {
    /// Fails as the provider did a moment ago.
    pub(super) fn check(&self) -> Result<(), ProviderError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((until, error)) if Instant::now() < *until => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Keeps a failure that the next call would meet too.
    pub(super) fn note(&self, error: &ProviderError) {
        if !is_about_the_provider(error.kind()) {
            return;
        }
        let time = match error.retry() {
            Retry::After(wait) => wait.clamp(Duration::from_secs(1), LONGEST_WAIT),
            Retry::Now | Retry::Never => MEMORY,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now() + time, error.clone()));
    }

    /// The provider answered, or is to be asked whatever happened before.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Whether other texts would fail the same way.
fn is_about_the_provider(kind: Kind) -> bool {
    match kind {
        Kind::Credentials
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::Throttled
        | Kind::Quota
        | Kind::Conflict
        | Kind::Overloaded
        | Kind::Server
        | Kind::Network
        | Kind::Timeout
        | Kind::CutShort => true,
        Kind::BadRequest
        | Kind::PromptTooLong
        | Kind::ContentFilter
        | Kind::Egress
        | Kind::Protocol
        | Kind::Settings => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(priority: Priority, retry: Retry, expect_ms: &[u64]) {
        let waits: Vec<u64> =
            (0..).map_while(|n| wait(priority, n, retry)).map(|wait| wait.as_millis() as u64).collect();
        assert_eq!(waits, expect_ms, "{priority:?} {retry:?}");
    }

    #[test]
    fn bulk_work_is_tried_twice_more_and_a_question_once() {
        check(Priority::Bulk, Retry::Now, &[500, 1000]);
        check(Priority::Interactive, Retry::Now, &[100]);
        check(Priority::Bulk, Retry::Never, &[]);
    }

    #[test]
    fn the_providers_wish_is_heeded_within_reason() {
        check(Priority::Bulk, Retry::After(Duration::from_secs(6)), &[6000, 6000]);
        check(Priority::Bulk, Retry::After(Duration::from_secs(31)), &[]);
        check(Priority::Interactive, Retry::After(Duration::from_millis(300)), &[300]);
        check(Priority::Interactive, Retry::After(Duration::from_secs(1)), &[]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_counts_for_as_long_as_the_provider_said() {
        let memory = Memory::default();
        memory.note(&ProviderError::new(Kind::PromptTooLong, "one text"));
        assert!(memory.check().is_ok());
        let busy = ProviderError::new(Kind::Overloaded, "").with_retry_after(Some(Duration::from_secs(9)));
        memory.note(&busy);
        tokio::time::advance(Duration::from_secs(8)).await;
        assert_eq!(memory.check(), Err(busy));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(memory.check().is_ok());
    }
}
