//! From the bytes of an answer to its events, whatever the dialect.

use std::collections::VecDeque;
use std::time::Duration;

use atlas_http::{Bytes, HttpError, Reply};
use atlas_llm::{ChatEvent, ChatStream, ProviderError};
use atlas_vendor::from_http;
use futures_util::future::ready;
use futures_util::stream::{BoxStream, StreamExt, empty, unfold};
use tokio::time::timeout;

/// How long the end of the body may take after the end of the answer. A connection whose body was
/// read to its end is used again, which spares the next call a handshake; servers end both at once.
const END_OF_BODY: Duration = Duration::from_millis(50);

/// Turns the bytes of a streamed answer into events. Pure: how the bytes are split makes no
/// difference, which the tests of every dialect prove by splitting them everywhere.
pub(crate) trait Reader: Send + 'static {
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
    let reading =
        Reading { chunks: reply.chunks().fuse().boxed(), reader: Some(reader), ready: VecDeque::new() };
    unfold(reading, |mut reading| async { reading.next().await.map(|event| (event, reading)) }).boxed()
}

struct Reading<R> {
    chunks: BoxStream<'static, Result<Bytes, HttpError>>,
    /// Gone after the end.
    reader: Option<R>,
    ready: VecDeque<Result<ChatEvent, ProviderError>>,
}

impl<R: Reader> Reading<R> {
    async fn next(&mut self) -> Option<Result<ChatEvent, ProviderError>> {
        loop {
            let is_last = self.reader.is_none() && self.ready.len() == 1;
            if is_last && self.ready.front().is_some_and(Result::is_ok) {
                self.drain().await;
            }
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let reader = self.reader.as_mut()?;
            let mut events = Vec::new();
            let read = match self.chunks.next().await {
                Some(Ok(bytes)) => reader.bytes(&bytes, &mut events),
                // The reason to finish has come; what was lost is at most the count of tokens.
                Some(Err(_)) if reader.is_complete() => reader.end_of_bytes(&mut events),
                Some(Err(error)) => Err(broken(error)),
                None => reader.end_of_bytes(&mut events),
            };
            if reader.is_over() || read.is_err() {
                self.reader = None;
            }
            self.ready.extend(events.into_iter().map(Ok).chain(read.err().map(Err)));
        }
    }
}

impl<R> Reading<R> {
    /// Waits for the end of the body, but not long: the answer is complete.
    async fn drain(&mut self) {
        let chunks = std::mem::replace(&mut self.chunks, empty().boxed());
        // What comes now is not for anybody, an error included.
        let _ = timeout(END_OF_BODY, chunks.for_each(|_| ready(()))).await;
    }
}

/// A body that breaks off is a cut answer, unlike a connection that never came about.
pub(crate) fn broken(error: HttpError) -> ProviderError {
    match error {
        HttpError::Interrupted { .. } => ProviderError::cut_short(),
        other => from_http(other),
    }
}
