//! From the bytes of an answer to its events.

use std::collections::VecDeque;
use std::sync::Arc;

use atlas_http::{Bytes, HttpError, Reply, UNARY_LIMIT, sse};
use atlas_llm::{ChatEvent, ChatStream, Finish, LlmError, Usage};
use futures_util::stream::{BoxStream, StreamExt, iter, unfold};
use serde_json::Value;

use super::error::{Redactor, from_http, map_inline};
use super::wire;

/// Begins to read an accepted answer.
pub(super) async fn read(reply: Reply, redactor: Arc<Redactor>) -> Result<ChatStream, LlmError> {
    if reply.content_type() == "text/event-stream" {
        let stream =
            Reading { chunks: reply.chunks(), reader: Some(Reader::new(redactor)), ready: VecDeque::new() };
        return Ok(
            unfold(stream, |mut stream| async { stream.next().await.map(|event| (event, stream)) }).boxed()
        );
    }
    // Some servers ignore `stream`, and some stream under another content type.
    let body = reply.bytes(UNARY_LIMIT).await.map_err(broken)?;
    let mut reader = Reader::new(redactor);
    let mut events = Vec::new();
    let read = match serde_json::from_slice::<Value>(&body) {
        Ok(answer) => reader.json(&answer, &mut events).and_then(|()| reader.end(&mut events)),
        Err(_) if looks_like_sse(&body) => {
            reader.bytes(&body, &mut events).and_then(|()| reader.end_of_bytes(&mut events))
        }
        Err(_) => Err(LlmError::Protocol { detail: "the answer is neither JSON nor an event stream".into() }),
    };
    // An error without any text is the request's, and safe to repeat.
    match read {
        Err(error) if events.is_empty() => Err(error),
        read => Ok(iter(events.into_iter().map(Ok).chain(read.err().map(Err))).boxed()),
    }
}

fn looks_like_sse(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    [&b"data:"[..], b"event:", b":"].iter().any(|start| body.starts_with(start))
}

/// A body that breaks off is a cut answer, unlike a connection that never came about.
fn broken(error: HttpError) -> LlmError {
    match error {
        HttpError::Interrupted { .. } => LlmError::CutShort,
        other => from_http(other),
    }
}

struct Reading {
    chunks: BoxStream<'static, Result<Bytes, HttpError>>,
    /// Gone after the end.
    reader: Option<Reader>,
    ready: VecDeque<Result<ChatEvent, LlmError>>,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<ChatEvent, LlmError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let reader = self.reader.as_mut()?;
            let mut events = Vec::new();
            let read = match self.chunks.next().await {
                Some(Ok(bytes)) => reader.bytes(&bytes, &mut events),
                // The reason to finish has come; what was lost is at most the count of tokens.
                Some(Err(_)) if reader.is_complete() => reader.end(&mut events),
                Some(Err(error)) => Err(broken(error)),
                None => reader.end_of_bytes(&mut events),
            };
            if reader.ended || read.is_err() {
                self.reader = None;
            }
            self.ready.extend(events.into_iter().map(Ok).chain(read.err().map(Err)));
        }
    }
}

/// Turns bytes into chat events. Pure: how the bytes are split makes no difference.
pub(super) struct Reader {
    decoder: sse::Decoder,
    redactor: Arc<Redactor>,
    thoughts: Thoughts,
    finish: Option<Finish>,
    usage: Option<Usage>,
    has_tool_calls: bool,
    has_refusal: bool,
    ended: bool,
}

impl Reader {
    pub(super) fn new(redactor: Arc<Redactor>) -> Self {
        Self {
            decoder: sse::Decoder::new(),
            redactor,
            thoughts: Thoughts::default(),
            finish: None,
            usage: None,
            has_tool_calls: false,
            has_refusal: false,
            ended: false,
        }
    }

    /// The next bytes of an event stream.
    pub(super) fn bytes(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), LlmError> {
        let mut decoded = Vec::new();
        let pushed = self.decoder.push(bytes, &mut decoded);
        for event in decoded {
            self.event(&event, events)?;
        }
        pushed.map_err(too_long)
    }

    /// The stream has ended by itself.
    pub(super) fn end_of_bytes(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), LlmError> {
        let last = std::mem::take(&mut self.decoder).finish().map_err(too_long)?;
        // A last event without its blank line may be half of one.
        if let Some(event) = last.filter(|event| event.data == "[DONE]" || is_json(&event.data)) {
            self.event(&event, events)?;
        }
        if self.ended {
            Ok(())
        } else if self.is_complete() {
            self.end(events)
        } else {
            self.thoughts.flush(events);
            Err(LlmError::CutShort)
        }
    }

