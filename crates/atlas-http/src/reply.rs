//! The answer, as it arrives.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt, unfold};
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout_at};

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
    pub fn chunks(self) -> BoxStream<'static, Result<Bytes, HttpError>> {
        unfold(Some(self), |reply| async {
            let mut reply = reply?;
            match reply.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(reply))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let chunk = match timeout_at(self.patience.deadline, self.response.chunk()).await {
            Err(_) => return Err(self.patience.timeout(&self.origin)),
            Ok(Err(_)) => return Err(HttpError::Interrupted { host: self.origin.host().to_owned() }),
            Ok(Ok(chunk)) => chunk,
        };
        if let Some(chunk) = &chunk {
            self.patience.renew();
            self.counts.received(chunk.len());
        }
        Ok(chunk)
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
    pub(crate) deadline: Instant,
    limit: &'static str,
    idle: Duration,
    end: Option<Instant>,
}

impl Patience {
    /// From the moment of sending.
    pub(crate) fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        let end = limits.total.map(|total| now + total);
        let (deadline, limit) = earlier(now + limits.first_token, "first token", end);
        Self { deadline, limit, idle: limits.idle, end }
    }

    /// Something arrived.
    fn renew(&mut self) {
        (self.deadline, self.limit) = earlier(Instant::now() + self.idle, "idle", self.end);
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
