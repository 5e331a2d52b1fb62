//! Our request as a body of the Responses API.

use atlas_llm::{AssistantTurn, ChatRequest, Message, ModelFacts, Output, Tool, ToolChoice};
use serde_json::{Value, json};

use super::DIALECT;
use crate::request::decimal;

/// Fewer are refused.
const LEAST_OUTPUT_TOKENS: u32 = 16;

/// The body of a streamed request.
pub(crate) fn body(model: &str, request: &ChatRequest, facts: &ModelFacts) -> Value {
    let (mut instructions, input) = items(&request.messages);
    let mut body = json!({ "model": model, "stream": true, "store": false });
    // Models that do not reason refuse the question.
    if facts.reasoning != Some(false) {
        body["include"] = json!(["reasoning.encrypted_content"]);
    }
    if let Some(limit) = request.max_output_tokens {
        body["max_output_tokens"] = limit.max(LEAST_OUTPUT_TOKENS).into();
    }
    if facts.sampling == Some(true) {
        sampling(request, &mut body);
    }
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
        body["tool_choice"] = choice(&request.tool_choice);
        if let Some(parallel) = request.parallel_tool_calls {
            body["parallel_tool_calls"] = parallel.into();
        }
    }
    match &request.output {
        Output::Text => {}
        Output::Schema(schema) if facts.json_schema != Some(false) => {
            body["text"] = json!({ "format": {
                "type": "json_schema",
                "name": schema.name,
                "strict": true,
                "schema": schema.schema,
            } });
        }
        // This mode is refused unless the word JSON is said too.
        Output::Json | Output::Schema(_) => {
            body["text"] = json!({ "format": { "type": "json_object" } });
            let shape = request.output.schema().map(|schema| schema.schema.to_string());
            let shape = shape.map(|schema| format!(" It must match this JSON Schema:\n{schema}"));
            instructions
                .push(format!("Answer with one JSON object and nothing else.{}", shape.unwrap_or_default()));
        }
    }
    if !instructions.is_empty() {
        body["instructions"] = instructions.join("\n\n").into();
    }
    body["input"] = input.into();
    body
}

/// The instructions, and the items of everything else.
fn items(messages: &[Message]) -> (Vec<String>, Vec<Value>) {
    let mut instructions = Vec::new();
    let mut items = Vec::new();
    for message in messages {
        match message {
            Message::System(text) => instructions.extend((!text.is_empty()).then(|| text.clone())),
            Message::User(text) => items.push(json!({ "role": "user", "content": text })),
            Message::Assistant(turn) => answer(turn, &mut items),
            Message::Tool { call_id, text, is_error } => {
                let output = if *is_error { format!("Error: {text}") } else { text.clone() };
                items.push(json!({ "type": "function_call_output", "call_id": call_id, "output": output }));
            }
        }
    }
    // Instructions alone are no input, and refused.
    if items.is_empty() {
        items.extend(instructions.drain(..).map(|text| json!({ "role": "user", "content": text })));
    }
    (instructions, items)
}

fn answer(turn: &AssistantTurn, items: &mut Vec<Value>) {
    let own = turn.continuation.as_ref().filter(|continuation| continuation.dialect == DIALECT);
    if let Some(blocks) = own.and_then(|continuation| continuation.blocks.as_array()) {
        items.extend(blocks.iter().cloned());
        return;
    }
    if !turn.text.is_empty() {
        items.push(json!({ "role": "assistant", "content": turn.text }));
    }
    items.extend(turn.tool_calls.iter().map(|call| {
        json!({
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        })
    }));
}

fn tool(tool: &Tool) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        // Left out, it would be true here.
        "strict": tool.strict,
    })
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Required => "required".into(),
        ToolChoice::Named(name) => json!({ "type": "function", "name": name }),
    }
}

fn sampling(request: &ChatRequest, body: &mut Value) {
    for (name, value) in [("temperature", request.temperature), ("top_p", request.top_p)] {
        if let Some(value) = value {
            body[name] = decimal(value);
        }
    }
}
