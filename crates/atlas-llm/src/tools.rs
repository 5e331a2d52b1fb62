//! Tools: what a model may ask for, and how its asking is put together from pieces.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A tool the model may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// `[A-Za-z0-9_-]{1,64}`.
    pub name: String,
    /// What it does and when to use it.
    pub description: String,
    /// JSON Schema of its arguments: an object.
    pub parameters: Value,
    /// Ask the provider to enforce the schema, where it can.
    pub strict: bool,
}

/// Whether tools are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// It may not.
    None,
    /// It must, any of them.
    Required,
    /// It must, this one.
    Named(String),
}

/// One tool the model asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Unique within the conversation; made here where the provider has none or repeats them.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments as JSON text. They may be invalid: a model wrote them. Never empty; a tool
    /// without arguments has `{}`.
    pub arguments: String,
}

/// Tool calls, as their pieces arrive.
#[derive(Debug, Default)]
pub struct ToolCalls {
    calls: Vec<(usize, ToolCall)>,
}

impl ToolCalls {
    /// A call begins.
    pub fn begin(&mut self, index: usize, id: impl Into<String>, name: impl Into<String>) {
        let call = ToolCall { id: id.into(), name: name.into(), arguments: String::new() };
        self.calls.push((index, call));
    }

    /// The next piece of the arguments of the call that began with this index.
    pub fn append(&mut self, index: usize, piece: &str) {
        if let Some((_, call)) = self.calls.iter_mut().rev().find(|(at, _)| *at == index) {
            call.arguments.push_str(piece);
        }
    }

    /// The calls in the order in which they began.
    pub fn finish(self) -> Vec<ToolCall> {
        let whole = |(_, mut call): (usize, ToolCall)| {
            if call.arguments.trim().is_empty() {
                call.arguments = "{}".to_owned();
            }
            call
        };
        self.calls.into_iter().map(whole).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_parallel_calls_find_their_call() {
        let mut calls = ToolCalls::default();
        calls.begin(0, "a", "get");
        calls.begin(1, "b", "list");
        calls.append(0, "{\"x\":");
        calls.append(1, "");
        calls.append(0, "1}");
        calls.append(9, "lost");
        let calls = calls.finish();
        assert_eq!(calls[0], ToolCall { id: "a".into(), name: "get".into(), arguments: "{\"x\":1}".into() });
        assert_eq!(calls[1].arguments, "{}");
    }
}
