//! The pieces of a streamed answer, as bytes.
//!
//! What all chunks of an answer have in common is written once; a token then costs its own JSON
//! text and no allocation beside the buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atlas_llm::{ChatEvent, Finish, Usage};
use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde_json::Value;

use super::answer::{Identity, counted, word};
use crate::problem::Problem;

/// Room for some tokens; a longer piece makes its own.
const ROOM: usize = 4 << 10;

/// Writes the events of one answer as chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    ready: BytesMut,
    /// `data: {...` up to the choices.
    head: String,
    include_usage: bool,
    usage: Option<Usage>,
    usage_estimated: Arc<AtomicBool>,
}

impl Chunks {
    /// Chunks of an answer that begins: the first one, which says who speaks, is ready.
    pub(super) fn new(identity: &Identity, include_usage: bool) -> Self {
        #[derive(Serialize)]
        struct Head<'a> {
            id: &'a str,
            object: &'static str,
            created: i64,
            model: &'a str,
        }
        let head = json(&Head {
            id: &identity.id,
            object: "chat.completion.chunk",
            created: identity.created,
            model: &identity.served.served_by.model,
        });
        let head = format!("data: {},\"choices\":[", head.trim_end_matches('}'));
        let usage_estimated = Arc::clone(&identity.usage_estimated);
        let ready = BytesMut::with_capacity(ROOM);
        let mut chunks = Self { ready, head, include_usage, usage: None, usage_estimated };
        chunks.begin();
        chunks.put("{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"atlasai\":");
        chunks.put(&json(&identity.served));
        chunks.end();
        chunks
    }

    /// Writes the next event. True when it was the last one, and the stream is complete.
    pub(super) fn push(&mut self, event: ChatEvent) -> bool {
        match event {
            ChatEvent::Text(piece) => self.text("content", &piece),
            ChatEvent::Reasoning(piece) => self.text("reasoning_content", &piece),
            ChatEvent::Refusal(piece) => self.text("refusal", &piece),
            ChatEvent::ToolCall { index, id, name } => {
                self.call(index);
                self.put(",\"id\":");
                self.quote(&id);
                self.put(",\"type\":\"function\",\"function\":{\"name\":");
                self.quote(&name);
                self.put(",\"arguments\":\"\"}}]}");
                self.finish_reason(None);
            }
            ChatEvent::Arguments { index, json } => {
                self.call(index);
                self.put(",\"function\":{\"arguments\":");
                self.quote(&json);
                self.put("}}]}");
                self.finish_reason(None);
            }
            // For the caller's next turn OpenAI's protocol has no place.
            ChatEvent::Continuation(_) => {}
            ChatEvent::Usage(usage) => self.usage = Some(usage),
            ChatEvent::Finished(finish) => {
                self.finish(&finish);
                return true;
            }
        }
        false
    }

    /// Ends the stream with an error: no `[DONE]`, so that nobody takes it for an answer.
    pub(super) fn fail(&mut self, problem: &Problem) {
        self.put("data: ");
        self.put(&problem.to_openai().to_string());
        self.put("\n\n");
    }

    /// A comment: keeps proxies from closing a stream while the model thinks.
    pub(super) fn comment(&mut self) {
        self.put(": waiting\n\n");
    }

    /// What was written since the last call.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        (!self.ready.is_empty()).then(|| self.ready.split().freeze())
    }

    /// How much is ready.
    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }

    fn finish(&mut self, finish: &Finish) {
        self.begin();
        self.put("{}");
        self.finish_reason(Some(word(finish)));
        if self.include_usage {
            let usage = self.usage.as_ref().map_or(Value::Null, counted);
            self.ready.extend_from_slice(self.head.as_bytes());
            self.put("],\"usage\":");
            self.put(&usage.to_string());
            if self.usage_estimated.load(Ordering::Relaxed) {
                self.put(",\"atlasai\":{\"usage_estimated\":true}");
            }
            self.put("}\n\n");
        }
        self.put("data: [DONE]\n\n");
    }

    fn text(&mut self, member: &'static str, piece: &str) {
        // A client may stop reading at an empty piece, and it would say nothing anyway.
        if piece.is_empty() {
            return;
        }
        self.begin();
        self.put("{\"");
        self.put(member);
        self.put("\":");
        self.quote(piece);
        self.put("}");
        self.finish_reason(None);
    }

    fn call(&mut self, index: usize) {
        self.begin();
        self.put("{\"tool_calls\":[{\"index\":");
        self.put(&index.to_string());
    }

    fn begin(&mut self) {
        self.ready.extend_from_slice(self.head.as_bytes());
        self.put("{\"index\":0,\"delta\":");
    }

    fn finish_reason(&mut self, word: Option<&'static str>) {
        self.put(",\"finish_reason\":");
        match word {
            Some(word) => self.quote(word),
            None => self.put("null"),
        }
        self.put("}]");
        self.end();
    }

    fn end(&mut self) {
        // OpenAI: with `include_usage` every chunk but the last has an empty one.
        self.put(if self.include_usage { ",\"usage\":null}\n\n" } else { "}\n\n" });
    }

    fn put(&mut self, text: &str) {
        self.ready.extend_from_slice(text.as_bytes());
    }

    fn quote(&mut self, text: &str) {
        serde_json::to_writer((&mut self.ready).writer(), text).expect("memory takes any text");
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers can always be written as JSON")
}
