//! Tool calls, put together from fragments.
//!
//! OpenAI gives every call an index and an id and repeats only the index. Others leave out one or
//! both, repeat an empty id, give every call the index 0, send arguments as an object, or begin
//! the next call at the index of the last one.

use std::collections::HashSet;

use atlas_llm::{ChatEvent, ChatRequest, Message};
use serde_json::Value;

/// An id of our own. Nine letters and digits, because Mistral takes no others.
pub(super) fn made_id(number: usize) -> String {
    format!("call{number:05}")
}

/// The calls of one answer.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// Ids of this conversation: TGI counts from 0 in every answer.
    ids: HashSet<String>,
    n_begun: usize,
}

#[derive(Debug)]
struct Call {
    /// As the server numbers it.
    place: Option<u64>,
    /// As the server names it.
    id: String,
    name: String,
    /// What came so far.
    arguments: String,
    /// Our number; none while the name is missing.
    index: Option<usize>,
}

impl Calls {
    /// Before an answer to this request.
    pub(super) fn after(request: &ChatRequest) -> Self {
        let calls = request.messages.iter().flat_map(|message| match message {
            Message::Assistant(turn) => turn.tool_calls.as_slice(),
            _ => &[],
        });
        Self { ids: calls.map(|call| call.id.clone()).collect(), ..Self::default() }
    }

    /// Whether the model asked for a tool.
    pub(super) fn are_any(&self) -> bool {
        self.n_begun > 0
    }

    /// Takes a fragment. `place` is its index, where it has one.
    pub(super) fn add(&mut self, place: Option<u64>, fragment: &Value, events: &mut Vec<ChatEvent>) {
        let id = text(&fragment["id"]);
        let function = &fragment["function"];
        let (name, arguments) = (text(&function["name"]), text(&function["arguments"]));
        let found = match place {
            Some(_) => self.calls.iter().rposition(|call| call.place == place),
            None if !id.is_empty() => self.calls.iter().rposition(|call| call.id == id),
            None if name.is_empty() => self.calls.len().checked_sub(1),
            None => None,
        };
        let at =
            found.filter(|at| self.calls[*at].goes_on_with(&id, &name, &arguments)).unwrap_or_else(|| {
                let (id, name, arguments) = (id, String::new(), String::new());
                self.calls.push(Call { place, id, name, arguments, index: None });
                self.calls.len() - 1
            });
        let call = &mut self.calls[at];
        call.arguments += &arguments;
        if call.name.is_empty() {
            call.name = name;
        }
        match call.index {
            Some(index) if !arguments.is_empty() => {
                events.push(ChatEvent::Arguments { index, json: arguments });
            }
            Some(_) => {}
            None if call.name.is_empty() => {}
            None => {
                let index = self.n_begun;
                self.n_begun += 1;
                call.index = Some(index);
                let (name, held) = (call.name.clone(), call.arguments.clone());
                let id = claim(&mut self.ids, &call.id);
                events.push(ChatEvent::ToolCall { index, id, name });
                if !held.is_empty() {
                    events.push(ChatEvent::Arguments { index, json: held });
                }
            }
        }
    }
}

impl Call {
    /// Whether a fragment at its place belongs to it, rather than beginning the next call.
    fn goes_on_with(&self, id: &str, name: &str, arguments: &str) -> bool {
        let other_id = !id.is_empty() && !self.id.is_empty() && id != self.id;
        // A name that comes again says nothing, unless what came before is a whole call.
        let named_again = !name.is_empty() && !self.name.is_empty();
        let other_name = named_again && (name != self.name || !arguments.is_empty() && self.is_whole());
        !other_id && !other_name
    }

    fn is_whole(&self) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(&self.arguments).is_ok()
    }
}

/// The server's id, or one of ours where it has none or repeats one.
fn claim(ids: &mut HashSet<String>, id: &str) -> String {
    let free = |id: &String| !id.is_empty() && !ids.contains(id);
    let id = Some(id.to_owned()).filter(free).or_else(|| (0..).map(made_id).find(free)).unwrap_or_default();
    ids.insert(id.clone());
    id
}

