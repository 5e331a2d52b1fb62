//! How often, and how long after, a call is repeated.
//!
//! The budget is shared by all jobs of one provider rather than counted per job: when a provider
//! is down, retries per job would triple the load just when it hurts.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atlas_domain::{ProviderError, Retry};

/// Retries of one job; OpenAI's own clients do the same.
pub(crate) const MOST_RETRIES: u32 = 2;
const FIRST_DELAY: Duration = Duration::from_millis(500);
const MOST_DELAY: Duration = Duration::from_secs(8);
/// Nobody waits longer for an answer that is not begun.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(120);

/// A bucket of retries that successful calls refill.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: Mutex<f64>,
}

impl Budget {
    const FULL: f64 = 10.0;
    /// Ten good calls pay for two retries: in a steady state retries add at most a fifth.
    const REFILL: f64 = 0.2;

    pub(crate) fn new() -> Self {
        Self { tokens: Mutex::new(Self::FULL) }
    }

    pub(crate) fn refill(&self) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        *tokens = (*tokens + Self::REFILL).min(Self::FULL);
    }

    /// Takes one retry, if one is left.
    pub(crate) fn take(&self) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let may = *tokens >= 1.0;
        if may {
            *tokens -= 1.0;
        }
        may
    }
}

/// How long to wait before retry number `n_retries` (from 0), or `None` to give up.
pub(crate) fn delay(error: &ProviderError, n_retries: u32, time_left: Duration) -> Option<Duration> {
    if n_retries >= MOST_RETRIES {
        return None;
    }
    let wait = match error.retry() {
        Retry::Never => return None,
        // What the provider asks for is kept exactly; coming earlier only costs another refusal.
        Retry::After(wait) if wait > MOST_RETRY_AFTER => return None,
        Retry::After(wait) => wait,
        Retry::Now => {
            let doubled = FIRST_DELAY.saturating_mul(1 << n_retries.min(16)).min(MOST_DELAY);
            doubled.mul_f64(1.0 - 0.25 * jitter())
        }
    };
    (wait < time_left).then_some(wait)
}

/// From 0 to 1. The standard library seeds its hash maps randomly, which is random enough to keep
/// clients apart and spares a dependency.
fn jitter() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use atlas_domain::ProviderErrorKind;

    use super::*;

    const PLENTY: Duration = Duration::from_secs(600);

    fn failed() -> ProviderError {
        ProviderError::new(ProviderErrorKind::Server, "")
    }

    fn throttled(seconds: u64) -> ProviderError {
        ProviderError::new(ProviderErrorKind::Throttled, "")
            .with_retry_after(Some(Duration::from_secs(seconds)))
    }

    #[test]
    fn delays_double_less_a_quarter_at_most() {
        for (n, most) in [(0, 500), (1, 1000)] {
            for _ in 0..100 {
                let delay = delay(&failed(), n, PLENTY).expect("a retry").as_millis();
                assert!((most * 3 / 4..=most).contains(&delay), "{delay} ms");
            }
        }
        assert_eq!(delay(&failed(), 2, PLENTY), None);
    }

    #[test]
    fn the_providers_own_wish_is_kept_within_the_deadline() {
        assert_eq!(delay(&throttled(20), 0, PLENTY), Some(Duration::from_secs(20)));
        assert_eq!(delay(&throttled(20), 0, Duration::from_secs(10)), None);
        assert_eq!(delay(&throttled(121), 0, PLENTY), None);
    }

    #[test]
    fn what_cannot_get_better_is_not_repeated() {
        assert_eq!(delay(&ProviderError::new(ProviderErrorKind::Credentials, ""), 0, PLENTY), None);
        assert_eq!(delay(&ProviderError::cut_short(), 0, PLENTY), None);
        assert_eq!(delay(&failed().with_retry(Retry::Never), 0, PLENTY), None, "the provider said so");
    }

    #[test]
    fn the_budget_runs_out_and_good_calls_refill_it() {
        let budget = Budget::new();
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
        (0..6).for_each(|_| budget.refill());
        assert!(budget.take());
        assert!(!budget.take());
        (0..1000).for_each(|_| budget.refill());
        assert_eq!((0..100).filter(|_| budget.take()).count(), 10);
    }
}
