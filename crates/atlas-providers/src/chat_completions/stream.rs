//! From the bytes of an answer to its events.

use atlas_http::{UNARY_LIMIT, sse};
use atlas_llm::{ChatEvent, ChatRequest, Finish, ProviderError, ProviderErrorKind as Kind, Usage};
use atlas_vendor::{Refusal, Scrubber};
use serde_json::Value;

use super::calls::Calls;
use super::thoughts::{Thoughts, push_reasoning};
use super::wire;
use crate::reading;

/// Reads an event stream, or the answer in one piece of a server that ignores `stream`: what comes
/// first decides, because content types are wrong in both directions.
#[derive(Debug)]
pub(crate) struct Reader {
    form: Form,
    scrubber: Scrubber,
    thoughts: Thoughts,
    calls: Calls,
    finish: Option<Finish>,
    usage: Option<Usage>,
    has_refusal: bool,
    is_over: bool,
}

#[derive(Debug)]
enum Form {
    /// Nothing but white space, or a part of a byte order mark, has come.
    Unknown(Vec<u8>),
    Whole(Vec<u8>),
    /// Events, or something else that is none of the two.
    Events {
        decoder: sse::Decoder,
        plausible: bool,
    },
}

impl Reader {
    /// Before the answer to this request.
    pub(crate) fn new(request: &ChatRequest, scrubber: Scrubber) -> Self {
        Self {
            form: Form::Unknown(Vec::new()),
            scrubber,
            thoughts: Thoughts::default(),
            calls: Calls::after(request),
            finish: None,
            usage: None,
            has_refusal: false,
            is_over: false,
        }
    }

    fn event(&mut self, event: &sse::Event, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let data = event.data.trim();
        if self.is_over || data.is_empty() {
            return Ok(());
        }
        if data.starts_with("[DONE]") {
            return self.done(events);
        }
        match serde_json::from_str::<Value>(data) {
            Ok(body) if event.name == "error" => self.fail(&body, events),
            Ok(body) => self.json(&body, events),
            Err(_) if event.name == "error" => self.fail(&Value::from(data), events),
            Err(_) => Err(protocol("an event of the stream is not JSON")),
        }
    }

    fn fail(&mut self, body: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.thoughts.flush(events);
        Err(Refusal::inline(body, &self.scrubber))
    }

    /// One chunk, or a whole answer.
    fn json(&mut self, body: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Some(error) = wire::error(body) {
            return self.fail(error, events);
        }
        let piece = wire::piece(body);
        push_reasoning(piece.reasoning, events);
        self.thoughts.split(&piece.text, events);
        if !piece.refusal.is_empty() {
            self.has_refusal = true;
            events.push(ChatEvent::Refusal(piece.refusal));
        }
        // Before the reason: the chunk that has it may hold the rest of the arguments.
        for (position, call) in piece.tool_calls.iter().enumerate() {
            let place = if piece.is_whole { Some(position as u64) } else { call["index"].as_u64() };
            self.calls.add(place, call, events);
        }
        // Counts on every chunk are running totals: the last one counts.
        self.usage = piece.usage.or(self.usage);
        match piece.finish {
            Some(raw) if raw == "error" => {
                return self.fail(&Value::from("the provider ended the answer with an error"), events);
            }
            Some(raw) => self.finish = Some(wire::finish(&raw)),
            // A whole answer without a reason is whole all the same.
            None if piece.is_whole => self.finish = self.finish.take().or(Some(Finish::Stop)),
            None => {}
        }
        Ok(())
    }

    /// The answer is whole. Held back until here, because counts may follow the reason.
    fn done(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.thoughts.flush(events);
        self.is_over = true;
        events.extend(self.usage.map(ChatEvent::Usage));
        let said = self.finish.take();
        // What came decides, not what the server calls it: a forced tool call ends with `stop`.
        let finish = match said {
            _ if self.calls.are_any() => Finish::ToolCalls,
            _ if self.has_refusal => Finish::Refusal,
            Some(finish) => finish,
            None => Finish::Stop,
        };
        events.push(ChatEvent::Finished(finish));
        Ok(())
    }
}

impl reading::Reader for Reader {
    fn bytes(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Form::Unknown(held) = &mut self.form {
            held.extend_from_slice(bytes);
            let held = std::mem::take(held);
            self.form = Form::of(&held);
            if matches!(self.form, Form::Unknown(_)) {
                self.form = Form::Unknown(held);
                return Ok(());
            }
            return self.bytes(&held, events);
        }
        match &mut self.form {
            Form::Unknown(_) => Ok(()),
            Form::Whole(whole) if whole.len() + bytes.len() > UNARY_LIMIT => {
                Err(protocol("the answer is too long"))
            }
            Form::Whole(whole) => {
                whole.extend_from_slice(bytes);
                Ok(())
            }
            Form::Events { decoder, plausible } => {
                let mut decoded = Vec::new();
                let pushed = decoder.push(bytes, &mut decoded);
                *plausible |= !decoded.is_empty();
                for event in decoded {
                    self.event(&event, events)?;
                }
                pushed.map_err(|error| protocol(&error.to_string()))
            }
        }
    }

    fn end_of_bytes(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        match std::mem::replace(&mut self.form, Form::Unknown(Vec::new())) {
            Form::Unknown(_) => {}
            Form::Whole(whole) => {
                let body: Value = serde_json::from_slice(&whole).map_err(|_| ProviderError::cut_short())?;
                self.json(&body, events)?;
            }
            Form::Events { plausible: false, .. } => {
                return Err(protocol("the answer is neither JSON nor an event stream"));
            }
            Form::Events { decoder, .. } => {
                let last = decoder.finish().map_err(|error| protocol(&error.to_string()))?;
                // A last event without its blank line may be half of one.
                if let Some(event) = last.filter(|event| event.data == "[DONE]" || is_json(&event.data)) {
                    self.event(&event, events)?;
                }
            }
        }
        if self.is_over {
            Ok(())
        } else if self.is_complete() {
            self.done(events)
        } else {
            self.thoughts.flush(events);
            Err(ProviderError::cut_short())
        }
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn is_complete(&self) -> bool {
        self.finish.is_some()
    }
}

impl Form {
    /// The form of an answer that begins like this.
    fn of(start: &[u8]) -> Self {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if MARK.starts_with(start) {
            return Self::Unknown(Vec::new());
        }
        match start.strip_prefix(MARK).unwrap_or(start).trim_ascii_start().first() {
            None => Self::Unknown(Vec::new()),
            Some(b'{') => Self::Whole(Vec::new()),
            // The first letters of comments and of the fields there are.
            Some(first) => Self::Events {
                decoder: sse::Decoder::new(),
                plausible: matches!(first, b':' | b'd' | b'e' | b'i' | b'r'),
            },
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn protocol(reason: &str) -> ProviderError {
    ProviderError::new(Kind::Protocol, reason)
}
