//! The turns of a conversation.

use std::fmt;

use atlas_llm::{AssistantTurn, Message, ToolCall};
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::refusal::{missing, unsupported, wrong};
use crate::problem::Problem;

/// One turn as it is sent. `name` is ignored: few providers have it.
#[derive(Debug, Deserialize)]
pub(super) struct Turn {
    role: Option<String>,
    content: Option<Content>,
    refusal: Option<String>,
    tool_calls: Option<Vec<Call>>,
    tool_call_id: Option<String>,
}

/// A text, or parts.
#[derive(Debug)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Call {
    id: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    function: Option<Function>,
}

#[derive(Debug, Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

/// By hand rather than untagged: that would copy every text into a buffer first.
impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or an array of parts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<Content, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(parts)).map(Content::Parts)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// The conversation as the contract wants it: system turns first, and the results of tools
/// directly behind the turn that asked for them.
pub(super) fn conversation(turns: Vec<Turn>) -> Result<Vec<Message>, Problem> {
    if turns.is_empty() {
        return Err(wrong("messages", "it is empty"));
    }
    let mut messages = Vec::with_capacity(turns.len());
    let mut open: Vec<String> = Vec::new();
    let mut n_system = 0;
    for (at, turn) in turns.into_iter().enumerate() {
        let message = message(at, turn)?;
        match &message {
            // A later one moves up: not every provider has a place for it, and its words hold for
            // the whole conversation wherever they stand.
            Message::System(_) => {
                messages.insert(n_system, message);
                n_system += 1;
                continue;
            }
            Message::Tool { call_id, .. } => {
                let Some(answered) = open.iter().position(|id| id == call_id) else {
                    let detail = "it answers no call of the assistant turn before it";
                    return Err(wrong(&format!("messages[{at}].tool_call_id"), detail));
                };
                open.remove(answered);
            }
            Message::User(_) | Message::Assistant(_) => unanswered(&open, &format!("messages[{at}]"))?,
        }
        if let Message::Assistant(turn) = &message {
            open = turn.tool_calls.iter().map(|call| call.id.clone()).collect();
        }
        messages.push(message);
    }
    unanswered(&open, "messages")?;
    Ok(messages)
}

/// Providers refuse a conversation that goes on before every call has its result.
fn unanswered(open: &[String], place: &str) -> Result<(), Problem> {
    match open.first() {
        None => Ok(()),
        Some(id) => Err(wrong(place, &format!("no message with the role `tool` answers the call {id:?}"))),
    }
}

fn message(at: usize, turn: Turn) -> Result<Message, Problem> {
    let place = format!("messages[{at}]");
    let role = turn.role.ok_or_else(|| missing(&format!("{place}.role")))?;
    let content = turn.content.map(|content| text(&place, content)).transpose()?;
    let content_missing = || missing(&format!("{place}.content"));
    match role.as_str() {
        "system" | "developer" => Ok(Message::System(content.ok_or_else(content_missing)?)),
        "user" => Ok(Message::User(content.ok_or_else(content_missing)?)),
        "tool" => Ok(Message::Tool {
            call_id: turn.tool_call_id.ok_or_else(|| missing(&format!("{place}.tool_call_id")))?,
            text: content.ok_or_else(content_missing)?,
            is_error: false,
        }),
        "assistant" => {
            let calls = turn.tool_calls.unwrap_or_default().into_iter().enumerate();
            let tool_calls: Vec<ToolCall> = calls
                .map(|(n, call)| tool_call(&format!("{place}.tool_calls[{n}]"), call))
                .collect::<Result<_, _>>()?;
            let text = match content.or(turn.refusal) {
                Some(text) => text,
                None if tool_calls.is_empty() => return Err(content_missing()),
                None => String::new(),
            };
            Ok(Message::Assistant(AssistantTurn { text, tool_calls, continuation: None }))
        }
        "function" => Err(unsupported(&format!("{place}.role"), "send the role `tool`")),
        _ => Err(wrong(&format!("{place}.role"), "it is not system, developer, user, assistant or tool")),
    }
}

/// Parts are joined by line breaks, which they had between them as blocks.
fn text(place: &str, content: Content) -> Result<String, Problem> {
    let parts = match content {
        Content::Text(text) => return Ok(text),
        Content::Parts(parts) => parts,
    };
    let mut whole = String::new();
    for (n, part) in parts.into_iter().enumerate() {
        let piece = match part.kind.as_str() {
            "text" => part.text,
            "refusal" => part.refusal,
            kind => {
                let instead = format!("parts of the type {kind:?} are not read; send text");
                return Err(unsupported(&format!("{place}.content[{n}].type"), &instead));
            }
        };
        let piece = piece.ok_or_else(|| missing(&format!("{place}.content[{n}].text")))?;
        if n > 0 {
            whole.push('\n');
        }
        whole.push_str(&piece);
    }
    Ok(whole)
}

fn tool_call(place: &str, call: Call) -> Result<ToolCall, Problem> {
    match (call.kind.as_deref(), call.function) {
        (None | Some("function"), Some(Function { name, arguments })) => {
            Ok(ToolCall { id: call.id, name, arguments })
        }
        (None | Some("function"), None) => Err(missing(&format!("{place}.function"))),
        (Some(_), _) => Err(unsupported(&format!("{place}.type"), "send the type `function`")),
    }
}
