//! From the bytes of an answer to its events, whatever the dialect.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use atlas_http::{Chunks, HttpError, Reply};
use atlas_llm::{ChatEvent, ChatStream, ProviderError};
use atlas_vendor::from_http;
use futures_util::FutureExt;
use futures_util::stream::{Stream, StreamExt};
use tokio::time::timeout;

/// How long the end of the body may take after the end of the answer. A connection whose body was
/// read to its end is used again, which spares the next call a handshake; servers end both at once.
const END_OF_BODY: Duration = Duration::from_millis(50);

/// Turns the bytes of a streamed answer into events. Pure: how the bytes are split makes no
/// difference, which the tests of every dialect prove by splitting them everywhere.
pub(crate) trait Reader: Send + Unpin + 'static {
    /// The next bytes. Events that came before an error are pushed before it is returned.
    fn bytes(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError>;

    /// The bytes have ended by themselves. A reader that has not seen the end of the answer
    /// returns [`ProviderError::cut_short`].
    fn end_of_bytes(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError>;

    /// Whether [`ChatEvent::Finished`] was pushed: what follows is not read.
    fn is_over(&self) -> bool;

    /// Whether the reason to finish is known, though more may follow it (counts of tokens). A
    /// connection that breaks now has cost nothing of the answer.
    fn is_complete(&self) -> bool;
}

/// The events of an accepted answer.
pub(crate) fn stream(reply: Reply, reader: impl Reader) -> ChatStream {
    let source = Source { body: reply.chunks(), reader };
    Reading { source: Some(source), read: Vec::new().into_iter(), broken: None }.boxed()
}

struct Reading<R> {
    /// Gone after the end.
    source: Option<Source<R>>,
    /// Events that were read and are not handed on yet.
    read: std::vec::IntoIter<ChatEvent>,
    /// What comes after them.
    broken: Option<ProviderError>,
}

struct Source<R> {
    body: Chunks,
    reader: R,
}

impl<R: Reader> Stream for Reading<R> {
    type Item = Result<ChatEvent, ProviderError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(event) = self.read.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            let Some(Source { body, reader }) = &mut self.source else {
                return Poll::Ready(self.broken.take().map(Err));
            };
            let mut events = Vec::new();
            let read = match ready!(body.poll_next_unpin(context)) {
                Some(Ok(bytes)) => reader.bytes(&bytes, &mut events),
                // The reason to finish has come; what was lost is at most the count of tokens.
                Some(Err(_)) if reader.is_complete() => reader.end_of_bytes(&mut events),
                Some(Err(error)) => Err(broken(error)),
                None => reader.end_of_bytes(&mut events),
            };
            if (reader.is_over() || read.is_err())
                && let Some(Source { body, .. }) = self.source.take()
                && read.is_ok()
            {
                drain(body);
            }
            self.read = events.into_iter();
            self.broken = read.err();
        }
    }
}

/// Reads to the end of the body. Mostly it has come with the end of the answer; where it has not,
/// nobody waits for it, and not for long. What comes now is not for anybody, an error included.
fn drain(body: Chunks) {
    let mut rest = body.for_each(|_| std::future::ready(()));
    if (&mut rest).now_or_never().is_none() {
        tokio::spawn(timeout(END_OF_BODY, rest));
    }
}

/// A body that breaks off is a cut answer, unlike a connection that never came about.
pub(crate) fn broken(error: HttpError) -> ProviderError {
    match error {
        HttpError::Interrupted { .. } => ProviderError::cut_short(),
        other => from_http(other),
    }
}
