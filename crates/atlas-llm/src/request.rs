//! What is asked of a chat model.

use std::borrow::Cow;

use atlas_guard::Texts;
use serde_json::Value;

use crate::tools::{Tool, ToolCall, ToolChoice};

/// One turn of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Instructions of the feature.
    System(String),
    /// The caller, and the evidence.
    User(String),
    /// An earlier answer.
    Assistant(AssistantTurn),
    /// What a tool brought, for the call of this id. The results of one assistant turn follow it
    /// directly, one for every call.
    Tool {
        /// The call that is answered.
        call_id: String,
        /// What the tool said.
        text: String,
        /// The tool failed, and `text` says how.
        is_error: bool,
    },
}

/// An earlier answer of the model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AssistantTurn {
    /// What it said; may be empty beside calls.
    pub text: String,
    /// The tools it asked for.
    pub tool_calls: Vec<ToolCall>,
    /// What the provider wants back unchanged, from [`crate::ChatEvent::Continuation`]; left out
    /// when the history goes to another provider than the one that made it.
    pub continuation: Option<Continuation>,
}

/// Blocks of an earlier answer that only the provider that made them understands (signed
/// reasoning), to be sent back unchanged with the results of its tool calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Continuation {
    /// The dialect that made them, such as `anthropic`.
    pub dialect: &'static str,
    /// The blocks.
    pub blocks: Value,
}

impl Message {
    /// Instructions.
    pub fn system(text: impl Into<String>) -> Self {
        Self::System(text.into())
    }

    /// The caller.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User(text.into())
    }

    /// An earlier answer of text alone.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::Assistant(AssistantTurn { text: text.into(), ..AssistantTurn::default() })
    }

    /// The text of the turn.
    pub fn text(&self) -> &str {
        match self {
            Self::System(text) | Self::User(text) | Self::Tool { text, .. } => text,
            Self::Assistant(turn) => &turn.text,
        }
    }
}

/// The shape an answer must have. Keep to the portable subset: an object at the root, every
/// property required, nullable instead of optional, `additionalProperties: false`, no numeric or
/// length limits, depth at most 5.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonSchema {
    /// `[A-Za-z0-9_-]{1,64}`.
    pub name: Cow<'static, str>,
    /// The schema.
    pub schema: Value,
}

/// The form of the answer. It is validated by the caller all the same: a provider that promises a
/// form may still cut the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Output {
    /// Prose.
    #[default]
    Text,
    /// Any JSON object.
    Json,
    /// JSON of this shape.
    Schema(JsonSchema),
}

impl Output {
    /// The schema, where one is asked for.
    pub fn schema(&self) -> Option<&JsonSchema> {
        match self {
            Self::Schema(schema) => Some(schema),
            Self::Text | Self::Json => None,
        }
    }
}

/// One request to a chat model. What is `None` is left to the provider.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatRequest {
    /// The conversation; system turns first.
    pub messages: Vec<Message>,
    /// The tools the model may ask for.
    pub tools: Vec<Tool>,
    /// Whether it must, may or may not. Without tools it says nothing.
    pub tool_choice: ToolChoice,
    /// Whether several tools may be asked for at once.
    pub parallel_tool_calls: Option<bool>,
    /// The form of the answer.
    pub output: Output,
    /// Most tokens to generate.
    pub max_output_tokens: Option<u32>,
    /// 0 to 2. Reasoning models refuse it; it is left out for those that are known to.
    pub temperature: Option<f32>,
    /// 0 to 1; the same holds.
    pub top_p: Option<f32>,
    /// Texts at which to stop, at most 4.
    pub stop: Vec<String>,
    /// For repeatable sampling, where the provider has it.
    pub seed: Option<u64>,
}

impl Texts for ChatRequest {
    fn visit_texts(&mut self, visit: &mut dyn FnMut(&mut String)) {
        let Self {
            messages,
            tools,
            tool_choice: _,
            parallel_tool_calls: _,
            output,
            max_output_tokens: _,
            temperature: _,
            top_p: _,
            stop,
            seed: _,
        } = self;
        for message in messages {
            match message {
                Message::System(text) | Message::User(text) => visit(text),
                Message::Tool { call_id: _, text, is_error: _ } => visit(text),
                Message::Assistant(AssistantTurn { text, tool_calls, continuation }) => {
                    visit(text);
                    for ToolCall { id: _, name: _, arguments } in tool_calls {
                        visit(arguments);
                    }
                    // Signed by the provider it came from, and it goes back to nobody else: a
                    // changed block would be refused.
                    let _ = continuation;
                }
            }
        }
        for Tool { name: _, description, parameters, strict: _ } in tools {
            visit(description);
            visit_strings(parameters, visit);
        }
        if let Output::Schema(JsonSchema { name: _, schema }) = output {
            visit_strings(schema, visit);
        }
        stop.iter_mut().for_each(visit);
    }
}

/// Every string of a JSON value; the names of members are ours or the caller's schema.
fn visit_strings(value: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter_mut().for_each(|item| visit_strings(item, visit)),
        Value::Object(members) => members.values_mut().for_each(|member| visit_strings(member, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_text_that_would_be_sent_is_visited() {
        let mut request = ChatRequest {
            messages: vec![
                Message::system("system"),
                Message::user("user"),
                Message::Assistant(AssistantTurn {
                    text: "answer".into(),
                    tool_calls: vec![ToolCall {
                        id: "1".into(),
                        name: "get".into(),
                        arguments: "arguments".into(),
                    }],
                    continuation: None,
                }),
                Message::Tool { call_id: "1".into(), text: "result".into(), is_error: false },
            ],
            tools: vec![Tool {
                name: "get".into(),
                description: "description".into(),
                parameters: json!({ "properties": { "a": { "description": "parameter" } } }),
                strict: false,
            }],
            output: Output::Schema(JsonSchema { name: "s".into(), schema: json!({ "title": "shape" }) }),
            stop: vec!["stop".into()],
            ..ChatRequest::default()
        };
        let mut seen = Vec::new();
        request.visit_texts(&mut |text| seen.push(text.clone()));
        assert_eq!(
            seen,
            ["system", "user", "answer", "arguments", "result", "description", "parameter", "shape", "stop"]
        );
    }
}
