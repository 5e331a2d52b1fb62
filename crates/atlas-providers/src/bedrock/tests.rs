//! Fixtures through the real SDK: requests and answers; streams and errors are next door.

use std::path::PathBuf;

use atlas_domain::Retry;
use atlas_llm::{
    AssistantTurn, ChatRequest, Completion, Finish, JsonSchema, Message, Output, ProviderErrorKind as Kind,
    Tool, ToolCall, ToolChoice, Usage,
};
use serde_json::{Value, json};

use super::double::{Answer, Double, complete};

mod adapting;
mod streams;

const HAIKU: &str = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
const NOVA: &str = "us.amazon.nova-lite-v1:0";
const LLAMA: &str = "us.meta.llama3-3-70b-instruct-v1:0";

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/bedrock")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(name)).expect("a fixture")
}

fn fixture_json(name: &str) -> Value {
    serde_json::from_slice(&fixture(name)).expect("JSON")
}

/// The fixtures whose name begins and ends like this.
fn names(begin: &str, end: &str) -> Vec<String> {
    let names = std::fs::read_dir(fixtures())
        .expect("fixtures")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
    let mut names: Vec<_> = names.filter(|name| name.starts_with(begin) && name.ends_with(end)).collect();
    names.sort();
    names
}

pub(super) fn question(text: &str) -> ChatRequest {
    ChatRequest { messages: vec![Message::user(text)], ..ChatRequest::default() }
}

fn weather() -> Tool {
    Tool {
        name: "get_weather".into(),
        description: "Current weather for one city.".into(),
        parameters: json!({
            "type": "object",
            "properties": {
                "city": { "type": "string", "description": "City name" },
                "unit": { "type": "string", "enum": ["c", "f"] },
            },
            "required": ["city", "unit"],
            "additionalProperties": false,
        }),
        strict: false,
    }
}

fn invoice() -> Output {
    let schema = json!({
        "type": "object",
        "properties": {
            "vendor": { "type": "string" },
            "total": { "type": "number" },
            "currency": { "type": ["string", "null"] },
        },
        "required": ["vendor", "total", "currency"],
        "additionalProperties": false,
    });
    Output::Schema(JsonSchema { name: "invoice".into(), schema })
}

fn call(id: &str, city: &str) -> ToolCall {
    let arguments = json!({ "city": city, "unit": "c" }).to_string();
    ToolCall { id: id.into(), name: "get_weather".into(), arguments }
}

fn result(id: &str, text: &str, is_error: bool) -> Message {
    Message::Tool { call_id: id.into(), text: text.into(), is_error }
}

/// An earlier turn with two calls, and their results.
fn calls_and_results(ids: [&str; 2]) -> Vec<Message> {
    let tool_calls = vec![call(ids[0], "Oslo"), call(ids[1], "Lima")];
    vec![
        Message::user("Weather in Oslo and Lima?"),
        Message::Assistant(AssistantTurn { text: "Let me look.".into(), tool_calls, continuation: None }),
        result(ids[0], r#"{"temp":-2}"#, false),
        result(ids[1], "station offline", true),
    ]
}

fn done() -> Answer {
    Answer::stream([&fixture("converse_stream.eventstream")[..]])
}

/// Numbers as numbers: `512` and `512.0` and an `f32` on its way through JSON are the same.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => {
            (a.as_f64().expect("a number") - b.as_f64().expect("a number")).abs() < 1e-6
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => left == right,
    }
}

#[track_caller]
fn asked(double: &Double, expect: &str) {
    let expect = fixture_json(expect);
    let [seen] = &double.seen()[..] else { panic!("one request: {:?}", double.operations()) };
    let mut body = seen.body.clone();
    body["modelId"] = seen.model.clone().into();
    // Ours always names a schema's tool choice and a limit; the fixture of the schema does too.
    assert!(same(&body, &expect), "sent {body:#}\nexpected {expect:#}");
}

#[tokio::test]
async fn a_request_is_what_the_reference_has() {
    let double = Double::answering([done()]);
    let request = ChatRequest {
        messages: vec![Message::system("Answer in one sentence."), Message::user("What is an index?")],
        max_output_tokens: Some(512),
        temperature: Some(0.2),
        stop: vec!["###".into()],
        ..ChatRequest::default()
    };
    complete(&*double.model(HAIKU), request).await.expect("an answer");
    asked(&double, "converse.request.json");
    assert_eq!(double.operations(), ["converse-stream"]);
}

#[tokio::test]
async fn a_family_without_system_turns_has_them_in_the_first_text() {
    let double = Double::answering([done()]);
    let request = ChatRequest {
        messages: vec![Message::system("Answer in one sentence."), Message::user("What is an index?")],
        max_output_tokens: Some(512),
        temperature: Some(0.2),
        ..ChatRequest::default()
    };
    complete(&*double.model("amazon.titan-text-lite-v1"), request).await.expect("an answer");
    asked(&double, "converse.no_system.request.json");
}

#[tokio::test]
async fn tools_and_their_results_are_blocks() {
    let double = Double::answering([done()]);
    let request = ChatRequest {
        messages: calls_and_results(["tooluse_a1", "tooluse_b2"]),
        tools: vec![weather()],
        max_output_tokens: Some(512),
        ..ChatRequest::default()
    };
    complete(&*double.model(HAIKU), request).await.expect("an answer");
    asked(&double, "converse.tools.request.json");
}

