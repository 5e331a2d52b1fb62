//! What the JSON of an answer says, whoever wrote it.
//!
//! Read from `Value`s rather than into structs: every field is missing or null somewhere, and one
//! surprise in a field nobody needs must not cost the answer.

use atlas_llm::{Finish, Usage};
use serde_json::Value;

/// What one chunk, or one whole answer, adds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) has_tool_calls: bool,
    pub(super) has_refusal: bool,
    pub(super) finish: Option<String>,
    pub(super) usage: Option<Usage>,
}

/// Reads a chunk (`delta`) or a whole answer (`message`).
pub(super) fn piece(body: &Value) -> Piece {
    let choice = &body["choices"][0];
    let said = match &choice["delta"] {
        Value::Null => &choice["message"],
        delta => delta,
    };
    let reasoning = ["reasoning_content", "reasoning"].iter().map(|name| text(&said[name]));
    Piece {
        // The old completions shape has the text beside the choice.
        text: if said.is_null() { text(&choice["text"]) } else { text(&said["content"]) },
        reasoning: reasoning.into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
        has_tool_calls: is_filled(&said["tool_calls"]) || said["function_call"].is_object(),
        has_refusal: !text(&said["refusal"]).is_empty(),
        finish: choice["finish_reason"].as_str().filter(|reason| !reason.is_empty()).map(str::to_owned),
        usage: usage(&body["usage"]),
    }
}

/// Whether the body is an error, whatever its status.
pub(super) fn is_error(body: &Value) -> bool {
    let has_choices = is_filled(&body["choices"]);
    match &body["error"] {
        Value::Null => !has_choices && body["object"] == "error",
        Value::Object(_) => true,
        Value::String(text) => !text.is_empty() && !has_choices,
        _ => false,
    }
}

fn is_filled(list: &Value) -> bool {
    list.as_array().is_some_and(|items| !items.is_empty())
}

/// Text as a string or as a list of parts.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let part = |part: &Value| match &part["type"] {
                Value::Null => part["text"].as_str().or(part.as_str()).map(str::to_owned),
                kind if kind == "text" || kind == "output_text" => part["text"].as_str().map(str::to_owned),
                _ => None,
            };
            parts.iter().filter_map(part).collect()
        }
        _ => String::new(),
    }
}

fn usage(value: &Value) -> Option<Usage> {
    value.as_object()?;
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    Some(Usage {
        input: count(&value["prompt_tokens"]),
        output: count(&value["completion_tokens"]),
        cached_input: count(&value["prompt_tokens_details"]["cached_tokens"]),
        reasoning: count(&value["completion_tokens_details"]["reasoning_tokens"]),
    })
}

/// The meaning of a finish reason; the synonyms are those of servers that pass on the words of
/// the model behind them.
pub(super) fn finish(raw: &str) -> Finish {
    match raw {
        "stop" | "eos" | "eos_token" | "end_turn" | "stop_sequence" | "completed" | "end" => Finish::Stop,
        "length" | "max_tokens" | "model_length" | "model_context_window_exceeded" => Finish::Length,
        "tool_calls" | "function_call" | "tool_use" => Finish::ToolCalls,
        "content_filter" | "content_filtered" | "guardrail_intervened" => Finish::ContentFilter,
        "refusal" => Finish::Refusal,
        other => Finish::Other(other.chars().take(64).collect()),
    }
}
