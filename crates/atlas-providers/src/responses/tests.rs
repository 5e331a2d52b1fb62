//! Fixtures through the reader, and requests as they would go out.

use atlas_llm::{
    AssistantTurn, ChatEvent, ChatRequest, Continuation, Finish, JsonSchema, Message, ModelFacts, Output,
    ProviderError, ProviderErrorKind as Kind, Tool, ToolCall, ToolChoice, Usage,
};
use atlas_vendor::{Catalog, ModelFamily, Scrubber};
use serde_json::{Value, json};

use super::{Reader, body};
use crate::fixture_tests::{
    Outcome, bytes, check_request, check_stream, files, is_stream, json as fixture, read, read_however_cut,
};
use crate::reading::Reader as _;

const MODEL: &str = "gpt-6.1-sol";

fn facts() -> ModelFacts {
    Catalog::shipped().facts(ModelFamily::Openai, MODEL)
}

fn reader() -> Reader {
    Reader::new(Scrubber::default())
}

fn user(text: &str) -> ChatRequest {
    ChatRequest { messages: vec![Message::user(text)], ..ChatRequest::default() }
}

fn asked(request: &ChatRequest) -> Value {
    body(MODEL, request, &facts())
}

fn shape(file: &str) -> Output {
    let schema = fixture(file)["text"]["format"]["schema"].clone();
    Output::Schema(JsonSchema { name: "invoice".into(), schema })
}

const SHAPED: &str = "openai/responses.json_schema.request.json";

#[test]
fn every_stream_has_its_expected_outcome_however_it_is_cut() {
    let streams = files("openai").into_iter().filter(|file| file.contains("/responses.") && is_stream(file));
    let mut n_seen = 0;
    for file in streams {
        check_stream(&file, reader);
        n_seen += 1;
    }
    assert_eq!(n_seen, 5);
}

#[test]
fn every_whole_answer_is_read() {
    let said = |text: &str, finish, usage| Outcome {
        text: text.into(),
        finish: Some(finish),
        usage: Some(usage),
        ..Outcome::default()
    };
    let usage = |input, output, reasoning| Usage { input, output, reasoning, ..Usage::default() };
    let call = ("get_weather".to_owned(), json!({ "city": "Oslo", "unit": "c" }));
    for (name, expect) in [
        ("response", said("An index is a lookup structure.", Finish::Stop, usage(22, 64, 48))),
        ("incomplete.response", said("An index is", Finish::Length, usage(22, 1024, 1010))),
        (
            "tool_call.response",
            Outcome { tool_calls: vec![call], ..said("", Finish::ToolCalls, usage(75, 40, 18)) },
        ),
        (
            "refusal.response",
            Outcome {
                refusal: "I can't help with that request.".into(),
                ..said("", Finish::Refusal, usage(40, 9, 0))
            },
        ),
        ("failed.response", Outcome { error: Some((Kind::Server, true)), ..Outcome::default() }),
    ] {
        let bytes = bytes(&format!("openai/responses.{name}.json"));
        assert_eq!(read_however_cut(&bytes, reader), expect, "{name}");
    }
}

#[test]
fn requests_are_the_fixtures() {
    let streamed = ("stream", json!(true));
    let included = ("include", json!(["reasoning.encrypted_content"]));
    let question = ChatRequest {
        messages: vec![Message::system("Answer in one sentence."), Message::user("What is an index?")],
        max_output_tokens: Some(1024),
        ..ChatRequest::default()
    };
    let differences = [streamed.clone(), ("reasoning", Value::Null)];
    check_request("openai/responses.request.json", &asked(&question), &differences);

    let shaped = ChatRequest { output: shape(SHAPED), ..user("ACME, 41.50 EUR") };
    let input = json!([{ "role": "user", "content": "ACME, 41.50 EUR" }]);
    check_request(SHAPED, &asked(&shaped), &[streamed.clone(), included.clone(), ("input", input)]);

    let file = "openai/responses.tools.request.json";
    let looped = ChatRequest {
        messages: vec![
            Message::system("Use tools when helpful."),
            Message::user("Weather in Oslo?"),
            Message::Assistant(AssistantTurn {
                tool_calls: vec![ToolCall {
                    id: "call_a1".into(),
                    name: "get_weather".into(),
                    arguments: "{\"city\":\"Oslo\",\"unit\":\"c\"}".into(),
                }],
                ..AssistantTurn::default()
            }),
            Message::Tool { call_id: "call_a1".into(), text: "{\"temp\":-2}".into(), is_error: false },
        ],
        tools: vec![Tool {
            name: "get_weather".into(),
            description: "Current weather for one city.".into(),
            parameters: fixture(file)["tools"][0]["parameters"].clone(),
            strict: true,
        }],
        parallel_tool_calls: Some(true),
        max_output_tokens: Some(1024),
        ..ChatRequest::default()
    };
    check_request(file, &asked(&looped), &[streamed, included]);
}

