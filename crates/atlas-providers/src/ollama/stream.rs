//! From the lines of an answer to its events.

use std::collections::HashSet;

use atlas_http::ndjson;
use atlas_llm::{ChatEvent, ChatRequest, Finish, Message, ProviderError, ProviderErrorKind as Kind, Usage};
use atlas_vendor::{Refusal, Scrubber};
use serde_json::Value;

use crate::reading;

/// No text reaches this many characters per token, white space and repetitions apart: English has
/// 4 to 5, logs and JSON 2 to 3.
const MOST_CHARACTERS_PER_TOKEN: u64 = 8;

/// Turns the lines of the stream into events.
pub(super) struct Reader {
    decoder: ndjson::Decoder,
    scrubber: Scrubber,
    sent: Sent,
    /// Ids that calls of the conversation have already.
    ids: HashSet<String>,
    n_calls: usize,
    is_over: bool,
}

/// What is known about the prompt, to notice when the server has read less of it.
///
/// Servers that ignore `truncate: false` cut a prompt and answer what is left, and only the count
/// of prompt tokens tells. It tells for certain in two cases: when there is less than one token
/// for [`MOST_CHARACTERS_PER_TOKEN`] characters, and when the context is full before the answer
/// has begun. A small cut between the two is not seen. A missing count, or none of any, means a
/// prompt that was cached, and says nothing.
#[derive(Debug, Clone, Copy)]
struct Sent {
    characters: u64,
    context_tokens: u64,
}

impl Sent {
    fn was_cut(self, n_read: u64) -> bool {
        n_read.saturating_mul(MOST_CHARACTERS_PER_TOKEN) < self.characters || n_read >= self.context_tokens
    }
}

/// Characters that cost tokens: not white space, and of a run of the same one only the first,
/// because tokenizers have tokens for sixteen spaces and for long lines of dashes.
fn weight(text: &str) -> u64 {
    let mut last = ' ';
    let counts = |c: &char| std::mem::replace(&mut last, *c) != *c && !c.is_whitespace();
    text.chars().filter(counts).count() as u64
}

impl Reader {
    /// A reader of the answer to this request.
    pub(super) fn new(scrubber: Scrubber, request: &ChatRequest, context_tokens: u32) -> Self {
        let mut ids = HashSet::new();
        let mut characters = 0;
        for message in &request.messages {
            characters += weight(message.text());
            if let Message::Assistant(turn) = message {
                ids.extend(turn.tool_calls.iter().map(|call| call.id.clone()));
            }
        }
        Self {
            decoder: ndjson::Decoder::new(),
            scrubber,
            sent: Sent { characters, context_tokens: context_tokens.into() },
            ids,
            n_calls: 0,
            is_over: false,
        }
    }

    fn line(&mut self, line: &str, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if self.is_over {
            return Ok(());
        }
        let line: Value = serde_json::from_str(line)
            .map_err(|_| ProviderError::new(Kind::Protocol, "a line of the answer is not JSON"))?;
        if line["error"].is_string() || line["error"].is_object() {
            return Err(Refusal::inline(&line, &self.scrubber));
        }
        let message = &line["message"];
        let text = |name: &str| message[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        events.extend(text("thinking").map(ChatEvent::Reasoning));
        events.extend(text("content").map(ChatEvent::Text));
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            self.call(call, events);
        }
        if line["done"] == true { self.end(&line, events) } else { Ok(()) }
    }

    /// A call, which always comes whole.
    fn call(&mut self, call: &Value, events: &mut Vec<ChatEvent>) {
        let function = &call["function"];
        let index = self.n_calls;
        self.n_calls += 1;
        let id = self.id(call["id"].as_str().unwrap_or_default());
        let name = function["name"].as_str().unwrap_or_default().to_owned();
        events.push(ChatEvent::ToolCall { index, id, name });
        let json = match &function["arguments"] {
            Value::Null => "{}".to_owned(),
            Value::String(text) => text.clone(),
            arguments => arguments.to_string(),
        };
        events.push(ChatEvent::Arguments { index, json });
    }

    /// An id that no call of the conversation has: the server's, or one made here.
    fn id(&mut self, theirs: &str) -> String {
        let mut id = theirs.to_owned();
        let mut n_made = self.ids.len();
        while id.is_empty() || self.ids.contains(&id) {
            id = format!("call_{n_made}");
            n_made += 1;
        }
        self.ids.insert(id.clone());
        id
    }

    fn end(&mut self, last: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let input = last["prompt_eval_count"].as_u64().filter(|n_read| *n_read > 0);
        if let Some(n_read) = input.filter(|n_read| self.sent.was_cut(*n_read)) {
            let detail = format!(
                "the server has read {n_read} tokens of a prompt of {} characters and dropped the rest; \
                 raise BYOC_CONTEXT_TOKENS or the server's OLLAMA_CONTEXT_LENGTH, or update the server",
                self.sent.characters
            );
            return Err(ProviderError::new(Kind::PromptTooLong, detail));
        }
        // Half a count would pass for a whole one; without any, the caller estimates.
        if let (Some(input), Some(output)) = (input, last["eval_count"].as_u64()) {
            events.push(ChatEvent::Usage(Usage { input, output, ..Usage::default() }));
        }
        self.is_over = true;
        events.push(ChatEvent::Finished(match last["done_reason"].as_str() {
            _ if self.n_calls > 0 => Finish::ToolCalls,
            Some("stop") | None => Finish::Stop,
            Some("length") => Finish::Length,
            Some(other) => Finish::Other(other.chars().take(64).collect()),
        }));
        Ok(())
    }
}

impl reading::Reader for Reader {
    fn bytes(&mut self, bytes: &[u8], events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let mut lines = Vec::new();
        let pushed = self.decoder.push(bytes, &mut lines);
        for line in lines {
            self.line(&line, events)?;
        }
        pushed.map_err(|error| ProviderError::new(Kind::Protocol, error.to_string()))
    }

    fn end_of_bytes(&mut self, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let last = std::mem::take(&mut self.decoder).finish();
        // A last line without its end may be half of one.
        if let Some(line) = last.filter(|line| serde_json::from_str::<Value>(line).is_ok()) {
            self.line(&line, events)?;
        }
        if self.is_over { Ok(()) } else { Err(ProviderError::cut_short()) }
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn is_complete(&self) -> bool {
        // The reason and the counts come in one line.
        self.is_over
    }
}
