//! What the connection test asks. Every question is short, harmless, and has one right answer.

use std::hash::{BuildHasher, Hasher, RandomState};

use atlas_llm::{ChatRequest, JsonSchema, Message, Output, Tool};
use serde_json::{Value, json};

/// Enough for a word, and what the strictest endpoint accepts (OpenAI's Responses: at least 16).
const WORD_TOKENS: u32 = 64;
/// Room for a model that thinks first.
const ANSWER_TOKENS: u32 = 1_024;
/// An answer of six digits, thoughts included; kept small because it counts against the context.
const NUMBER_TOKENS: u32 = 256;

pub(super) const TOOL: &str = "report_disk_usage";
pub(super) const HOST: &str = "db-7";
const FINDINGS: [&str; 3] = ["disk_full", "memory_full", "network_down"];

pub(super) fn word() -> ChatRequest {
    ChatRequest {
        messages: vec![Message::user("Reply with the single word OK.")],
        max_output_tokens: Some(WORD_TOKENS),
        ..ChatRequest::default()
    }
}

pub(super) fn list() -> ChatRequest {
    ChatRequest {
        messages: vec![Message::user("Write the numbers from 1 to 40, one on each line, and nothing else.")],
        max_output_tokens: Some(ANSWER_TOKENS),
        ..ChatRequest::default()
    }
}

/// The words ask for prose: only a schema that is enforced, or a model that minds it, gives JSON.
pub(super) fn shaped() -> ChatRequest {
    let schema = json!({
        "type": "object",
        "properties": {
            "finding": { "type": "string", "enum": FINDINGS },
            "host": { "type": "string" },
        },
        "required": ["finding", "host"],
        "additionalProperties": false,
    });
    ChatRequest {
        messages: vec![
            Message::system("Answer in one plain English sentence. Do not use JSON, braces or lists."),
            Message::user("Host web-3 reports that no space is left on its device. What is wrong with it?"),
        ],
        output: Output::Schema(JsonSchema { name: "finding".into(), schema }),
        max_output_tokens: Some(ANSWER_TOKENS),
        ..ChatRequest::default()
    }
}

pub(super) fn has_the_shape(json: &str) -> bool {
    let Ok(Value::Object(object)) = serde_json::from_str(json) else { return false };
    let finding = object.get("finding").and_then(Value::as_str);
    let host = object.get("host").is_some_and(Value::is_string);
    object.len() == 2 && host && finding.is_some_and(|finding| FINDINGS.contains(&finding))
}

pub(super) fn errand() -> ChatRequest {
    let parameters = json!({
        "type": "object",
        "properties": { "host": { "type": "string", "description": "The host's name." } },
        "required": ["host"],
        "additionalProperties": false,
    });
    let tool = Tool {
        name: TOOL.into(),
        description: "Reports how full the disk of a host is, in percent.".into(),
        parameters,
        strict: false,
    };
    let text = format!("How full is the disk of host {HOST}? Use the tool {TOOL} to find out.");
    ChatRequest {
        messages: vec![Message::user(text)],
        tools: vec![tool],
        max_output_tokens: Some(ANSWER_TOKENS),
        ..ChatRequest::default()
    }
}

/// A prompt of about this many tokens with a number at its head, which is asked for at its end.
pub(super) fn long(n_tokens: u64) -> (String, ChatRequest) {
    let number = format!("{:06}", RandomState::new().build_hasher().finish() % 1_000_000);
    let mut text = format!("The number of this report is {number}. Remember it.\n\n");
    let mut n_lines = 0;
    while (text.len() as u64) < n_tokens.saturating_mul(4) {
        n_lines += 1;
        text.push_str(&format!("Line {n_lines}: nothing happened on the host of this line.\n"));
    }
    text.push_str("\nReply with the number of this report, which stands before line 1, and nothing else.");
    let request = ChatRequest {
        messages: vec![Message::user(text)],
        max_output_tokens: Some(NUMBER_TOKENS),
        ..ChatRequest::default()
    };
    (number, request)
}
