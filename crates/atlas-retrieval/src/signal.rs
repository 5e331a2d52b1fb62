//! Asking a background task for another round, and waiting until it was made.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// Rounds are numbered by who asked: a round that began after a request fulfils it, and with it
/// every request before.
pub(crate) struct Signal(watch::Sender<Rounds>);

#[derive(Debug, Default)]
struct Rounds {
    requested: u64,
    finished: u64,
    failure: Option<String>,
}

impl Signal {
    /// A signal with its first round requested.
    pub(crate) fn begin() -> Self {
        Self(watch::Sender::new(Rounds { requested: 1, ..Rounds::default() }))
    }

    /// Asks for a round and returns its ticket. Never blocks.
    pub(crate) fn request(&self) -> u64 {
        let mut ticket = 0;
        self.0.send_modify(|rounds| {
            rounds.requested += 1;
            ticket = rounds.requested;
        });
        ticket
    }

    /// Waits until a round was asked for or, when the last one failed, for `pause`. Returns the
    /// ticket that the round will fulfil.
    pub(crate) async fn next(&self, pause: Option<Duration>) -> u64 {
        let mut rounds = self.0.subscribe();
        let asked = rounds.wait_for(|rounds| rounds.requested > rounds.finished);
        match pause {
            Some(pause) => tokio::select! {
                _ = asked => {}
                () = sleep(pause) => {}
            },
            None => {
                let _ = asked.await;
            }
        }
        self.0.borrow().requested
    }

    /// Whether every round that was asked for was made, and the last one did not fail.
    pub(crate) fn is_settled(&self) -> bool {
        let rounds = self.0.borrow();
        rounds.finished >= rounds.requested && rounds.failure.is_none()
    }

    pub(crate) fn finish(&self, ticket: u64, outcome: Result<(), String>) {
        self.0.send_modify(|rounds| {
            rounds.finished = rounds.finished.max(ticket);
            rounds.failure = outcome.err();
        });
    }

    /// Waits for the round of a ticket; its failure, if it failed.
    pub(crate) async fn finished(&self, ticket: u64) -> Result<(), String> {
        let mut rounds = self.0.subscribe();
        // The sender is `self`: it cannot be gone.
        let Ok(rounds) = rounds.wait_for(|rounds| rounds.finished >= ticket).await else { return Ok(()) };
        rounds.failure.clone().map_or(Ok(()), Err)
    }
}

/// Doubling from a quarter second to half a minute.
pub(crate) fn pause_after(failures: u32) -> Option<Duration> {
    let doubled = |n: u32| Duration::from_millis(250).saturating_mul(1 << n.min(7));
    failures.checked_sub(1).map(|n| doubled(n).min(Duration::from_secs(30)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_round_fulfils_every_request_before_it_began() {
        let signal = Signal::begin();
        let (a, b) = (signal.request(), signal.request());
        let round = signal.next(None).await;
        let late = signal.request();
        signal.finish(round, Ok(()));
        assert_eq!(signal.finished(a).await, Ok(()));
        assert_eq!(signal.finished(b).await, Ok(()));
        let round = signal.next(None).await;
        assert_eq!(round, late);
        signal.finish(round, Err("no".into()));
        assert_eq!(signal.finished(late).await, Err("no".into()));
    }

    #[test]
    fn pauses_double_and_end_at_half_a_minute() {
        assert_eq!(pause_after(0), None);
        assert_eq!(pause_after(1), Some(Duration::from_millis(250)));
        assert_eq!(pause_after(2), Some(Duration::from_millis(500)));
        assert_eq!(pause_after(40), Some(Duration::from_secs(30)));
    }
}
