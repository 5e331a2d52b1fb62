//! Parts of one task that set one another going.
//!
//! A part that hands something to another wakes it, and with both in one task that is the task
//! itself, in the middle of its turn. The runtime then puts the task behind all others for one more
//! turn and wakes another core to take it, which costs more than the turn does. Here such a call
//! makes the task go round again at once.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// How often one turn may go round; then other tasks have theirs.
const MOST: usize = 16;

/// Polls one thing that has several parts.
#[derive(Debug)]
pub(crate) struct Rounds {
    relay: Arc<Relay>,
    /// The relay as the parts know it.
    waker: Waker,
}

impl Default for Rounds {
    fn default() -> Self {
        let relay = Arc::new(Relay::default());
        Self { waker: Waker::from(Arc::clone(&relay)), relay }
    }
}

impl Rounds {
    /// Polls until it is ready, or has no reason to be polled again.
    fn poll<T>(
        &self,
        context: &mut Context<'_>,
        mut once: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.relay.task.register(context.waker());
        for _ in 0..MOST {
            self.relay.state.store(INSIDE, Ordering::Release);
            let polled = once(&mut Context::from_waker(&self.waker));
            let again = self.relay.state.swap(OUTSIDE, Ordering::AcqRel) == AGAIN;
            if polled.is_ready() || !again {
                return polled;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits for a future.
    pub(crate) async fn wait<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        poll_fn(|context| self.poll(context, |context| future.as_mut().poll(context))).await
    }
}

/// Wakes the task, unless it has its turn.
#[derive(Debug, Default)]
struct Relay {
    task: AtomicWaker,
    state: AtomicU8,
}

/// The task waits.
const OUTSIDE: u8 = 0;
/// The task has its turn.
const INSIDE: u8 = 1;
/// The task has its turn, and a reason to go round again.
const AGAIN: u8 = 2;

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let called = self.state.compare_exchange(INSIDE, AGAIN, Ordering::AcqRel, Ordering::Acquire);
        if called == Err(OUTSIDE) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// How often a task was woken.
    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls something that wakes itself in its first rounds: how often it was polled, and the task
    /// woken.
    fn check(n_rounds: usize, expect: (usize, usize)) {
        let (task, mut n_polls) = (Arc::new(Count::default()), 0);
        let waker = Waker::from(Arc::clone(&task));
        let polled = Rounds::default().poll(&mut Context::from_waker(&waker), |context| {
            n_polls += 1;
            if n_polls <= n_rounds {
                context.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        assert_eq!((polled, n_polls, task.0.load(Ordering::Relaxed)), (Poll::Pending, expect.0, expect.1));
    }

    #[test]
    fn what_wakes_itself_is_polled_again_and_its_task_is_not_woken() {
        check(0, (1, 0));
        check(1, (2, 0));
        check(5, (6, 0));
    }

    #[test]
    fn what_wakes_itself_without_end_lets_others_have_a_turn() {
        check(usize::MAX, (MOST, 1));
    }

    #[test]
    fn a_call_between_two_turns_wakes_the_task() {
        let (task, rounds) = (Arc::new(Count::default()), Rounds::default());
        let waker = Waker::from(Arc::clone(&task));
        let mut kept = None;
        let polled = rounds.poll(&mut Context::from_waker(&waker), |context| {
            kept = Some(context.waker().clone());
            Poll::<()>::Pending
        });
        assert!(polled.is_pending());
        kept.expect("it was polled").wake();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }
}
