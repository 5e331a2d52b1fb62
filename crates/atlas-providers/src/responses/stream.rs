//! From the bytes of an answer to its events.

use std::collections::{BTreeMap, BTreeSet};

use atlas_llm::{ChatEvent, Continuation, Finish, ProviderError, ProviderErrorKind as Kind, Usage};
use atlas_vendor::{Scrubber, Words};
use serde_json::Value;

use super::DIALECT;
use crate::pieces::{Piece, Pieces};
use crate::reading;

/// Turns the events of the stream, or a whole answer, into ours.
pub(crate) struct Reader {
    pieces: Pieces,
    scrubber: Scrubber,
    /// Calls by the place of their item in the output.
    calls: BTreeMap<u64, Call>,
    /// Items whose words came in pieces already.
    streamed: BTreeSet<u64>,
    /// Finished items, as they came.
    items: BTreeMap<u64, Value>,
    has_refusal: bool,
    is_over: bool,
}

struct Call {
    index: usize,
    has_arguments: bool,
}

impl Reader {
    pub(crate) fn new(scrubber: Scrubber) -> Self {
        Self {
            pieces: Pieces::new(),
            scrubber,
            calls: BTreeMap::new(),
            streamed: BTreeSet::new(),
            items: BTreeMap::new(),
            has_refusal: false,
            is_over: false,
        }
    }

    /// An answer in one piece: a response, or the last event's.
    fn whole(&mut self, response: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let has_failed = matches!(response["status"].as_str(), Some("failed" | "cancelled"));
        if has_failed || response["error"].is_object() {
            return Err(self.failure(response));
        }
        match response["output"].as_array() {
            Some(items) => {
                for (at, item) in (0..).zip(items) {
                    self.item(at, item, events);
                }
            }
            // Gateways leave out at the end what they have streamed.
            None if self.calls.is_empty() && self.streamed.is_empty() => {
                return Err(protocol("the answer has no output"));
            }
            None => {}
        }
        self.end(response, events);
        Ok(())
    }

