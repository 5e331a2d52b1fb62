//! Asking the product about its provider, in the ways that several tests share.

use serde_json::{Value, json};

use super::Server;

pub(crate) fn with<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut settings = vec![("EMBEDDING_PROVIDER", "fallback")];
    settings.retain(|(name, _)| pairs.iter().all(|(other, _)| other != name));
    settings.extend_from_slice(pairs);
    settings
}

pub(crate) fn start(data: &tempfile::TempDir, pairs: &[(&str, &str)]) -> Server {
    Server::start(data.path(), &with(pairs), &[])
}

pub(crate) fn test_connection(server: &Server, deep: bool) -> (u16, Value) {
    server.json("POST", "/api/ai/test", &json!({ "test": true, "deep": deep }).to_string())
}

#[track_caller]
pub(crate) fn rung(answer: &Value, id: &str) -> String {
    let checks = answer["checks"].as_array().unwrap_or_else(|| panic!("no checks in {answer}"));
    let check = checks.iter().find(|check| check["id"] == id);
    check.map_or("absent", |check| check["status"].as_str().unwrap_or_default()).to_owned()
}

pub(crate) fn ask(text: &str) -> Value {
    json!({ "messages": [{ "role": "user", "content": text }], "max_tokens": 60 })
}

pub(crate) fn chat(server: &Server, body: &Value) -> (u16, Value) {
    server.json("POST", "/v1/chat/completions", &body.to_string())
}

/// The text of a streamed answer, and its last reason to finish.
pub(crate) fn stream(server: &Server, mut body: Value) -> (String, String) {
    body["stream"] = json!(true);
    let (status, events) = server.call("POST", "/v1/chat/completions", &body.to_string());
    assert_eq!(status, 200, "{events}");
    let (mut text, mut finish) = (String::new(), String::new());
    for data in events.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]")
    {
        let chunk: Value = serde_json::from_str(data).expect("JSON");
        if let Some(error) = chunk.get("error") {
            return (text, format!("error: {error}"));
        }
        text.push_str(chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default());
        finish = chunk["choices"][0]["finish_reason"].as_str().map_or(finish, str::to_owned);
    }
    (text, finish)
}

pub(crate) fn weather_tool() -> Value {
    json!([{ "type": "function", "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": { "city": { "type": "string" } },
            "required": ["city"],
            "additionalProperties": false
        }
    } }])
}

#[track_caller]
pub(crate) fn asks_for_the_weather_of_paris(answer: &Value) {
    let call = &answer["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "get_weather", "{answer}");
    let arguments = call["function"]["arguments"].as_str().expect("JSON text");
    let arguments: Value = serde_json::from_str(arguments).expect("JSON");
    assert_eq!(arguments, json!({ "city": "Paris" }), "{answer}");
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
}
