//! An answer in one piece, and what it shares with the chunks of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atlas_inference::ServedBy;
use atlas_llm::{ChatEvent, Collector, Completion, Finish, ToolCall, Usage};
use serde::Serialize;
use serde_json::{Value, json};

use crate::random;

/// What every piece of one answer repeats.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) id: String,
    /// Seconds since 1970.
    pub(super) created: i64,
    pub(super) served: Served,
    /// The provider did not count; known at the end.
    pub(super) usage_estimated: Arc<AtomicBool>,
}

/// The member `atlasai`: OpenAI's clients skip it, and whoever looks knows who answered.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Served {
    pub(super) served_by: ServedBy,
    /// What was asked for and done without, because the model lacks it.
    pub(super) degraded: Vec<&'static str>,
    /// Secrets taken out before the request left.
    pub(super) redactions: usize,
}

impl Identity {
    pub(super) fn new(served: Served, usage_estimated: Arc<AtomicBool>) -> Self {
        let created = atlas_domain::Timestamp::now().as_second();
        Self { id: format!("chatcmpl-{}", random::request_id()), created, served, usage_estimated }
    }
}

/// Puts an answer together, what the model thought included.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    collector: Collector,
    reasoning: String,
}

impl Gathering {
    /// Takes the next event; gives the body when it was the last one.
    pub(super) fn push(&mut self, event: ChatEvent, identity: &Identity) -> Option<Vec<u8>> {
        if let ChatEvent::Reasoning(piece) = &event {
            self.reasoning.push_str(piece);
        }
        let completion = self.collector.push(event)?;
        Some(body(&completion, &self.reasoning, identity))
    }
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: Option<Value>,
    atlasai: Account<'a>,
}

#[derive(Serialize)]
struct Account<'a> {
    #[serde(flatten)]
    served: &'a Served,
    usage_estimated: bool,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Spoken<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Spoken<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Called<'a>>,
}

#[derive(Serialize)]
struct Called<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

impl<'a> Called<'a> {
    fn new(ToolCall { id, name, arguments }: &'a ToolCall) -> Self {
        Self { id, kind: "function", function: Function { name, arguments } }
    }
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    arguments: &'a str,
}

fn body(completion: &Completion, reasoning: &str, identity: &Identity) -> Vec<u8> {
    let Completion { text, refusal, tool_calls, continuation: _, usage, finish } = completion;
    // OpenAI: content is null where the answer is a refusal or nothing but tool calls.
    let silent = text.is_empty() && !(refusal.is_empty() && tool_calls.is_empty());
    let message = Spoken {
        role: "assistant",
        content: (!silent).then_some(text),
        refusal: Some(refusal.as_str()).filter(|refusal| !refusal.is_empty()),
        reasoning_content: Some(reasoning).filter(|reasoning| !reasoning.is_empty()),
        tool_calls: tool_calls.iter().map(Called::new).collect(),
    };
    let body = Body {
        id: &identity.id,
        object: "chat.completion",
        created: identity.created,
        model: &identity.served.served_by.model,
        choices: [Choice { index: 0, message, logprobs: None, finish_reason: word(finish) }],
        usage: usage.as_ref().map(counted),
        atlasai: Account {
            served: &identity.served,
            usage_estimated: identity.usage_estimated.load(Ordering::Relaxed),
        },
    };
    serde_json::to_vec(&body).expect("texts and numbers can always be written as JSON")
}

/// OpenAI's word for why an answer ended. Clients know these and no others.
pub(super) fn word(finish: &Finish) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::ToolCalls => "tool_calls",
        Finish::ContentFilter => "content_filter",
        // A refusal is said in words, and ends like any answer.
        Finish::Stop | Finish::Refusal | Finish::Other(_) => "stop",
    }
}

/// The tokens of an answer.
pub(super) fn counted(usage: &Usage) -> Value {
    let Usage { input, output, cached_input, cache_write, reasoning } = usage;
    json!({
        "prompt_tokens": input,
        "completion_tokens": output,
        "total_tokens": input + output,
        "prompt_tokens_details": {"cached_tokens": cached_input, "cache_write_tokens": cache_write},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    })
}
