//! The conversation: two roles that take turns, made of blocks.

use atlas_llm::{AssistantTurn, Message};
use serde_json::{Map, Value, json};

/// Whose [`atlas_llm::Continuation`]s are sent back.
pub(super) const DIALECT: &str = "anthropic";

/// The instructions, and the turns of the other two roles.
pub(super) fn turns(messages: &[Message]) -> (Vec<String>, Vec<Value>) {
    let mut system = Vec::new();
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages {
        let (role, blocks) = match message {
            Message::System(text) => {
                system.extend((!text.is_empty()).then(|| text.clone()));
                continue;
            }
            Message::User(text) => ("user", self::text(text)),
            Message::Tool { call_id, text, is_error } => ("user", vec![result(call_id, text, *is_error)]),
            Message::Assistant(turn) => ("assistant", answer(turn)),
        };
        // The server would merge neighbours of one role too, but only after it has looked for the
        // results of all calls in the first of them.
        match turns.last_mut() {
            Some((last, known)) if *last == role => known.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    // An empty turn, like an empty text, is refused.
    turns.retain(|(_, blocks)| !blocks.is_empty());
    (system, turns.into_iter().map(|(role, blocks)| turn(role, blocks)).collect())
}

fn turn(role: &str, mut blocks: Vec<Value>) -> Value {
    // Results are looked for before any text. The sort keeps the order of the rest.
    blocks.sort_by_key(|block| block["type"] != "tool_result");
    match blocks.as_slice() {
        [only] if only["type"] == "text" => json!({ "role": role, "content": only["text"] }),
        _ => json!({ "role": role, "content": blocks }),
    }
}

fn text(text: &str) -> Vec<Value> {
    if text.trim().is_empty() { Vec::new() } else { vec![json!({ "type": "text", "text": text })] }
}

fn result(call_id: &str, text: &str, is_error: bool) -> Value {
    let mut block = json!({ "type": "tool_result", "tool_use_id": call_id });
    if !text.is_empty() {
        block["content"] = text.into();
    }
    if is_error {
        block["is_error"] = true.into();
    }
    block
}

fn answer(turn: &AssistantTurn) -> Vec<Value> {
    let own = turn.continuation.as_ref().filter(|continuation| continuation.dialect == DIALECT);
    if let Some(blocks) = own.and_then(|continuation| continuation.blocks.as_array()) {
        return blocks.clone();
    }
    let mut blocks = text(&turn.text);
    for call in &turn.tool_calls {
        // What the model wrote may be no object, and anything else is refused.
        let input: Map<String, Value> = serde_json::from_str(&call.arguments).unwrap_or_default();
        blocks.push(json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input }));
    }
    blocks
}