    fn piece(&mut self, piece: Piece, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let (name, body) = match piece {
            _ if self.is_over => return Ok(()),
            Piece::Whole(response) => return self.whole(&response, events),
            Piece::Event { name, body } => (name, body),
        };
        let at = body["output_index"].as_u64().unwrap_or(0);
        let piece = body["delta"].as_str().unwrap_or_default();
        match body["type"].as_str().unwrap_or(&name) {
            "response.output_text.delta" => {
                self.streamed.insert(at);
                say(piece, ChatEvent::Text, events);
            }
            "response.refusal.delta" => {
                self.streamed.insert(at);
                self.has_refusal = true;
                say(piece, ChatEvent::Refusal, events);
            }
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                self.streamed.insert(at);
                say(piece, ChatEvent::Reasoning, events);
            }
            "response.function_call_arguments.delta" => self.arguments(at, piece, events),
            "response.output_item.added" if body["item"]["type"] == "function_call" => {
                self.call(at, &body["item"], events)
            }
            "response.output_item.done" => self.item(at, &body["item"], events),
            "response.completed" | "response.incomplete" | "response.failed" => {
                return self.whole(&body["response"], events);
            }
            "error" => return Err(self.failure(&body)),
            // About sixty more, which say what these say already.
            _ => {}
        }
        Ok(())
    }

    /// A finished item: what of it has not come in pieces is said now.
    fn item(&mut self, at: u64, item: &Value, events: &mut Vec<ChatEvent>) {
        if self.items.contains_key(&at) {
            return;
        }
        match item["type"].as_str() {
            Some("function_call") => self.call(at, item, events),
            _ if self.streamed.contains(&at) => {}
            Some("message") => {
                for part in item["content"].as_array().into_iter().flatten() {
                    say(part["text"].as_str().unwrap_or_default(), ChatEvent::Text, events);
                    let refusal = part["refusal"].as_str().unwrap_or_default();
                    self.has_refusal |= !refusal.is_empty();
                    say(refusal, ChatEvent::Refusal, events);
                }
            }
            Some("reasoning") => {
                for part in item["summary"].as_array().into_iter().flatten() {
                    say(part["text"].as_str().unwrap_or_default(), ChatEvent::Reasoning, events);
                }
            }
            _ => {}
        }
        self.items.insert(at, item.clone());
    }

    /// A call: its begin, or all of it, whichever comes first.
    fn call(&mut self, at: u64, item: &Value, events: &mut Vec<ChatEvent>) {
        if !self.calls.contains_key(&at) {
            let index = self.calls.len();
            let word = |name: &str| item[name].as_str().filter(|word| !word.is_empty()).map(str::to_owned);
            // The answer to a call names `call_id`; `id` is the item's.
            let id = word("call_id").or_else(|| word("id")).unwrap_or_else(|| format!("call_{index}"));
            let name = word("name").unwrap_or_default();
            self.calls.insert(at, Call { index, has_arguments: false });
            events.push(ChatEvent::ToolCall { index, id, name });
        }
        if self.calls.get(&at).is_some_and(|call| !call.has_arguments) {
            self.arguments(at, item["arguments"].as_str().unwrap_or_default(), events);
        }
    }

    fn arguments(&mut self, at: u64, piece: &str, events: &mut Vec<ChatEvent>) {
        if let Some(call) = self.calls.get_mut(&at).filter(|_| !piece.is_empty()) {
            call.has_arguments = true;
            events.push(ChatEvent::Arguments { index: call.index, json: piece.to_owned() });
        }
    }

    /// The answer is whole. There is no reason to finish; it is what came.
    fn end(&mut self, response: &Value, events: &mut Vec<ChatEvent>) {
        self.is_over = true;
        events.extend(self.continuation().map(ChatEvent::Continuation));
        events.extend(usage(&response["usage"]).map(ChatEvent::Usage));
        let reason = response["incomplete_details"]["reason"].as_str();
        events.push(ChatEvent::Finished(match reason {
            _ if !self.calls.is_empty() => Finish::ToolCalls,
            _ if self.has_refusal => Finish::Refusal,
            Some("max_output_tokens") => Finish::Length,
            Some("content_filter") => Finish::ContentFilter,
            Some(other) => Finish::Other(other.chars().take(64).collect()),
            None => Finish::Stop,
        }));
    }

    /// All items, if what the model thought is among them: it is refused without what followed it.
    fn continuation(&mut self) -> Option<Continuation> {
        let items = std::mem::take(&mut self.items);
        let is_thought = |item: &Value| item["type"] == "reasoning" && item["encrypted_content"].is_string();
        if !items.values().any(is_thought) {
            return None;
        }
        Some(Continuation { dialect: DIALECT, blocks: items.into_values().collect() })
    }

    /// An error inside of an answer whose status was 200: it has a code only.
    fn failure(&self, body: &Value) -> ProviderError {
        let words = Words::of(body);
        let status = match words.code.as_str() {
            "context_length_exceeded" | "invalid_prompt" | "content_filter" => 400,
            "rate_limit_exceeded" | "slow_down" => 429,
            code if code.contains("quota") || code.contains("limit_exceeded") || code.contains("credit") => {
                429
            }
            "server_is_overloaded" => 503,
            _ => 500,
        };
        words.error(status, &self.scrubber)
    }
}

impl reading::Reader for Reader {
    fn bytes(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let mut pieces = Vec::new();
        let pushed = self.pieces.push(bytes, &mut pieces);
        for piece in pieces {
            self.piece(piece, events)?;
        }
        pushed
    }

    fn end_of_bytes(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if let Some(piece) = self.pieces.finish()? {
            self.piece(piece, events)?;
        }
        if self.is_over { Ok(()) } else { Err(ProviderError::cut_short()) }
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn is_complete(&self) -> bool {
        // The outcome and the counts come in one event.
        self.is_over
    }
}

fn protocol(detail: impl Into<String>) -> ProviderError {
    ProviderError::new(Kind::Protocol, detail)
}

fn say(piece: &str, event: fn(String) -> ChatEvent, events: &mut Vec<ChatEvent>) {
    if !piece.is_empty() {
        events.push(event(piece.to_owned()));
    }
}

fn usage(usage: &Value) -> Option<Usage> {
    usage.as_object()?;
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    Some(Usage {
        input: count(&usage["input_tokens"]),
        output: count(&usage["output_tokens"]),
        cached_input: count(&usage["input_tokens_details"]["cached_tokens"]),
        cache_write: count(&usage["input_tokens_details"]["cache_write_tokens"]),
        reasoning: count(&usage["output_tokens_details"]["reasoning_tokens"]),
    })
}
