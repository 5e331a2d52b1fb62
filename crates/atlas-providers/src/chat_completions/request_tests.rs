//! Requests, against the fixtures and where dialects differ.

use std::sync::Arc;

use atlas_llm::{AssistantTurn, ChatRequest, JsonSchema, Message, Output, Tool, ToolCall, ToolChoice};
use atlas_vendor::Catalog;
use serde_json::{Value, json};

use super::dialect::{AZURE, COMPATIBLE, Dialect, OPENAI, TGI, VLLM};
use super::quirks::{Quirks, Shape};
use super::request::body;
use crate::ApiChoice;
use crate::fixture_tests as fixtures;

/// What is sent to a model before anything was learnt about it.
fn quirks(dialect: &Dialect, model: &str) -> Quirks {
    let catalog = Arc::new(Catalog::shipped());
    let entry = dialect.families.iter().find_map(|family| catalog.find(*family, model));
    let facts = entry.map(|entry| entry.chat.clone()).unwrap_or_default();
    let tools = entry.and_then(|entry| entry.tools_on_chat_completions);
    Quirks::new(dialect, ApiChoice::Chat, model, &facts, tools)
}

fn weather(strict: bool) -> Tool {
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
        strict,
    }
}

fn invoice() -> Output {
    let properties = json!({
        "vendor": { "type": "string" },
        "total": { "type": "number" },
        "currency": { "type": ["string", "null"] },
    });
    Output::Schema(JsonSchema {
        name: "invoice".into(),
        schema: json!({
            "type": "object",
            "properties": properties,
            "required": ["vendor", "total", "currency"],
            "additionalProperties": false,
        }),
    })
}

fn says(messages: &[Message]) -> ChatRequest {
    ChatRequest { messages: messages.to_vec(), ..ChatRequest::default() }
}

fn limited(max_output_tokens: u32, messages: &[Message]) -> ChatRequest {
    ChatRequest { max_output_tokens: Some(max_output_tokens), ..says(messages) }
}

