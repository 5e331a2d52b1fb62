//! From the bytes of an answer to its events.

use atlas_llm::{ChatEvent, Finish, ProviderError, ProviderErrorKind as Kind};
use atlas_vendor::Scrubber;
use serde_json::Value;

use super::blocks::{BlockKind, Blocks};
use super::counts::Counts;
use super::error::inline;
use super::request::ANSWER_TOOL;
use crate::pieces::{Piece, Pieces};
use crate::reading;

fn protocol(detail: impl Into<String>) -> ProviderError {
    ProviderError::new(Kind::Protocol, detail)
}

/// Turns the events of the stream into ours.
pub(super) struct Reader {
    pieces: Pieces,
    scrubber: Scrubber,
    /// The answer is expected as the arguments of [`ANSWER_TOOL`].
    answers_by_tool: bool,
    /// What was said before the answer came in its tool; no part of it if it comes.
    preface: String,
    has_answered: bool,
    /// The answer so far.
    blocks: Blocks,
    n_calls: usize,
    usage: Counts,
    finish: Option<Finish>,
    is_over: bool,
}

impl Reader {
    pub(super) fn new(scrubber: Scrubber, answers_by_tool: bool) -> Self {
        Self {
            pieces: Pieces::new(),
            scrubber,
            answers_by_tool,
            preface: String::new(),
            has_answered: false,
            blocks: Blocks::default(),
            n_calls: 0,
            usage: Counts::default(),
            finish: None,
            is_over: false,
        }
    }

    /// An answer in one piece.
    fn whole(&mut self, answer: &Value, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        if answer["type"] == "error" || answer["error"].is_object() {
            return Err(inline(answer, &self.scrubber));
        }
        let Some(content) = answer["content"].as_array() else {
            return Err(protocol("the answer holds no content"));
        };
        for (index, block) in (0..).zip(content) {
            self.begin(index, block, events);
            if let Some(input) = block.get("input").filter(|input| input.is_object()) {
                self.arguments(index, &input.to_string(), events);
            }
            self.end_block(index, events);
        }
        self.usage.take(&answer["usage"]);
        self.said(answer, events);
        self.end(events);
        Ok(())
    }

