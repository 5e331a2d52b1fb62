//! The answer, as it arrives.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::call::Limits;
use crate::error::HttpError;
use crate::ledger::Counts;
use crate::origin::Origin;

/// The head of an answer; its body is still on the way. Dropping it closes the connection. `Debug`
/// shows neither the URL nor a header.
pub struct Reply {
    pub(crate) response: reqwest::Response,
    pub(crate) origin: Origin,
    pub(crate) counts: Arc<Counts>,
    pub(crate) patience: Patience,
}

impl Reply {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The content type without parameters, in lower case; empty when the answer names none.
    pub fn content_type(&self) -> String {
        let value = self.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The whole body, if it is at most `limit_bytes` long.
    pub async fn bytes(mut self, limit_bytes: usize) -> Result<Bytes, HttpError> {
        // Most answers are one piece, which needs no copy.
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        self.check_length(first.len(), limit_bytes)?;
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut body = BytesMut::from(first);
        let mut next = Some(second);
        while let Some(chunk) = next {
            self.check_length(body.len() + chunk.len(), limit_bytes)?;
            body.extend_from_slice(&chunk);
            next = self.chunk().await?;
        }
        Ok(body.freeze())
    }

    fn check_length(&self, n_bytes: usize, limit_bytes: usize) -> Result<(), HttpError> {
        if n_bytes > limit_bytes {
            return Err(HttpError::TooLarge { host: self.origin.host().to_owned(), limit_bytes });
        }
        Ok(())
    }

    /// The body as it arrives. It ends after the last byte or the first error.
    pub fn chunks(self) -> Chunks {
        Chunks { reply: Some(self) }
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        poll_fn(|context| self.poll_chunk(context)).await
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, HttpError>> {
        // Nothing of it is kept from one poll to the next, so it needs no place to live.
        let chunk = match pin!(self.response.chunk()).poll(context) {
            Poll::Pending => {
                return self.patience.poll_over(context).map(|()| Err(self.patience.timeout(&self.origin)));
            }
            Poll::Ready(Err(_)) => {
                return Poll::Ready(Err(HttpError::Interrupted { host: self.origin.host().to_owned() }));
            }
            Poll::Ready(Ok(chunk)) => chunk,
        };
        if let Some(chunk) = &chunk {
            self.patience.renew();
            self.counts.received(chunk.len());
        }
        Poll::Ready(Ok(chunk))
    }
}

/// A body as it arrives. Dropping it closes the connection, unless the body has ended.
#[derive(Debug)]
pub struct Chunks {
    /// Gone after the end.
    reply: Option<Reply>,
}

impl Stream for Chunks {
    type Item = Result<Bytes, HttpError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(reply) = &mut self.reply else { return Poll::Ready(None) };
        let chunk = ready!(reply.poll_chunk(context)).transpose();
        if !matches!(chunk, Some(Ok(_))) {
            self.reply = None;
        }
        Poll::Ready(chunk)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("origin", &self.origin)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// How long to wait for the next byte, and what that limit is called.
#[derive(Debug)]
pub(crate) struct Patience {
    deadline: Instant,
    limit: &'static str,
    idle: Duration,
    end: Option<Instant>,
    /// Rings at the deadline or before it. It is wound when it has rung rather than at every
    /// chunk: that would be a lock per token.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    /// From the moment of sending.
    pub(crate) fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        let end = limits.total.map(|total| now + total);
        let (deadline, limit) = earlier(now + limits.first_token, "first token", end);
        Self { deadline, limit, idle: limits.idle, end, alarm: None }
    }

    /// What the work makes, or nothing when the time is over first.
    pub(crate) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(made) => Poll::Ready(Some(made)),
            Poll::Pending => self.poll_over(context).map(|()| None),
        })
        .await
    }

    /// Something arrived.
    fn renew(&mut self) {
        (self.deadline, self.limit) = earlier(Instant::now() + self.idle, "idle", self.end);
    }

    /// Ready when the time is over.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if alarm.deadline() > deadline {
            alarm.as_mut().reset(deadline);
        }
        while alarm.as_mut().poll(context).is_ready() {
            if alarm.deadline() >= deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    pub(crate) fn timeout(&self, origin: &Origin) -> HttpError {
        HttpError::Timeout { host: origin.host().to_owned(), limit: self.limit }
    }
}

fn earlier(deadline: Instant, limit: &'static str, end: Option<Instant>) -> (Instant, &'static str) {
    match end {
        Some(end) if end < deadline => (end, "total"),
        _ => (deadline, limit),
    }
}