#[tokio::test]
async fn a_schema_is_sent_as_text() {
    let double = Double::answering([done()]);
    let request =
        ChatRequest { output: invoice(), max_output_tokens: Some(256), ..question("ACME, 41.50 EUR") };
    complete(&*double.model(HAIKU), request).await.expect("an answer");
    let mut seen = double.seen().remove(0);
    let mut expect = fixture_json("converse.json_schema.request.json");
    // The schema is text on the wire, and the order of its members is nobody's business.
    let path = "/outputConfig/textFormat/structure/jsonSchema/schema";
    let schema = |body: &mut Value| {
        let text = body.pointer_mut(path).expect("a schema").take();
        serde_json::from_str::<Value>(text.as_str().expect("text")).expect("JSON")
    };
    assert_eq!(schema(&mut seen.body), schema(&mut expect));
    assert_eq!(seen.model, expect["modelId"].take());
    expect.as_object_mut().expect("an object").remove("modelId");
    assert_eq!(seen.body, expect);
}

/// An answer in one piece, as Llama gives it beside tools.
async fn whole(name: &str) -> Completion {
    let double = Double::answering([Answer::json(200, &fixture_json(name))]);
    let request = ChatRequest { tools: vec![weather()], ..question("x") };
    let completion = complete(&*double.model(LLAMA), request).await.expect("an answer");
    assert_eq!(double.operations(), ["converse"]);
    completion
}

#[tokio::test]
async fn every_answer_in_one_piece_is_read() {
    let text = whole("converse.response.json").await;
    assert_eq!((text.text.as_str(), text.finish), ("An index is a lookup structure.", Finish::Stop));
    assert_eq!(text.usage, Some(Usage { input: 27, output: 15, ..Usage::default() }));

    let tools = whole("converse.tool_use.response.json").await;
    assert_eq!((tools.text.as_str(), tools.finish), ("Let me look.", Finish::ToolCalls));
    assert_eq!(tools.tool_calls, [call("tooluse_a1", "Oslo"), call("tooluse_b2", "Lima")]);

    assert_eq!(whole("converse.max_tokens.response.json").await.finish, Finish::Length);
    assert_eq!(whole("converse.guardrail.response.json").await.finish, Finish::ContentFilter);
    let schema = whole("converse.json_schema.response.json").await;
    assert_eq!(serde_json::from_str::<Value>(&schema.text).expect("JSON")["vendor"], "ACME");
    let reasoning = whole("converse.reasoning.response.json").await;
    assert_eq!((reasoning.text.as_str(), reasoning.finish), ("Forty-two.", Finish::Stop));
    assert_eq!(names("converse.", ".response.json").len(), 6);
}

fn answer_with(stop_reason: &str, content: Value, usage: Value) -> Answer {
    let body = json!({
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": stop_reason, "usage": usage, "metrics": { "latencyMs": 1 },
    });
    Answer::json(200, &body)
}

async fn stopped(stop_reason: &str) -> Result<Finish, Kind> {
    let usage = json!({ "inputTokens": 1, "outputTokens": 1, "totalTokens": 2 });
    let double = Double::answering([answer_with(stop_reason, json!([{ "text": "x" }]), usage)]);
    let request = ChatRequest { tools: vec![weather()], ..question("x") };
    let completion = complete(&*double.model(LLAMA), request).await;
    completion.map(|completion| completion.finish).map_err(|error| {
        assert_eq!(error.retry(), Retry::Now, "{error}");
        error.kind()
    })
}

#[tokio::test]
async fn every_reason_to_stop_has_a_meaning() {
    for (reason, expect) in [
        ("end_turn", Ok(Finish::Stop)),
        ("stop_sequence", Ok(Finish::Stop)),
        ("max_tokens", Ok(Finish::Length)),
        ("model_context_window_exceeded", Ok(Finish::Length)),
        ("content_filtered", Ok(Finish::ContentFilter)),
        ("guardrail_intervened", Ok(Finish::ContentFilter)),
        ("refusal", Ok(Finish::Refusal)),
        ("of_next_year", Ok(Finish::Other("of_next_year".into()))),
        ("malformed_model_output", Err(Kind::Server)),
        ("malformed_tool_use", Err(Kind::Server)),
    ] {
        assert_eq!(stopped(reason).await, expect, "{reason}");
    }
}

#[tokio::test]
async fn cached_tokens_are_input_too() {
    let usage = json!({
        "inputTokens": 10, "outputTokens": 3, "totalTokens": 113,
        "cacheReadInputTokens": 70, "cacheWriteInputTokens": 30,
    });
    let double = Double::answering([answer_with("end_turn", json!([{ "text": "x" }]), usage)]);
    let request = ChatRequest { tools: vec![weather()], ..question("x") };
    let completion = complete(&*double.model(LLAMA), request).await.expect("an answer");
    let expect = Usage { input: 110, output: 3, cached_input: 70, cache_write: 30, reasoning: 0 };
    assert_eq!(completion.usage, Some(expect));
}

#[tokio::test]
async fn a_tool_that_has_to_be_called_is_named() {
    for (choice, expect) in [
        (ToolChoice::Auto, json!({ "auto": {} })),
        (ToolChoice::Required, json!({ "any": {} })),
        (ToolChoice::Named("get_weather".into()), json!({ "tool": { "name": "get_weather" } })),
    ] {
        let double = Double::answering([done()]);
        let request = ChatRequest { tools: vec![weather()], tool_choice: choice, ..question("x") };
        complete(&*double.model(HAIKU), request).await.expect("an answer");
        assert_eq!(double.seen()[0].body["toolConfig"]["toolChoice"], expect);
    }
    let double = Double::answering([done()]);
    let request = ChatRequest { tools: vec![weather()], tool_choice: ToolChoice::None, ..question("x") };
    complete(&*double.model(HAIKU), request).await.expect("an answer");
    assert_eq!(double.seen()[0].body.get("toolConfig"), None);
}
