//! How often the connection may be tested: each test costs the customer's tokens, and a button
//! invites to be pressed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const MOST: usize = 20;
const WITHIN: Duration = Duration::from_secs(60);

/// At most twenty tests in any minute.
#[derive(Debug, Default)]
pub(crate) struct TestLimit {
    taken: Mutex<VecDeque<Instant>>,
}

impl TestLimit {
    /// Takes one test, or says when the next one may be taken.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Result<(), Duration> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.front().is_some_and(|first| now.duration_since(*first) >= WITHIN) {
            taken.pop_front();
        }
        match taken.front() {
            Some(first) if taken.len() >= MOST => Err(WITHIN - now.duration_since(*first)),
            _ => {
                taken.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_frees_itself_a_minute_later() {
        let (limit, start) = (TestLimit::default(), Instant::now());
        for _ in 0..MOST {
            assert_eq!(limit.take_at(start), Ok(()));
        }
        assert_eq!(limit.take_at(start + Duration::from_secs(20)), Err(Duration::from_secs(40)));
        assert_eq!(limit.take_at(start + WITHIN), Ok(()));
    }
}