fn asks_for_weather() -> ChatRequest {
    let call = |id: &str, arguments: &str| ToolCall {
        id: id.into(),
        name: "get_weather".into(),
        arguments: arguments.into(),
    };
    let result =
        |id: &str, text: &str| Message::Tool { call_id: id.into(), text: text.into(), is_error: false };
    let turn = AssistantTurn {
        tool_calls: vec![
            call("call_a1", r#"{"city":"Oslo","unit":"c"}"#),
            call("call_b2", r#"{"city":"Lima","unit":"c"}"#),
        ],
        ..AssistantTurn::default()
    };
    ChatRequest {
        tools: vec![weather(true)],
        parallel_tool_calls: Some(true),
        ..limited(
            300,
            &[
                Message::user("Weather in Oslo and Lima, in Celsius?"),
                Message::Assistant(turn),
                result("call_a1", r#"{"temp":-2}"#),
                result("call_b2", r#"{"temp":19}"#),
            ],
        )
    }
}

/// Everything is streamed, with counts.
fn streamed() -> Vec<(&'static str, Value)> {
    vec![("stream", json!(true)), ("stream_options", json!({ "include_usage": true }))]
}

fn streamed_by_openai() -> Vec<(&'static str, Value)> {
    let options = json!({ "include_usage": true, "include_obfuscation": false });
    vec![("stream", json!(true)), ("stream_options", options)]
}

type Case = (&'static str, Value, Vec<(&'static str, Value)>);

/// Every request fixture: ours, and where it differs on purpose.
pub(super) fn requests() -> Vec<Case> {
    let openai =
        |model: &str, request: &ChatRequest| body(Some(model), request, &OPENAI, &quirks(&OPENAI, model));
    let qwen = |request: &ChatRequest, quirks: Quirks| body(Some("Qwen/Qwen3-8B"), request, &VLLM, &quirks);
    let tgi = |request: &ChatRequest, quirks: Quirks| body(Some("tgi"), request, &TGI, &quirks);
    let short = [Message::system("Answer in one sentence."), Message::user("What is an index?")];
    let in_database =
        [Message::system("Answer in one sentence."), Message::user("What is an index in a database?")];
    let oslo = ChatRequest {
        tools: vec![weather(true)],
        tool_choice: ToolChoice::Named("get_weather".into()),
        ..says(&[Message::user("Oslo?")])
    };
    let luna = ChatRequest {
        tools: vec![weather(true)],
        // Dropped, because this model refuses it.
        temperature: Some(0.2),
        ..limited(2000, &[Message::system("Use tools when helpful."), Message::user("Weather in Oslo?")])
    };
    let vendor = ChatRequest {
        output: Output::Json,
        ..says(&[
            Message::system("Reply as JSON with the keys vendor and total."),
            Message::user("ACME, 41.50"),
        ])
    };
    let extract = ChatRequest {
        output: invoice(),
        ..limited(200, &[Message::system("Extract the invoice."), Message::user("ACME, 41.50 EUR")])
    };
    let acme = |text| ChatRequest { output: invoice(), ..limited(256, &[Message::user(text)]) };
    let sentiment = ChatRequest { output: invoice(), ..limited(8, &[Message::user("Sentiment of: great")]) };
    let grammar = |dialect, model| Quirks { shape: Shape::Grammar, ..quirks(dialect, model) };
    let vllm_grammar = qwen(&sentiment, grammar(&VLLM, "Qwen/Qwen3-8B"));
    let Output::Schema(shape) = invoice() else { unreachable!("it is one") };
    vec![
        (
            "openai/chat.request.json",
            openai("gpt-4o-mini", &ChatRequest { temperature: Some(0.2), ..limited(256, &in_database) }),
            streamed_by_openai(),
        ),
        (
            "openai/chat.stream.request.json",
            openai("gpt-4o-mini", &limited(64, &[Message::user("Say hello.")])),
            vec![],
        ),
        ("openai/chat.json_object.request.json", openai("gpt-4o-mini", &vendor), streamed_by_openai()),
        ("openai/chat.json_schema.request.json", openai("gpt-4o", &extract), streamed_by_openai()),
        (
            "openai/chat.tools.request.json",
            openai("gpt-4o", &asks_for_weather()),
            // `auto` is what the server does by itself.
            [streamed_by_openai(), vec![("tool_choice", Value::Null)]].concat(),
        ),
        ("openai/chat.tool_choice_named.request.json", openai("gpt-4o", &oslo), streamed_by_openai()),
        (
            "openai/chat.reasoning_tools_effort_none.request.json",
            openai("gpt-6-luna", &luna),
            streamed_by_openai(),
        ),
        (
            "azure/chat.classic.request.json",
            body(None, &limited(256, &short), &AZURE, &quirks(&AZURE, "gpt4o prod")),
            streamed(),
        ),
        (
            "azure/chat.v1.request.json",
            body(
                Some("my-gpt4o-deployment"),
                &limited(256, &[Message::user("What is an index?")]),
                &AZURE,
                &quirks(&AZURE, "my-gpt4o-deployment"),
            ),
            streamed(),
        ),
        (
            "vllm/chat.json_schema.request.json",
            qwen(&acme("ACME, 41.50 EUR"), quirks(&VLLM, "Qwen/Qwen3-8B")),
            // Whether a model thinks is the operator's choice, not ours.
            [streamed(), vec![("chat_template_kwargs", Value::Null)]].concat(),
        ),
        (
            "vllm/chat.structured_outputs.request.json",
            vllm_grammar,
            // A schema is the only one of the forms that is used.
            [streamed(), vec![("structured_outputs", json!({ "json": shape.schema }))]].concat(),
        ),
        (
            "tgi/chat.request.json",
            tgi(&ChatRequest { temperature: Some(0.2), ..limited(256, &short) }, quirks(&TGI, "tgi")),
            streamed(),
        ),
        (
            "tgi/chat.json_schema.request.json",
            tgi(&acme("ACME, 41.50 EUR. Reply as JSON."), quirks(&TGI, "tgi")),
            streamed(),
        ),
        (
            "tgi/chat.grammar_v2.request.json",
            tgi(&acme("ACME, 41.50 EUR. Reply as JSON."), grammar(&TGI, "tgi")),
            streamed(),
        ),
    ]
}

#[test]
fn requests_are_those_of_the_wire_reference() {
    for (file, ours, differences) in requests() {
        fixtures::check_request(file, &ours, &differences);
    }
}

fn sent(dialect: &Dialect, request: &ChatRequest) -> Value {
    body(Some("m"), request, dialect, &quirks(dialect, "m"))
}

#[test]
fn others_are_sent_the_least() {
    let request = ChatRequest {
        temperature: Some(0.2),
        top_p: Some(0.9),
        stop: vec!["END".into()],
        seed: Some(7),
        ..asks_for_weather()
    };
    let body = sent(&COMPATIBLE, &request);
    let members: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        members,
        [
            "max_tokens",
            "messages",
            "model",
            "seed",
            "stop",
            "stream",
            "stream_options",
            "temperature",
            "tools",
            "top_p"
        ]
    );
    assert_eq!(body["stream_options"], json!({ "include_usage": true }));
    assert_eq!(body["tools"][0]["function"].get("strict"), None);
    assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.2), &json!(0.9)));
}

#[test]
fn models_that_reason_are_spared_what_they_refuse() {
    let request = ChatRequest {
        temperature: Some(0.2),
        top_p: Some(0.9),
        stop: vec!["END".into()],
        ..limited(64, &[Message::system("s")])
    };
    let body = body(Some("gpt-5-mini"), &request, &OPENAI, &quirks(&OPENAI, "gpt-5-mini"));
    for member in ["temperature", "top_p", "stop", "reasoning_effort"] {
        assert_eq!(body.get(member), None, "{member}");
    }
    assert_eq!(body["messages"][0]["role"], "developer");
}

