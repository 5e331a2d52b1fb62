//! An answer that has begun.
//!
//! From here on nothing is repeated: somebody has seen a part of it. What the answer holds (a job's
//! slot, the breaker's pass, the upstream connection, its line in the audit log) is let go at its
//! end, or when its reader drops it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use atlas_domain::ProviderError;
use atlas_llm::{ChatEvent, ChatStream, Completion};
use futures_util::stream::{BoxStream, Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::audit::Entry;
use crate::breaker::Pass;
use crate::error::InferenceError;
use crate::job::{Answered, ServedBy};
use crate::snapshot::Snapshot;

/// An answer as it is being written.
pub struct Opened {
    /// The pieces. A usage is always among them, the last before the end. Dropping this closes
    /// the upstream connection.
    pub events: BoxStream<'static, Result<ChatEvent, ProviderError>>,
    /// Who answers.
    pub served_by: ServedBy,
    /// What was wanted and is done without, because the model lacks it.
    pub degraded: Vec<&'static str>,
    /// How many secrets were taken out of the request before it left.
    pub redactions: usize,
    /// Whether the usage is a guess from the lengths; known when it has been read.
    pub usage_estimated: Arc<AtomicBool>,
}

/// The first events of an answer, and where the others come from.
pub(crate) struct Begun {
    pub(crate) held: VecDeque<ChatEvent>,
    pub(crate) stream: ChatStream,
}

/// Why an answer broke off.
#[derive(Debug)]
pub(crate) enum Broken {
    Deadline,
    Provider(ProviderError),
}

impl From<Broken> for InferenceError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Deadline => Self::Deadline,
            Broken::Provider(source) => Self::from_provider(source),
        }
    }
}

/// What is held while the answer is being written.
struct Held {
    stream: ChatStream,
    snapshot: Arc<Snapshot>,
    /// None for the fallback, which has no breaker: it is verified anew all the time.
    pass: Option<Pass>,
    _slot: OwnedSemaphorePermit,
}

pub(crate) struct Answering {
    ready: VecDeque<ChatEvent>,
    held: Option<Held>,
    deadline: Pin<Box<Sleep>>,
    entry: Entry,
    usage_estimated: Arc<AtomicBool>,
}

impl Answering {
    pub(crate) fn new(
        begun: Begun,
        entry: Entry,
        snapshot: Arc<Snapshot>,
        mut pass: Option<Pass>,
        slot: OwnedSemaphorePermit,
        end: Instant,
    ) -> Self {
        if let Some(pass) = &mut pass {
            pass.answers();
        }
        Self {
            ready: begun.held,
            held: Some(Held { stream: begun.stream, snapshot, pass, _slot: slot }),
            deadline: Box::pin(sleep_until(end)),
            entry,
            usage_estimated: Arc::default(),
        }
    }

    pub(crate) fn opened(self) -> Opened {
        let served_by = self.entry.route.served_by.clone();
        let (degraded, redactions) = (self.entry.degraded.clone(), self.entry.redactions);
        let usage_estimated = Arc::clone(&self.usage_estimated);
        let events = self.map(|event| {
            event.map_err(|broken| match broken {
                Broken::Deadline => ProviderError::timeout("the request's deadline"),
                Broken::Provider(error) => error,
            })
        });
        Opened { events: events.boxed(), served_by, degraded, redactions, usage_estimated }
    }

    pub(crate) fn answered(&self, completion: Completion) -> Answered {
        let Completion { text, refusal, tool_calls, continuation, usage, finish } = completion;
        Answered {
            text,
            refusal,
            tool_calls,
            continuation,
            finish,
            usage: usage.unwrap_or_default(),
            usage_estimated: self.usage_estimated.load(Ordering::Relaxed),
            served_by: self.entry.route.served_by.clone(),
            degraded: self.entry.degraded.clone(),
            latency: self.entry.started.elapsed(),
            redactions: self.entry.redactions,
        }
    }

    /// Passes an event on. The end is held back behind a guess of the tokens if nobody counted.
    fn pass_on(&mut self, event: ChatEvent) -> ChatEvent {
        self.entry.note(&event);
        let ChatEvent::Finished(_) = event else { return event };
        let (usage, estimated) = self.entry.usage();
        if let Some(Held { snapshot, pass, .. }) = self.held.take() {
            if let Some(pass) = pass {
                pass.succeeded();
                snapshot.budget.refill();
            }
            self.entry.answered();
        }
        if estimated && !self.usage_estimated.swap(true, Ordering::Relaxed) {
            self.ready.push_front(event);
            return ChatEvent::Usage(usage);
        }
        event
    }

    fn breaks(&mut self, error: ProviderError) -> Broken {
        if let Some(Held { pass: Some(pass), .. }) = self.held.take() {
            pass.failed(&error);
        }
        self.entry.failed(error.code());
        Broken::Provider(error)
    }
}

impl Stream for Answering {
    type Item = Result<ChatEvent, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(event) = this.ready.pop_front() {
            return Poll::Ready(Some(Ok(this.pass_on(event))));
        }
        let Some(held) = &mut this.held else { return Poll::Ready(None) };
        match held.stream.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(event))) => Poll::Ready(Some(Ok(this.pass_on(event)))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(this.breaks(error)))),
            Poll::Ready(None) => Poll::Ready(Some(Err(this.breaks(ProviderError::cut_short())))),
            Poll::Pending => match this.deadline.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    // An answer that takes long is no failure of the provider.
                    this.held = None;
                    this.entry.failed(InferenceError::Deadline.code());
                    Poll::Ready(Some(Err(Broken::Deadline)))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}
