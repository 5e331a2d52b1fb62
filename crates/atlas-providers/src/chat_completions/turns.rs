//! The conversation as `messages`.

use atlas_llm::{AssistantTurn, ChatRequest, JsonSchema, Message, ToolCall};
use serde_json::{Value, json};

use super::quirks::Quirks;

/// The turns of a request.
pub(super) fn of(request: &ChatRequest, quirks: &Quirks) -> Vec<Value> {
    let ids = Ids::of(request, quirks);
    let turn = |message: &Message| match message {
        Message::System(text) => {
            json!({ "role": if quirks.developer_role { "developer" } else { "system" }, "content": text })
        }
        Message::User(text) => json!({ "role": "user", "content": text }),
        // Blocks of a continuation are another API's: this one has none.
        Message::Assistant(AssistantTurn { text, tool_calls, continuation: _ }) if tool_calls.is_empty() => {
            json!({ "role": "assistant", "content": text })
        }
        Message::Assistant(AssistantTurn { text, tool_calls, continuation: _ }) => {
            let content = Some(text).filter(|text| !text.is_empty());
            let calls: Vec<Value> = tool_calls.iter().map(|call| ids.call(call)).collect();
            json!({ "role": "assistant", "content": content, "tool_calls": calls })
        }
        Message::Tool { call_id, text, is_error: _ } => {
            json!({ "role": "tool", "tool_call_id": ids.id(call_id), "content": text })
        }
    };
    request.messages.iter().map(turn).collect()
}

/// The turns as they are sent.
pub(super) fn finish(turns: Vec<Value>, quirks: &Quirks) -> Vec<Value> {
    if !quirks.plain_turns {
        return turns;
    }
    let mut plain: Vec<Value> = Vec::new();
    for mut turn in turns {
        if is_system(&turn) {
            turn["role"] = "user".into();
        }
        match plain.last_mut() {
            Some(last) if last["role"] == "user" && turn["role"] == "user" => {
                append(last, turn["content"].as_str().unwrap_or_default());
            }
            _ => plain.push(turn),
        }
    }
    plain
}

/// Asks in the first system turn for JSON, of a shape where there is one.
pub(super) fn instruct(turns: &mut Vec<Value>, schema: Option<&JsonSchema>) {
    let mut instruction = "Answer with one JSON object and nothing else: no prose, no code fence.".to_owned();
    if let Some(schema) = schema {
        instruction += &format!(" It must match this JSON Schema:\n{}", schema.schema);
    }
    match turns.first_mut().filter(|first| is_system(first)) {
        Some(first) => append(first, &instruction),
        None => turns.insert(0, json!({ "role": "system", "content": instruction })),
    }
}

/// Whether a turn has the word JSON.
pub(super) fn mention_json(request: &ChatRequest) -> bool {
    request.messages.iter().any(|message| message.text().contains("JSON"))
}

fn is_system(turn: &Value) -> bool {
    turn["role"] == "system" || turn["role"] == "developer"
}

fn append(turn: &mut Value, text: &str) {
    turn["content"] = format!("{}\n\n{text}", turn["content"].as_str().unwrap_or_default()).into();
}

/// The ids of calls as this server wants them.
struct Ids<'a> {
    /// The calls of the conversation in order, where ids are numbered anew.
    numbered: Vec<&'a str>,
}

impl<'a> Ids<'a> {
    fn of(request: &'a ChatRequest, quirks: &Quirks) -> Self {
        let calls = request.messages.iter().flat_map(|message| match message {
            Message::Assistant(turn) => turn.tool_calls.as_slice(),
            _ => &[],
        });
        let numbered =
            if quirks.short_ids { calls.map(|call| call.id.as_str()).collect() } else { Vec::new() };
        Self { numbered }
    }

    fn id(&self, id: &str) -> String {
        match self.numbered.iter().position(|known| *known == id) {
            Some(number) => super::calls::made_id(number),
            None => id.to_owned(),
        }
    }

    fn call(&self, call: &ToolCall) -> Value {
        json!({
            "id": self.id(&call.id),
            "type": "function",
            "function": { "name": call.name, "arguments": call.arguments },
        })
    }
}