#[test]
fn every_fixture_is_looked_at() {
    let there: Vec<_> = files("openai").into_iter().filter(|file| file.contains("/responses.")).collect();
    let named = |file: &&String| !is_stream(file);
    let names: Vec<_> = there.iter().filter(named).map(|file| file.rsplit('/').next()).collect();
    assert_eq!(
        names.into_iter().flatten().collect::<Vec<_>>(),
        [
            "responses.failed.response.json",
            "responses.incomplete.response.json",
            "responses.json_schema.request.json",
            "responses.refusal.response.json",
            "responses.request.json",
            "responses.response.json",
            "responses.tool_call.response.json",
            "responses.tools.request.json",
        ]
    );
}

#[test]
fn only_what_the_model_accepts_is_sent() {
    let request = ChatRequest {
        temperature: Some(0.2),
        top_p: Some(0.9),
        max_output_tokens: Some(3),
        stop: vec!["x".into()],
        seed: Some(1),
        ..user("a")
    };
    let reasoning = asked(&request);
    assert_eq!(reasoning["max_output_tokens"], 16, "fewer are refused");
    for member in ["temperature", "top_p", "stop", "seed", "tools", "tool_choice", "parallel_tool_calls"] {
        assert_eq!(reasoning.get(member), None, "{member}");
    }
    let older = Catalog::shipped().facts(ModelFamily::Openai, "gpt-4.1");
    let older = body("gpt-4.1", &request, &older);
    assert_eq!((&older["temperature"], &older["top_p"]), (&json!(0.2), &json!(0.9)));
    assert_eq!(older.get("include"), None, "there is no reasoning to encrypt");
}

#[test]
fn choices_and_forms_have_their_words() {
    let tool = Tool {
        name: "get".into(),
        description: "d".into(),
        parameters: json!({ "type": "object" }),
        strict: false,
    };
    let choice = |tool_choice| {
        asked(&ChatRequest { tools: vec![tool.clone()], tool_choice, ..user("a") })["tool_choice"].clone()
    };
    assert_eq!(choice(ToolChoice::None), "none");
    assert_eq!(choice(ToolChoice::Required), "required");
    assert_eq!(choice(ToolChoice::Named("get".into())), json!({ "type": "function", "name": "get" }));

    let json = asked(&ChatRequest { output: Output::Json, ..user("a") });
    assert_eq!(json["text"], json!({ "format": { "type": "json_object" } }));
    assert!(json["instructions"].as_str().is_some_and(|text| text.contains("JSON")));
    let without = ModelFacts { json_schema: Some(false), ..ModelFacts::default() };
    let shaped = body("m", &ChatRequest { output: shape(SHAPED), ..user("a") }, &without);
    assert_eq!(shaped["text"]["format"]["type"], "json_object");
    assert!(shaped["instructions"].as_str().is_some_and(|text| text.contains("\"vendor\"")));
}

#[test]
fn instructions_alone_are_a_question_and_failed_tools_say_so() {
    let alone = ChatRequest { messages: vec![Message::system("Say hi.")], ..ChatRequest::default() };
    let sent = asked(&alone);
    assert_eq!((&sent["input"][0]["content"], sent.get("instructions")), (&json!("Say hi."), None));
    let failed = Message::Tool { call_id: "1".into(), text: "offline".into(), is_error: true };
    let sent = asked(&ChatRequest { messages: vec![failed], ..ChatRequest::default() });
    assert_eq!(sent["input"][0]["output"], "Error: offline");
}

fn events(file: &str) -> Vec<ChatEvent> {
    let (mut reader, mut events) = (reader(), Vec::new());
    reader.bytes(&bytes(file), &mut events).expect("an answer");
    if !reader.is_over() {
        reader.end_of_bytes(&mut events).expect("an end");
    }
    events
}

fn continuation(events: &[ChatEvent]) -> Option<&Continuation> {
    events.iter().find_map(|event| match event {
        ChatEvent::Continuation(continuation) => Some(continuation),
        _ => None,
    })
}

