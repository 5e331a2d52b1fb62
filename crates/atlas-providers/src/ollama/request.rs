//! Our request as a body of `/api/chat`.

use std::collections::HashMap;

use atlas_llm::{AssistantTurn, ChatRequest, Message, Output, Tool, ToolChoice};
use serde_json::{Map, Value, json};

use crate::request::decimal;

/// The body of a request with this context size.
pub(super) fn body(model: &str, request: &ChatRequest, context_tokens: u32) -> Value {
    let tools = tools(request);
    let mut messages = messages(&request.messages);
    let mut body = json!({
        "model": model,
        "stream": true,
        // Without these a prompt that does not fit loses its head, and a long answer loses the
        // prompt while it is written.
        "truncate": false,
        "shift": false,
        "options": options(request, context_tokens),
    });
    let instructions = [choice(request, &tools), shape(&request.output)];
    instruct(&mut messages, &instructions.into_iter().flatten().collect::<Vec<_>>());
    if tools.is_empty() {
        match &request.output {
            Output::Text => {}
            Output::Json => body["format"] = "json".into(),
            Output::Schema(schema) => body["format"] = schema.schema.clone(),
        }
    } else {
        body["tools"] = tools.into_iter().map(wire_tool).collect();
    }
    body["messages"] = messages.into();
    body
}

fn options(request: &ChatRequest, context_tokens: u32) -> Value {
    let mut options = json!({ "num_ctx": context_tokens });
    if let Some(limit) = request.max_output_tokens {
        options["num_predict"] = limit.into();
    }
    if let Some(temperature) = request.temperature {
        options["temperature"] = decimal(temperature);
    }
    if let Some(top_p) = request.top_p {
        options["top_p"] = decimal(top_p);
    }
    if let Some(seed) = request.seed {
        options["seed"] = seed.into();
    }
    if !request.stop.is_empty() {
        options["stop"] = json!(request.stop);
    }
    options
}

/// The tools that the choice leaves.
fn tools(request: &ChatRequest) -> Vec<&Tool> {
    let is_left = |tool: &&Tool| match &request.tool_choice {
        ToolChoice::Auto | ToolChoice::Required => true,
        ToolChoice::None => false,
        ToolChoice::Named(name) => tool.name == *name,
    };
    request.tools.iter().filter(is_left).collect()
}

fn wire_tool(tool: &Tool) -> Value {
    let function =
        json!({ "name": tool.name, "description": tool.description, "parameters": tool.parameters });
    json!({ "type": "function", "function": function })
}

fn choice(request: &ChatRequest, tools: &[&Tool]) -> Option<String> {
    match &request.tool_choice {
        _ if tools.is_empty() => None,
        ToolChoice::Auto | ToolChoice::None => None,
        ToolChoice::Required => Some("Answer by calling one of the tools.".to_owned()),
        ToolChoice::Named(name) => Some(format!("Answer by calling the tool {name}.")),
    }
}

fn shape(output: &Output) -> Option<String> {
    let only = "Answer with one JSON object and nothing else: no prose, no code fence.";
    match output {
        Output::Text => None,
        Output::Json => Some(only.to_owned()),
        Output::Schema(schema) => Some(format!("{only} It must match this JSON Schema:\n{}", schema.schema)),
    }
}

/// Adds to the first system turn, or makes one.
fn instruct(messages: &mut Vec<Value>, instructions: &[String]) {
    if instructions.is_empty() {
        return;
    }
    let instructions = instructions.join("\n\n");
    match messages.first_mut().filter(|first| first["role"] == "system") {
        Some(first) => {
            let text = first["content"].as_str().unwrap_or_default();
            first["content"] = format!("{text}\n\n{instructions}").into();
        }
        None => messages.insert(0, json!({ "role": "system", "content": instructions })),
    }
}

fn messages(messages: &[Message]) -> Vec<Value> {
    let mut names = HashMap::new();
    let wire = |message: &Message| match message {
        Message::System(text) => json!({ "role": "system", "content": text }),
        Message::User(text) => json!({ "role": "user", "content": text }),
        Message::Assistant(turn) => {
            names.extend(turn.tool_calls.iter().map(|call| (call.id.clone(), call.name.clone())));
            answer(turn)
        }
        Message::Tool { call_id, text, is_error } => {
            let content = if *is_error { format!("Error: {text}") } else { text.clone() };
            let mut wire = json!({ "role": "tool", "content": content, "tool_call_id": call_id });
            // Templates of models know results by the tool rather than by the call.
            if let Some(name) = names.get(call_id) {
                wire["tool_name"] = name.as_str().into();
            }
            wire
        }
    };
    messages.iter().map(wire).collect()
}

fn answer(turn: &AssistantTurn) -> Value {
    let mut wire = json!({ "role": "assistant", "content": turn.text });
    if !turn.tool_calls.is_empty() {
        let call = |(index, call): (usize, &atlas_llm::ToolCall)| {
            // What the model wrote may be no object, and anything else is refused.
            let arguments: Map<String, Value> = serde_json::from_str(&call.arguments).unwrap_or_default();
            let function = json!({ "index": index, "name": call.name, "arguments": arguments });
            json!({ "id": call.id, "function": function })
        };
        wire["tool_calls"] = turn.tool_calls.iter().enumerate().map(call).collect();
    }
    wire
}
