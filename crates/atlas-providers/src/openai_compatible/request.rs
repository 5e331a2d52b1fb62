//! The request body, and how it changes when a server refuses a part of it.

use atlas_llm::{ChatRequest, JsonSchema, Role};
use serde_json::{Value, json};

use super::error::Refusal;
use super::options::Endpoint;

/// How an answer's shape is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonMode {
    /// `response_format` with the schema.
    Schema,
    /// `response_format: json_object`, and the schema in the prompt.
    Object,
    /// The schema in the prompt only.
    Prompt,
}

/// What a server is sent and what not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quirks {
    pub(super) json: JsonMode,
    pub(super) stream_usage: bool,
    pub(super) temperature: bool,
    /// `max_completion_tokens` rather than `max_tokens`.
    pub(super) completion_limit: bool,
    /// OpenAI pads streams against traffic analysis unless told not to; others refuse the word.
    pub(super) obfuscation_off: bool,
}

/// A next attempt.
#[derive(Debug)]
pub(super) struct Adapted {
    pub(super) quirks: Quirks,
    pub(super) what: &'static str,
    /// Whether later requests are better off with it too.
    pub(super) remember: bool,
}

impl Quirks {
    pub(super) fn for_host(is_openai: bool) -> Self {
        Self {
            json: JsonMode::Schema,
            stream_usage: true,
            temperature: true,
            completion_limit: is_openai,
            obfuscation_off: is_openai,
        }
    }

    /// Leaves out what the refusal names, if it names something that was sent.
    pub(super) fn adapt(self, request: &ChatRequest, refusal: &Refusal) -> Option<Adapted> {
        if !matches!(refusal.status, 400 | 422) {
            return None;
        }
        let has_limit = request.max_output_tokens.is_some();
        let adapted = |quirks, what| Some(Adapted { quirks, what, remember: true });
        if self.stream_usage && refusal.names("stream_options") {
            adapted(Self { stream_usage: false, ..self }, "stream_options")
        } else if self.temperature && request.temperature.is_some() && refusal.names("temperature") {
            adapted(Self { temperature: false, ..self }, "temperature")
        } else if has_limit && !self.completion_limit && refusal.names("max_completion_tokens") {
            // Such a refusal of `max_tokens` names the replacement.
            adapted(Self { completion_limit: true, ..self }, "max_tokens")
        } else if has_limit && self.completion_limit && refusal.names("max_completion_tokens") {
            adapted(Self { completion_limit: false, ..self }, "max_completion_tokens")
        } else if request.schema.is_some()
            && (refusal.names("response_format")
                || refusal.names("json_schema")
                || refusal.names("json_object"))
        {
            let json = match self.json {
                JsonMode::Schema => JsonMode::Object,
                JsonMode::Object => JsonMode::Prompt,
                JsonMode::Prompt => return None,
            };
            // One schema that the server dislikes says nothing about the next one.
            let remember = !refusal.names("invalid schema");
            Some(Adapted { quirks: Self { json, ..self }, what: "response_format", remember })
        } else {
            None
        }
    }
}

/// The body of a chat request.
pub(super) fn body(endpoint: &Endpoint, request: &ChatRequest, quirks: Quirks) -> Value {
    chat(&endpoint.model, request, quirks)
}

pub(super) fn chat(model: &str, request: &ChatRequest, quirks: Quirks) -> Value {
    let mut messages: Vec<Value> = request
        .messages
        .iter()
        .map(|message| json!({ "role": role(message.role), "content": message.text }))
        .collect();
    let mut body = json!({ "model": model, "stream": true });
    if quirks.stream_usage {
        body["stream_options"] = if quirks.obfuscation_off {
            json!({ "include_usage": true, "include_obfuscation": false })
        } else {
            json!({ "include_usage": true })
        };
    }
    if let Some(limit) = request.max_output_tokens {
        body[if quirks.completion_limit { "max_completion_tokens" } else { "max_tokens" }] = limit.into();
    }
    if let Some(temperature) = request.temperature.filter(|_| quirks.temperature) {
        // By way of its text, so that 0.2 stays 0.2 and does not become 0.20000000298.
        body["temperature"] = temperature.to_string().parse::<f64>().unwrap_or_default().into();
    }
    if let Some(schema) = &request.schema {
        match quirks.json {
            JsonMode::Schema => body["response_format"] = strict_schema(schema),
            JsonMode::Object => {
                body["response_format"] = json!({ "type": "json_object" });
                instruct(&mut messages, schema);
            }
            JsonMode::Prompt => instruct(&mut messages, schema),
        }
    }
    body["messages"] = messages.into();
    body
}

fn strict_schema(schema: &JsonSchema) -> Value {
    json!({
        "type": "json_schema",
        "json_schema": { "name": schema.name, "strict": true, "schema": schema.schema },
    })
}

/// Puts the schema into the first system turn; `json_object` also demands the word JSON there.
fn instruct(messages: &mut Vec<Value>, schema: &JsonSchema) {
    let instruction = format!(
        "Answer with one JSON object and nothing else: no prose, no code fence. It must match this JSON Schema:\n{}",
        schema.schema,
    );
    match messages.first_mut().filter(|first| first["role"] == "system") {
        Some(first) => {
            let text = first["content"].as_str().unwrap_or_default();
            first["content"] = format!("{text}\n\n{instruction}").into();
        }
        None => messages.insert(0, json!({ "role": "system", "content": instruction })),
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}
