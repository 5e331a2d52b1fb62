//! From the bytes of an answer to its events.

use atlas_http::sse;
use atlas_llm::{ChatEvent, ChatRequest, Finish, ProviderError, Usage};
use atlas_vendor::{Refusal, Scrubber};
use serde_json::Value;

use super::calls::Calls;
use super::json::Json;
use super::thoughts::{Thoughts, push_reasoning};
use super::wire;
use crate::form::{End, Form, protocol};
use crate::reading;

/// Reads an event stream, or the answer in one piece of a server that ignores `stream`.
#[derive(Debug)]
pub(crate) struct Reader {
    form: Form,
    answer: Answer,
}

/// What came so far.
#[derive(Debug)]
struct Answer {
    scrubber: Scrubber,
    thoughts: Thoughts,
    calls: Calls,
    finish: Option<Finish>,
    usage: Option<Usage>,
    has_refusal: bool,
    is_over: bool,
}

impl Reader {
    /// Before the answer to this request.
    pub(crate) fn new(request: &ChatRequest, scrubber: Scrubber) -> Self {
        let answer = Answer {
            scrubber,
            thoughts: Thoughts::default(),
            calls: Calls::after(request),
            finish: None,
            usage: None,
            has_refusal: false,
            is_over: false,
        };
        Self { form: Form::new(), answer }
    }
}

impl Answer {
    fn event(&mut self, name: &str, data: &str, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let data = data.trim();
        if self.is_over || data.is_empty() {
            return Ok(());
        }
        if data.starts_with("[DONE]") {
            self.done(events);
            return Ok(());
        }
        match Json::read(data) {
            Some(body) if name == "error" => self.fail(&body.to_value(), events),
            Some(body) => self.json(&body, events),
            None if name == "error" => self.fail(&Value::from(data), events),
            None => Err(protocol("an event of the stream is not JSON")),
        }
    }

    fn fail(&mut self, body: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        self.thoughts.flush(events);
        Err(Refusal::inline(body, &self.scrubber))
    }

    /// One chunk, or a whole answer.
    fn json(&mut self, body: &Json<'_>, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Some(error) = wire::error(body) {
            return self.fail(&error.to_value(), events);
        }
        let piece = wire::piece(body);
        push_reasoning(&piece.reasoning, events);
        self.thoughts.split(&piece.text, events);
        if !piece.refusal.is_empty() {
            self.has_refusal = true;
            events.push(ChatEvent::Refusal(piece.refusal.into_owned()));
        }
        // Before the reason: the chunk that has it may hold the rest of the arguments.
        for (position, call) in piece.tool_calls.iter().enumerate() {
            let place = if piece.is_whole { Some(position as u64) } else { call["index"].as_u64() };
            self.calls.add(place, call, events);
        }
        // Counts on every chunk are running totals: the last one counts.
        self.usage = piece.usage.or(self.usage);
        match piece.finish {
            Some("error") => {
                return self.fail(&Value::from("the provider ended the answer with an error"), events);
            }
            Some(raw) => self.finish = Some(wire::finish(raw)),
            // A whole answer without a reason is whole all the same.
            None if piece.is_whole => self.finish = self.finish.take().or(Some(Finish::Stop)),
            None => {}
        }
        Ok(())
    }

    /// The answer is whole. Held back until here, because counts may follow the reason.
    fn done(&mut self, events: &mut Vec<ChatEvent>) {
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
    }
}

impl reading::Reader for Reader {
    fn bytes(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let Self { form, answer } = self;
        form.push(bytes, |sse::Event { name, data }| answer.event(name, data, events))
    }

    fn end_of_bytes(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let answer = &mut self.answer;
        match self.form.finish()? {
            End::Nothing => {}
            End::Whole(whole) => {
                let body = std::str::from_utf8(&whole).ok().and_then(Json::read);
                answer.json(&body.ok_or_else(ProviderError::cut_short)?, events)?;
            }
            // It may be half of one.
            End::Event(name, data) if data == "[DONE]" || Json::read(&data).is_some() => {
                answer.event(&name, &data, events)?;
            }
            End::Event(..) => {}
        }
        if answer.is_over {
            return Ok(());
        }
        if answer.finish.is_none() {
            answer.thoughts.flush(events);
            return Err(ProviderError::cut_short());
        }
        answer.done(events);
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.answer.is_over
    }

    fn is_complete(&self) -> bool {
        self.answer.finish.is_some()
    }
}
