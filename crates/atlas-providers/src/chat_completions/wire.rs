//! What the JSON of an answer says, whoever wrote it.
//!
//! Read from `Value`s rather than into structs: every field is missing or null somewhere, and one
//! surprise in a field nobody needs must not cost the answer.

use atlas_llm::{Finish, Usage};
use serde_json::{Value, json};

/// What one chunk, or one whole answer, adds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) refusal: String,
    /// Calls, or fragments of calls.
    pub(super) tool_calls: Vec<Value>,
    pub(super) finish: Option<String>,
    pub(super) usage: Option<Usage>,
    /// It is an answer in one piece.
    pub(super) is_whole: bool,
}

/// Reads a chunk (`delta`) or a whole answer (`message`).
pub(super) fn piece(body: &Value) -> Piece {
    let choice = &body["choices"][0];
    let said = match &choice["delta"] {
        Value::Null => &choice["message"],
        delta => delta,
    };
    let reasoning =
        ["reasoning_content", "reasoning", "reasoning_details"].iter().map(|name| text(&said[name]));
    Piece {
        // The old completions shape has the text beside the choice.
        text: if said.is_null() { text(&choice["text"]) } else { text(&said["content"]) },
        reasoning: reasoning.into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
        refusal: text(&said["refusal"]),
        tool_calls: tool_calls(said),
        finish: choice["finish_reason"].as_str().filter(|reason| !reason.is_empty()).map(str::to_owned),
        usage: usage(&body["usage"]),
        is_whole: choice["delta"].is_null() && choice["message"].is_object(),
    }
}

/// The error a body holds, whatever its status.
pub(super) fn error(body: &Value) -> Option<&Value> {
    let has_choices = is_filled(&body["choices"]);
    let is_error = match &body["error"] {
        // Gateways put the error of the model behind them into the choice.
        Value::Null if body["choices"][0]["error"].is_object() => return Some(&body["choices"][0]),
        Value::Null => !has_choices && body["object"] == "error",
        Value::Object(_) => true,
        Value::String(text) => !text.is_empty() && !has_choices,
        _ => false,
    };
    is_error.then_some(body)
}

fn is_filled(list: &Value) -> bool {
    list.as_array().is_some_and(|items| !items.is_empty())
}

fn tool_calls(said: &Value) -> Vec<Value> {
    match &said["tool_calls"] {
        Value::Array(calls) if !calls.is_empty() => calls.clone(),
        // The form before there were several calls.
        _ if said["function_call"].is_object() => {
            vec![json!({ "index": 0, "function": said["function_call"] })]
        }
        _ => Vec::new(),
    }
}

/// Text as a string or as a list of parts.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let part = |part: &Value| match part["type"].as_str() {
                None => part["text"].as_str().or(part.as_str()).map(str::to_owned),
                Some("text" | "output_text" | "reasoning.text") => part["text"].as_str().map(str::to_owned),
                Some(_) => None,
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
        cache_write: count(&value["prompt_tokens_details"]["cache_write_tokens"]),
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