#[test]
fn tgi_takes_no_sampling_at_its_bounds() {
    let request = |temperature, top_p| ChatRequest {
        temperature: Some(temperature),
        top_p: Some(top_p),
        ..says(&[Message::user("u")])
    };
    let body = sent(&TGI, &request(0.0, 1.0));
    assert_eq!((body.get("temperature"), body.get("top_p")), (None, None));
    let body = sent(&TGI, &request(0.5, 0.5));
    assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.5), &json!(0.5)));
    assert_eq!(sent(&VLLM, &request(0.0, 1.0))["temperature"], json!(0.0));
}

#[test]
fn forbidden_tools_are_left_out_where_they_would_reach_the_prompt() {
    let request = ChatRequest { tool_choice: ToolChoice::None, ..asks_for_weather() };
    for dialect in [&COMPATIBLE, &VLLM, &TGI] {
        assert_eq!(sent(dialect, &request).get("tools"), None);
    }
    let body = sent(&OPENAI, &request);
    assert_eq!((&body["tool_choice"], body["tools"].as_array().map(Vec::len)), (&json!("none"), Some(1)));
}

#[test]
fn a_choice_without_tools_says_nothing() {
    let request = ChatRequest {
        tool_choice: ToolChoice::Required,
        parallel_tool_calls: Some(false),
        ..says(&[Message::user("u")])
    };
    let body = sent(&OPENAI, &request);
    assert_eq!((body.get("tool_choice"), body.get("parallel_tool_calls")), (None, None));
}

#[test]
fn of_tools_and_a_form_tgi_gets_the_tools_and_the_form_in_the_prompt() {
    let request = ChatRequest { output: invoice(), ..asks_for_weather() };
    let body = sent(&TGI, &request);
    assert_eq!((body.get("response_format"), body["tools"].is_array()), (None, true));
    assert!(body["messages"][0]["content"].as_str().expect("text").contains("JSON Schema"));
    let both = sent(&VLLM, &request);
    assert_eq!((&both["response_format"]["type"], both["tools"].is_array()), (&json!("json_schema"), true));
}

#[test]
fn without_response_format_the_schema_stands_in_the_prompt() {
    let request =
        ChatRequest { output: invoice(), ..says(&[Message::system("Be short."), Message::user("Why?")]) };
    for (shape, format) in [(Shape::Object, Some(json!({ "type": "json_object" }))), (Shape::Prompt, None)] {
        let quirks = Quirks { shape, ..quirks(&COMPATIBLE, "m") };
        let body = body(Some("m"), &request, &COMPATIBLE, &quirks);
        assert_eq!(body.get("response_format"), format.as_ref());
        let system = body["messages"][0]["content"].as_str().expect("text");
        assert!(system.starts_with("Be short.") && system.contains(r#""additionalProperties":false"#));
    }
    let silent = ChatRequest { messages: vec![Message::user("Why?")], ..request };
    let quirks = Quirks { shape: Shape::Prompt, ..quirks(&COMPATIBLE, "m") };
    let body = body(Some("m"), &silent, &COMPATIBLE, &quirks);
    assert_eq!(
        (&body["messages"][0]["role"], &body["messages"][1]["role"]),
        (&json!("system"), &json!("user"))
    );
}

#[test]
fn json_without_a_shape_is_asked_for_with_the_word() {
    let request = ChatRequest { output: Output::Json, ..says(&[Message::user("Why?")]) };
    let body = sent(&OPENAI, &request);
    assert_eq!(body["response_format"], json!({ "type": "json_object" }));
    assert!(body["messages"][0]["content"].as_str().expect("text").contains("JSON"));
    let tgi = sent(&TGI, &request);
    assert_eq!(tgi["response_format"], json!({ "type": "json_object", "value": { "type": "object" } }));
}

#[test]
fn a_model_without_schemas_is_asked_for_an_object_at_once() {
    let request = ChatRequest { output: invoice(), ..says(&[Message::user("Why?")]) };
    let body = body(Some("gpt-4-turbo"), &request, &OPENAI, &quirks(&OPENAI, "gpt-4-turbo"));
    assert_eq!(body["response_format"]["type"], "json_object");
}

#[test]
fn plain_templates_get_no_system_turn_and_no_two_turns_in_a_row() {
    let request = says(&[
        Message::system("s1"),
        Message::system("s2"),
        Message::user("u1"),
        Message::assistant("a"),
        Message::user("u2"),
        Message::user("u3"),
    ]);
    let quirks = Quirks { plain_turns: true, ..quirks(&VLLM, "m") };
    assert_eq!(
        body(Some("m"), &request, &VLLM, &quirks)["messages"],
        json!([
            { "role": "user", "content": "s1\n\ns2\n\nu1" },
            { "role": "assistant", "content": "a" },
            { "role": "user", "content": "u2\n\nu3" },
        ])
    );
}

#[test]
fn short_ids_are_the_same_for_a_call_and_its_result() {
    let quirks = Quirks { short_ids: true, ..quirks(&COMPATIBLE, "m") };
    let body = body(Some("m"), &asks_for_weather(), &COMPATIBLE, &quirks);
    let turns = &body["messages"];
    let ids = [&turns[1]["tool_calls"][1]["id"], &turns[3]["tool_call_id"]];
    assert_eq!(ids, [&json!("call00001"), &json!("call00001")]);
}