    fn event(&mut self, event: &sse::Event, events: &mut Vec<ChatEvent>) -> Result<(), LlmError> {
        let data = event.data.trim();
        if self.ended || data.is_empty() {
            return Ok(());
        }
        if data.starts_with("[DONE]") {
            return self.end(events);
        }
        match serde_json::from_str(data) {
            Ok(body) => self.json(&body, events),
            Err(_) => Err(LlmError::Protocol { detail: "an event of the stream is not JSON".into() }),
        }
    }

    /// One chunk, or a whole answer.
    pub(super) fn json(&mut self, body: &Value, events: &mut Vec<ChatEvent>) -> Result<(), LlmError> {
        if wire::is_error(body) {
            self.thoughts.flush(events);
            return Err(map_inline(body, &self.redactor));
        }
        let piece = wire::piece(body);
        if !piece.reasoning.is_empty() {
            events.push(ChatEvent::Reasoning(piece.reasoning));
        }
        self.thoughts.split(&piece.text, events);
        self.has_tool_calls |= piece.has_tool_calls;
        self.has_refusal |= piece.has_refusal;
        // Counts on every chunk are running totals: the last one counts.
        self.usage = piece.usage.or(self.usage);
        if let Some(raw) = piece.finish {
            self.finish = Some(wire::finish(&raw));
        } else if body["choices"][0]["message"].is_object() {
            // A whole answer without a reason is whole all the same.
            self.finish.get_or_insert(Finish::Stop);
        }
        Ok(())
    }

    /// Whether the reason to finish is known.
    fn is_complete(&self) -> bool {
        self.finish.is_some()
    }

    /// The answer is whole. Held back until here, because counts may follow the reason.
    pub(super) fn end(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), LlmError> {
        self.thoughts.flush(events);
        self.ended = true;
        events.extend(self.usage.map(ChatEvent::Usage));
        let said = self.finish.take();
        // What came decides, not what the server calls it: a forced tool call ends with `stop`.
        let finish = match said {
            _ if self.has_tool_calls => Finish::ToolCalls,
            _ if self.has_refusal => Finish::Refusal,
            Some(finish) => finish,
            None => Finish::Stop,
        };
        events.push(ChatEvent::Finished(finish));
        Ok(())
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn too_long(error: sse::TooLong) -> LlmError {
    LlmError::Protocol { detail: error.to_string() }
}

/// Separates `<think>…</think>` at the start of an answer. Only there: an answer may speak about
/// the tag.
#[derive(Default)]
struct Thoughts {
    state: State,
    /// Text that may still turn out to be (a part of) a tag.
    held: String,
}

#[derive(Default, PartialEq)]
enum State {
    #[default]
    Start,
    Inside,
    /// Between the closing tag and the first character of the answer.
    Gap,
    Answer,
}

impl Thoughts {
    fn split(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        const OPEN: &str = "<think>";
        const CLOSE: &str = "</think>";
        if text.is_empty() {
            return;
        }
        self.held.push_str(text);
        loop {
            match self.state {
                State::Start => {
                    let begun = self.held.trim_start();
                    if let Some(rest) = begun.strip_prefix(OPEN) {
                        self.held = rest.to_owned();
                        self.state = State::Inside;
                    } else if OPEN.starts_with(begun) {
                        return;
                    } else {
                        self.state = State::Answer;
                    }
                }
                State::Inside => {
                    if let Some(at) = self.held.find(CLOSE) {
                        let thought = self.held[..at].to_owned();
                        self.held.drain(..at + CLOSE.len());
                        push_reasoning(thought, events);
                        self.state = State::Gap;
                    } else {
                        let keep =
                            (1..CLOSE.len()).rev().find(|n| self.held.ends_with(&CLOSE[..*n])).unwrap_or(0);
                        let rest = self.held.split_off(self.held.len() - keep);
                        push_reasoning(std::mem::replace(&mut self.held, rest), events);
                        return;
                    }
                }
                State::Gap => {
                    self.held = self.held.trim_start().to_owned();
                    if self.held.is_empty() {
                        return;
                    }
                    self.state = State::Answer;
                }
                State::Answer => {
                    if !self.held.is_empty() {
                        events.push(ChatEvent::Text(std::mem::take(&mut self.held)));
                    }
                    return;
                }
            }
        }
    }

    /// Nothing more comes: what was held was no tag.
    fn flush(&mut self, events: &mut Vec<ChatEvent>) {
        let held = std::mem::take(&mut self.held);
        match self.state {
            State::Inside => push_reasoning(held, events),
            State::Start | State::Gap | State::Answer if !held.is_empty() => {
                events.push(ChatEvent::Text(held))
            }
            State::Start | State::Gap | State::Answer => {}
        }
    }
}

fn push_reasoning(text: String, events: &mut Vec<ChatEvent>) {
    if !text.is_empty() {
        events.push(ChatEvent::Reasoning(text));
    }
}
