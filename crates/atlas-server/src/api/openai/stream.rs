//! The body of a streamed answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use atlas_llm::{ChatStream, ProviderError};
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::chunks::Chunks;
use super::refusal;
use crate::problem::Problem;

/// Comments keep proxies from closing a stream while the model thinks: most wait for 60 s.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// Pieces that are there already leave together, up to this many bytes.
const BATCH_BYTES: usize = 8 << 10;

/// Reads events, writes chunks. Dropping it, as a client that goes away does, closes the stream
/// of the provider.
pub(super) struct Frames {
    events: ChatStream,
    chunks: Chunks,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    silence: Duration,
    heartbeat: Pin<Box<Sleep>>,
    last_frame: Instant,
    over: bool,
}

impl Frames {
    /// A body that says something at least every `silence`.
    pub(super) fn new(
        events: ChatStream,
        chunks: Chunks,
        stopping: CancellationToken,
        silence: Duration,
    ) -> Self {
        Self {
            events,
            chunks,
            stopping: Box::pin(stopping.cancelled_owned()),
            silence,
            heartbeat: Box::pin(sleep(silence)),
            last_frame: Instant::now(),
            over: false,
        }
    }

    fn fail(&mut self, problem: &Problem) {
        self.chunks.fail(problem);
        self.over = true;
    }

    /// Reads what is there. Stops when the answer is over, when nothing more is there, or when
    /// there is enough for one write.
    fn read(&mut self, context: &mut Context<'_>) {
        while !self.over && self.chunks.len() < BATCH_BYTES {
            match self.events.poll_next_unpin(context) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(event))) => self.over = self.chunks.push(event),
                Poll::Ready(Some(Err(error))) => self.fail(&refusal::upstream(&error)),
                Poll::Ready(None) => self.fail(&refusal::upstream(&ProviderError::cut_short())),
            }
        }
    }
}

impl Stream for Frames {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let frames = &mut *self;
        frames.read(context);
        if frames.chunks.len() == 0 {
            if frames.over {
                return Poll::Ready(None);
            }
            if frames.stopping.poll_unpin(context).is_ready() {
                frames.fail(&Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "stopping",
                    "the server is shutting down",
                ));
            } else {
                // The timer is wound when it has run down rather than at every frame: that would
                // be a lock per token.
                while frames.heartbeat.poll_unpin(context).is_ready() {
                    if frames.last_frame.elapsed() >= frames.silence {
                        frames.chunks.comment();
                        frames.last_frame = Instant::now();
                    }
                    let next = frames.last_frame + frames.silence;
                    frames.heartbeat.as_mut().reset(next);
                }
            }
        } else {
            frames.last_frame = Instant::now();
        }
        match frames.chunks.take() {
            Some(bytes) => Poll::Ready(Some(Ok(bytes))),
            None => Poll::Pending,
        }
    }
}
