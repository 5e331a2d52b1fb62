//! What the JSON of an answer says, whoever wrote it.
//!
//! Looked up rather than read into structs: every field is missing or null somewhere, and one
//! surprise in a field nobody needs must not cost the answer.

use std::borrow::Cow;

use atlas_llm::{Finish, Usage};
use serde_json::{Value, json};

use super::json::Json;

/// What one chunk, or one whole answer, adds.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) reasoning: Cow<'a, str>,
    pub(super) refusal: Cow<'a, str>,
    /// Calls, or fragments of calls.
    pub(super) tool_calls: Vec<Value>,
    pub(super) finish: Option<&'a str>,
    pub(super) usage: Option<Usage>,
    /// It is an answer in one piece.
    pub(super) is_whole: bool,
}

/// Reads a chunk (`delta`) or a whole answer (`message`).
pub(super) fn piece<'a>(body: &'a Json<'_>) -> Piece<'a> {
    let choice = body["choices"].first();
    let said = match &choice["delta"] {
        Json::Null => &choice["message"],
        delta => delta,
    };
    let reasoning =
        ["reasoning_content", "reasoning", "reasoning_details"].into_iter().map(|name| text(&said[name]));
    Piece {
        // The old completions shape has the text beside the choice.
        text: if said.is_null() { text(&choice["text"]) } else { text(&said["content"]) },
        reasoning: reasoning.into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
        refusal: text(&said["refusal"]),
        tool_calls: tool_calls(said),
        finish: choice["finish_reason"].as_str().filter(|reason| !reason.is_empty()),
        usage: usage(&body["usage"]),
        is_whole: choice["delta"].is_null() && choice["message"].is_object(),
    }
}

/// The error a body holds, whatever its status.
pub(super) fn error<'a>(body: &'a Json<'a>) -> Option<&'a Json<'a>> {
    let choices = &body["choices"];
    let is_error = match &body["error"] {
        // Gateways put the error of the model behind them into the choice.
        Json::Null if choices.first()["error"].is_object() => return Some(choices.first()),
        Json::Null => choices.items().is_empty() && body["object"].as_str() == Some("error"),
        Json::Object(_) => true,
        Json::Text(text) => !text.is_empty() && choices.items().is_empty(),
        _ => false,
    };
    is_error.then_some(body)
}

fn tool_calls(said: &Json<'_>) -> Vec<Value> {
    match said["tool_calls"].items() {
        // The form before there were several calls.
        [] if said["function_call"].is_object() => {
            vec![json!({ "index": 0, "function": said["function_call"].to_value() })]
        }
        calls => calls.iter().map(Json::to_value).collect(),
    }
}

/// Text as a string or as a list of parts.
fn text<'a>(value: &'a Json<'_>) -> Cow<'a, str> {
    match value {
        Json::Text(text) => Cow::Borrowed(text),
        Json::List(parts) => {
            let part = |part: &'a Json<'_>| match part["type"].as_str() {
                None => part["text"].as_str().or(part.as_str()),
                Some("text" | "output_text" | "reasoning.text") => part["text"].as_str(),
                Some(_) => None,
            };
            parts.iter().filter_map(part).collect()
        }
        _ => Cow::Borrowed(""),
    }
}

fn usage(value: &Json<'_>) -> Option<Usage> {
    if !value.is_object() {
        return None;
    }
    let count = |value: &Json<'_>| value.as_u64().unwrap_or(0);
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