/// Text, and JSON that should have been text.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use atlas_llm::{ToolCall, ToolCalls};
    use serde_json::json;

    use super::*;

    fn assemble(mut calls: Calls, fragments: &[Value]) -> Vec<ToolCall> {
        let mut events = Vec::new();
        for fragment in fragments {
            calls.add(fragment["index"].as_u64(), fragment, &mut events);
        }
        let mut whole = ToolCalls::default();
        for event in events {
            match event {
                ChatEvent::ToolCall { index, id, name } => whole.begin(index, id, name),
                ChatEvent::Arguments { index, json } => whole.append(index, &json),
                other => panic!("{other:?}"),
            }
        }
        whole.finish()
    }

    #[track_caller]
    fn check(fragments: &[Value], expect: &[(&str, &str, &str)]) {
        let calls = assemble(Calls::default(), fragments);
        let seen: Vec<_> = calls.iter().map(|call| (&*call.id, &*call.name, &*call.arguments)).collect();
        assert_eq!(seen, expect);
    }

    fn call(index: Value, id: Value, name: Value, arguments: Value) -> Value {
        json!({ "index": index, "id": id, "function": { "name": name, "arguments": arguments } })
    }

    #[test]
    fn fragments_without_index_and_id_belong_to_the_last_call() {
        let rest = call(json!(null), json!(null), json!(null), json!("1}"));
        check(
            &[call(json!(null), json!("a"), json!("get"), json!("{\"x\":")), rest],
            &[("a", "get", "{\"x\":1}")],
        );
    }

    #[test]
    fn every_call_may_have_the_index_0() {
        check(
            &[
                call(json!(0), json!("a"), json!("get"), json!("{}")),
                call(json!(0), json!("b"), json!("get"), json!("{}")),
                call(json!(0), json!(null), json!("get"), json!("{\"x\":1}")),
            ],
            &[("a", "get", "{}"), ("b", "get", "{}"), ("call00000", "get", "{\"x\":1}")],
        );
    }

    #[test]
    fn a_name_that_is_repeated_begins_no_call() {
        check(
            &[
                call(json!(0), json!("a"), json!("get"), json!("{\"x\"")),
                call(json!(0), json!("a"), json!("get"), json!(":1}")),
                call(json!(0), json!("a"), json!("get"), json!("")),
            ],
            &[("a", "get", "{\"x\":1}")],
        );
    }

    #[test]
    fn calls_without_ids_get_some() {
        check(
            &[
                call(json!(null), json!(""), json!("get"), json!(null)),
                call(json!(null), json!(null), json!("list"), json!({ "x": 1 })),
            ],
            &[("call00000", "get", "{}"), ("call00001", "list", "{\"x\":1}")],
        );
    }

    #[test]
    fn a_name_may_come_late() {
        check(
            &[
                call(json!(0), json!("a"), json!(null), json!("{\"x\":")),
                call(json!(0), json!(null), json!("get"), json!("1}")),
            ],
            &[("a", "get", "{\"x\":1}")],
        );
    }

    #[test]
    fn a_call_that_never_gets_a_name_is_none() {
        check(&[call(json!(0), json!("a"), json!(null), json!("{}"))], &[]);
    }

    #[test]
    fn ids_are_unique_within_the_conversation() {
        let turn = atlas_llm::AssistantTurn {
            tool_calls: vec![ToolCall { id: "0".into(), name: "get".into(), arguments: "{}".into() }],
            ..Default::default()
        };
        let request = ChatRequest { messages: vec![Message::Assistant(turn)], ..ChatRequest::default() };
        let fragment = call(json!(0), json!("0"), json!("get"), json!("{}"));
        let calls = assemble(Calls::after(&request), &[fragment]);
        assert_eq!(calls[0].id, "call00000");
    }
}
