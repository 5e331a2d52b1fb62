//! What is asked of a chat model.

use atlas_guard::Texts;
use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Instructions of the feature.
    System,
    /// The caller, and the evidence.
    User,
    /// An earlier answer.
    Assistant,
}

/// One turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What.
    pub text: String,
}

impl Message {
    /// A turn.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, text: text.into() }
    }
}

/// The shape an answer must have. Keep to the portable subset: an object at the root, every
/// property required, nullable instead of optional, `additionalProperties: false`, no numeric or
/// length limits, depth at most 5.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonSchema {
    /// `[A-Za-z0-9_-]{1,64}`.
    pub name: &'static str,
    /// The schema. It is written by us and holds no tenant data.
    pub schema: serde_json::Value,
}

/// One request to a chat model.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The conversation; system turns first.
    pub messages: Vec<Message>,
    /// Ask for JSON of this shape. The answer is validated by the caller all the same.
    pub schema: Option<JsonSchema>,
    /// Most tokens to generate.
    pub max_output_tokens: Option<u32>,
    /// Left out for reasoning models, which refuse it.
    pub temperature: Option<f32>,
}

impl Texts for ChatRequest {
    fn visit_texts(&mut self, visit: &mut dyn FnMut(&mut String)) {
        let Self { messages, schema: _, max_output_tokens: _, temperature: _ } = self;
        for Message { role: _, text } in messages {
            visit(text);
        }
    }
}