#[test]
fn reasoning_goes_back_with_what_followed_it() {
    let whole = fixture("openai/responses.tool_call.response.json");
    for file in ["openai/responses.tool_call.stream.sse", "openai/responses.tool_call.response.json"] {
        let events = events(file);
        let kept = continuation(&events).expect("reasoning");
        assert_eq!((kept.dialect, &kept.blocks), ("responses", &whole["output"]), "{file}");
        let turn =
            AssistantTurn { text: "said".into(), tool_calls: vec![], continuation: Some(kept.clone()) };
        let sent = |turn: AssistantTurn| {
            asked(&ChatRequest { messages: vec![Message::Assistant(turn)], ..ChatRequest::default() })["input"].clone()
        };
        assert_eq!(sent(turn.clone()), whole["output"]);
        let foreign = Continuation { dialect: "anthropic", ..kept.clone() };
        let foreign = AssistantTurn { continuation: Some(foreign), ..turn };
        assert_eq!(sent(foreign), json!([{ "role": "assistant", "content": "said" }]));
    }
    assert_eq!(continuation(&events("openai/responses.stream.sse")), None);
}

fn stream(bodies: &[Value]) -> Outcome {
    let text: String = bodies.iter().map(|body| format!("data: {body}\n\n")).collect();
    read_however_cut(text.as_bytes(), reader)
}

#[test]
fn failures_have_the_meaning_of_their_code() {
    for (code, kind, may_repeat) in [
        ("rate_limit_exceeded", Kind::Throttled, true),
        ("insufficient_quota", Kind::Quota, false),
        ("project_spend_limit_exceeded", Kind::Quota, false),
        ("context_length_exceeded", Kind::PromptTooLong, false),
        ("server_is_overloaded", Kind::Overloaded, true),
        ("server_error", Kind::Server, true),
    ] {
        let error = json!({ "type": "error", "code": code, "message": "m", "param": null });
        assert_eq!(stream(&[error]).error, Some((kind, may_repeat)), "{code}");
        let failed = json!({ "status": "failed", "error": { "code": code, "message": "m" } });
        let failed = json!({ "type": "response.failed", "response": failed });
        assert_eq!(stream(&[failed]).error, Some((kind, may_repeat)), "{code}");
    }
}

#[test]
fn a_filter_is_told_from_a_limit() {
    let cut =
        json!({ "status": "incomplete", "incomplete_details": { "reason": "content_filter" }, "output": [] });
    let outcome = stream(&[json!({ "type": "response.incomplete", "response": cut })]);
    assert_eq!(outcome.finish, Some(Finish::ContentFilter));
}

#[test]
fn what_a_gateway_does_not_stream_is_read_at_the_end() {
    let message = json!({ "type": "message", "content": [{ "type": "output_text", "text": "Hi" }] });
    let done = json!({ "type": "response.output_item.done", "output_index": 0, "item": message });
    let completed = |output: Value| json!({ "type": "response.completed", "response": { "status": "completed", "output": output } });
    for bodies in [
        vec![completed(json!([message]))],
        vec![done.clone(), completed(json!([message]))],
        vec![done, completed(json!([]))],
    ] {
        let outcome = stream(&bodies);
        assert_eq!((&*outcome.text, outcome.finish), ("Hi", Some(Finish::Stop)), "{bodies:?}");
    }
    let delta = json!({ "type": "response.output_text.delta", "output_index": 0, "delta": "Hi" });
    assert_eq!(stream(&[delta, completed(Value::Null)]).text, "Hi");
}

#[test]
fn summaries_of_reasoning_are_no_answer() {
    let outcome = stream(&[
        json!({ "type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "Hm." }),
        json!({ "type": "response.refusal.delta", "output_index": 1, "delta": "No." }),
        json!({ "type": "response.something.new" }),
        json!({ "type": "response.completed", "response": { "status": "completed", "output": [] } }),
    ]);
    assert_eq!((&*outcome.reasoning, &*outcome.refusal, &*outcome.text), ("Hm.", "No.", ""));
    assert_eq!(outcome.finish, Some(Finish::Refusal));
}

#[test]
fn an_answer_of_another_api_is_none_and_one_without_its_end_was_cut() {
    let error = |text: &str| read(reader(), [text.as_bytes()]).error;
    assert_eq!(error("{\"choices\":[]}"), Some((Kind::Protocol, false)));
    assert_eq!(
        error("data: {\"type\":\"response.created\"}\n\n"),
        Some((ProviderError::cut_short().kind(), false))
    );
}