    fn piece(&mut self, piece: Piece, events: &mut Vec<ChatEvent>) -> Result<(), ProviderError> {
        let (name, body) = match piece {
            _ if self.is_over => return Ok(()),
            Piece::Whole(answer) => return self.whole(&answer, events),
            Piece::Event { name, body } => (name, body),
        };
        let index = body["index"].as_u64().unwrap_or(0);
        match body["type"].as_str().unwrap_or(&name) {
            "message_start" => self.usage.take(&body["message"]["usage"]),
            "content_block_start" => self.begin(index, &body["content_block"], events),
            "content_block_delta" => self.delta(index, &body["delta"], events),
            "content_block_stop" => self.end_block(index, events),
            "message_delta" => {
                self.usage.take(&body["usage"]);
                self.said(&body["delta"], events);
            }
            "message_stop" => self.end(events),
            "error" => return Err(inline(&body, &self.scrubber)),
            // `ping`, and whatever comes into use.
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, index: u64, wire: &Value, events: &mut Vec<ChatEvent>) {
        let kind = match wire["type"].as_str() {
            Some("text") => BlockKind::Text,
            Some("thinking" | "redacted_thinking") => BlockKind::Thinking,
            Some("tool_use") if self.answers_by_tool && wire["name"] == ANSWER_TOOL => BlockKind::Answer,
            Some("tool_use") => {
                let word = |name: &str| wire[name].as_str().unwrap_or_default().to_owned();
                let call = self.n_calls;
                self.n_calls += 1;
                // Imitations leave it out.
                let id = Some(word("id")).filter(|id| !id.is_empty());
                let id = id.unwrap_or_else(|| format!("toolu_{call}"));
                events.push(ChatEvent::ToolCall { index: call, id, name: word("name") });
                BlockKind::Call(call)
            }
            _ => BlockKind::Unknown,
        };
        self.blocks.begin(index, wire, kind);
        match kind {
            BlockKind::Text => self.say(wire["text"].as_str().unwrap_or_default(), events),
            BlockKind::Thinking => think(wire["thinking"].as_str().unwrap_or_default(), events),
            // Its `input` is a placeholder.
            BlockKind::Call(_) | BlockKind::Answer | BlockKind::Unknown => {}
        }
    }

    fn delta(&mut self, index: u64, delta: &Value, events: &mut Vec<ChatEvent>) {
        let piece = |name: &str| delta[name].as_str().unwrap_or_default();
        match delta["type"].as_str() {
            Some("text_delta") => {
                self.blocks.append(index, "text", piece("text"));
                self.say(piece("text"), events);
            }
            Some("input_json_delta") => self.arguments(index, piece("partial_json"), events),
            Some("thinking_delta") => {
                self.blocks.append(index, "thinking", piece("thinking"));
                think(piece("thinking"), events);
            }
            Some("signature_delta") => self.blocks.append(index, "signature", piece("signature")),
            _ => {}
        }
    }

    fn arguments(&mut self, index: u64, piece: &str, events: &mut Vec<ChatEvent>) {
        if piece.is_empty() {
            return;
        }
        match self.blocks.append_input(index, piece) {
            BlockKind::Call(index) => events.push(ChatEvent::Arguments { index, json: piece.to_owned() }),
            BlockKind::Answer => {
                self.has_answered = true;
                events.push(ChatEvent::Text(piece.to_owned()));
            }
            BlockKind::Text | BlockKind::Thinking | BlockKind::Unknown => {}
        }
    }

    fn end_block(&mut self, index: u64, events: &mut Vec<ChatEvent>) {
        if self.blocks.is_empty_answer(index) {
            self.arguments(index, "{}", events);
        }
    }

    fn say(&mut self, text: &str, events: &mut Vec<ChatEvent>) {
        if text.is_empty() {
        } else if self.answers_by_tool {
            self.preface.push_str(text);
        } else {
            events.push(ChatEvent::Text(text.to_owned()));
        }
    }

    /// The reason to finish, where one is given.
    fn said(&mut self, said: &Value, events: &mut Vec<ChatEvent>) {
        let Some(reason) = said["stop_reason"].as_str() else { return };
        let explanation = said["stop_details"]["explanation"].as_str();
        if let Some(words) = explanation.filter(|words| reason == "refusal" && !words.is_empty()) {
            events.push(ChatEvent::Refusal(words.to_owned()));
        }
        self.finish = Some(finish(reason));
    }

    /// The answer is whole.
    fn end(&mut self, events: &mut Vec<ChatEvent>) {
        self.is_over = true;
        let said = self.finish.take().unwrap_or(Finish::Stop);
        // The model did not use the tool it was given for its answer: then what it said is all.
        if !self.has_answered && !self.preface.is_empty() {
            events.push(ChatEvent::Text(std::mem::take(&mut self.preface)));
        }
        events.extend(std::mem::take(&mut self.blocks).continuation().map(ChatEvent::Continuation));
        events.extend(self.usage.usage().map(ChatEvent::Usage));
        events.push(ChatEvent::Finished(match said {
            _ if self.n_calls > 0 => Finish::ToolCalls,
            // Nobody but us asked for that tool.
            Finish::ToolCalls => Finish::Stop,
            other => other,
        }));
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
        match (self.is_over, self.is_complete()) {
            (true, _) => Ok(()),
            (false, true) => {
                self.end(events);
                Ok(())
            }
            (false, false) => Err(ProviderError::cut_short()),
        }
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn is_complete(&self) -> bool {
        self.finish.is_some()
    }
}

fn think(text: &str, events: &mut Vec<ChatEvent>) {
    if !text.is_empty() {
        events.push(ChatEvent::Reasoning(text.to_owned()));
    }
}

fn finish(reason: &str) -> Finish {
    match reason {
        "end_turn" | "stop_sequence" => Finish::Stop,
        "max_tokens" | "model_context_window_exceeded" => Finish::Length,
        "tool_use" => Finish::ToolCalls,
        "refusal" => Finish::Refusal,
        other => Finish::Other(other.chars().take(64).collect()),
    }
}
