//! Fixtures through the reader and the mapping of errors.

use atlas_llm::{AssistantTurn, ChatEvent, Continuation, Finish, Message, ProviderErrorKind as Kind, Usage};
use atlas_vendor::{Refusal, Scrubber};
use serde_json::{Value, json};

use super::request::{ANSWER_TOOL, ask};
use super::*;
use crate::fixture_tests::{
    Outcome, bytes, check_all_used, check_errors, check_stream, expected, files, is_stream, json as fixture,
    read_however_cut,
};
use crate::reading::Reader as _;

const MODEL: &str = "claude-sonnet-5-5";

pub(super) fn facts() -> ModelFacts {
    Catalog::shipped().facts(ModelFamily::Anthropic, MODEL)
}

pub(super) fn asked(request: &ChatRequest) -> Value {
    ask(MODEL, request, &facts(), Form::first(&facts())).body
}

#[test]
fn every_stream_has_its_expected_outcome_however_it_is_cut() {
    for file in files("anthropic").iter().filter(|file| is_stream(file)) {
        check_stream(file, || Reader::new(Scrubber::default(), false));
    }
}

#[test]
fn every_error_vector_has_its_kind() {
    check_errors("anthropic", |status, headers, body| {
        error::understood(Refusal::of(status, headers, body, &Scrubber::default())).error
    });
}

#[test]
fn a_refusal_keeps_the_id_for_the_providers_support() {
    let error = error::inline(
        &json!({ "type": "error", "error": { "type": "timeout_error", "message": "" }, "request_id": "req_1 " }),
        &Scrubber::default(),
    );
    assert_eq!((error.kind(), error.request_id()), (Kind::Timeout, Some("req_1")));
}

pub(super) fn refused(status: u16, message: &str) -> Refusal {
    let body = json!({ "type": "error", "error": { "type": "invalid_request_error", "message": message } });
    let body = body.to_string();
    error::understood(Refusal::of(status, &Default::default(), body.as_bytes(), &Scrubber::default()))
}

#[test]
fn limits_of_the_account_are_no_bad_request() {
    for message in [
        "You have reached your specified API usage limits.",
        "Your credit balance is too low to access the API.",
    ] {
        assert_eq!(refused(400, message).error.kind(), Kind::Quota, "{message}");
    }
}

/// The events of an answer in one piece.
fn events_of(answer: &Value, answers_by_tool: bool) -> Vec<Result<ChatEvent, ProviderError>> {
    let mut reader = Reader::new(Scrubber::default(), answers_by_tool);
    let mut events = Vec::new();
    let read = reader.bytes(answer.to_string().as_bytes(), &mut events);
    let read = read.and_then(|()| reader.end_of_bytes(&mut events));
    events.into_iter().map(Ok).chain(read.err().map(Err)).collect()
}

#[test]
fn every_whole_answer_is_read() {
    let usage = |input, output| Some(Usage { input, output, ..Usage::default() });
    let said = |text: &str, finish, usage| Outcome {
        text: text.into(),
        finish: Some(finish),
        usage,
        ..Outcome::default()
    };
    let weather = |city: &str| ("get_weather".to_owned(), json!({ "city": city, "unit": "c" }));
    let cached = Usage { input: 2052, output: 30, cached_input: 1800, cache_write: 240, reasoning: 20 };
    let thinking = Usage { input: 20, output: 90, reasoning: 80, ..Usage::default() };
    for (name, expect) in [
        ("response", said("An index is a lookup structure.", Finish::Stop, usage(27, 15))),
        ("max_tokens.response", said("An index is", Finish::Length, usage(27, 3))),
        ("context_window.response", said("…", Finish::Length, usage(199_990, 10))),
        ("refusal.response", said("", Finish::Refusal, usage(40, 1))),
        ("cached_usage.response", said("Done.", Finish::Stop, Some(cached))),
        ("thinking.response", said("Forty-two.", Finish::Stop, Some(thinking))),
        (
            "json_schema.response",
            said("{\"vendor\":\"ACME\",\"total\":41.5,\"currency\":\"EUR\"}", Finish::Stop, usage(190, 17)),
        ),
        (
            "tool_use.response",
            Outcome {
                tool_calls: vec![weather("Oslo"), weather("Lima")],
                ..said("Let me look.", Finish::ToolCalls, usage(380, 96))
            },
        ),
    ] {
        let bytes = bytes(&format!("anthropic/messages.{name}.json"));
        assert_eq!(read_however_cut(&bytes, || Reader::new(Scrubber::default(), false)), expect, "{name}");
    }
}

#[test]
fn an_error_with_status_200_and_an_answer_of_another_api_are_errors() {
    let error = |body: Value| Outcome::of(events_of(&body, false)).error;
    let overloaded = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "x" } });
    assert_eq!(error(overloaded), Some((Kind::Overloaded, true)));
    assert_eq!(error(json!({ "choices": [] })), Some((Kind::Protocol, false)));
}

#[test]
fn every_fixture_is_looked_at() {
    let streams = files("anthropic").into_iter().filter(|file| is_stream(file)).collect::<Vec<_>>();
    let others = [
        "messages.request",
        "messages.stream.request",
        "messages.json_schema.request",
        "messages.cached_system.request",
        "messages.tools.request",
        "messages.response",
        "messages.max_tokens.response",
        "messages.context_window.response",
        "messages.refusal.response",
        "messages.cached_usage.response",
        "messages.thinking.response",
        "messages.json_schema.response",
        "messages.tool_use.response",
        "models.response",
    ];
    let others = others.map(|name| format!("anthropic/{name}.json"));
    check_all_used("anthropic", streams.iter().chain(&others).map(String::as_str));
}

fn read_by_tool(blocks: &[Value], stop_reason: &str) -> Outcome {
    Outcome::of(events_of(&json!({ "content": blocks, "stop_reason": stop_reason }), true))
}

#[test]
fn the_answer_in_a_tool_is_text_to_the_caller() {
    let preface = json!({ "type": "text", "text": "Here it is:" });
    let answer = json!({ "type": "tool_use", "id": "t", "name": ANSWER_TOOL, "input": { "a": 1 } });
    let text = |text: &str, finish| Outcome { text: text.into(), finish: Some(finish), ..Outcome::default() };
    assert_eq!(read_by_tool(&[preface.clone(), answer.clone()], "tool_use"), text("{\"a\":1}", Finish::Stop));
    assert_eq!(read_by_tool(&[answer], "max_tokens"), text("{\"a\":1}", Finish::Length));
    assert_eq!(read_by_tool(&[preface], "refusal"), text("Here it is:", Finish::Refusal));

    let bytes = String::from_utf8(bytes("anthropic/messages.tool_use.stream.sse")).expect("text");
    let bytes = bytes.replace("get_weather", ANSWER_TOOL);
    let outcome = read_however_cut(bytes.as_bytes(), || Reader::new(Scrubber::default(), true));
    assert_eq!(outcome.text, "{\"city\": \"Oslo\", \"unit\": \"c\"}");
}

#[test]
fn reasoning_goes_back_as_it_came() {
    let mut events = Vec::new();
    let mut reader = Reader::new(Scrubber::default(), false);
    reader.bytes(&bytes("anthropic/messages.thinking.stream.sse"), &mut events).expect("a stream");
    let events: Vec<_> = events.into_iter().map(Ok).collect();
    let expect = json!([
        { "type": "thinking", "thinking": "Short check.", "signature": "c2ln" },
        { "type": "text", "text": "Forty-two." },
    ]);
    let continuation = continuation(&events).expect("reasoning");
    assert_eq!(continuation.blocks, expect);
    let request = |dialect: &'static str| ChatRequest {
        messages: vec![
            Message::user("?"),
            Message::Assistant(AssistantTurn {
                text: "Forty-two.".into(),
                tool_calls: vec![],
                continuation: Some(Continuation { dialect, blocks: expect.clone() }),
            }),
            Message::user("Sure?"),
        ],
        ..ChatRequest::default()
    };
    assert_eq!(asked(&request("anthropic"))["messages"][1]["content"], expect);
    assert_eq!(asked(&request("responses"))["messages"][1]["content"], "Forty-two.");
}

fn continuation(events: &[Result<ChatEvent, ProviderError>]) -> Option<Continuation> {
    events.iter().find_map(|event| match event {
        Ok(ChatEvent::Continuation(continuation)) => Some(continuation.clone()),
        _ => None,
    })
}

#[test]
fn calls_stay_beside_the_reasoning_that_led_to_them() {
    let thinking = json!({ "type": "redacted_thinking", "data": "b3BhcXVl" });
    let call = json!({ "type": "tool_use", "id": "t1", "name": "get", "input": { "a": [1] } });
    let answer =
        json!({ "content": [thinking, { "type": "text", "text": "" }, call], "stop_reason": "tool_use" });
    let kept = continuation(&events_of(&answer, false)).expect("reasoning");
    assert_eq!(kept.blocks, json!([thinking, call]));
    let unsigned = fixture("anthropic/messages.tool_use.response.json");
    assert!(continuation(&events_of(&unsigned, false)).is_none());
}

#[test]
fn a_paused_turn_is_told_by_its_name() {
    let answer = json!({ "content": [{ "type": "text", "text": "a" }], "stop_reason": "pause_turn" });
    assert_eq!(Outcome::of(events_of(&answer, false)).finish, Some(Finish::Other("pause_turn".into())));
}

#[test]
fn counts_of_nothing_are_none_and_counts_of_everything_are_no_panic() {
    let usage = |usage: Value| {
        let content = json!([{ "type": "text", "text": "a" }]);
        Outcome::of(events_of(&json!({ "content": content, "usage": usage }), false)).usage
    };
    assert_eq!(usage(json!({ "input_tokens": 0, "output_tokens": 0 })), None);
    assert_eq!(usage(Value::Null), None);
    let most = usage(json!({ "input_tokens": u64::MAX, "cache_read_input_tokens": 1 })).expect("a count");
    assert_eq!(most.input, u64::MAX);
}

#[test]
fn a_stream_that_breaks_after_the_reason_is_whole() {
    let stream = String::from_utf8(bytes("anthropic/messages.stream.sse")).expect("text");
    let cut = stream.find("event: message_stop").expect("an end");
    let outcome =
        crate::fixture_tests::read(Reader::new(Scrubber::default(), false), [&stream.as_bytes()[..cut]]);
    assert_eq!(outcome, expected("anthropic/messages.stream.sse"));
}

#[test]
fn entries_of_models_are_read_with_their_end() {
    let list = fixture("anthropic/models.response.json");
    let entry = inspect::entry(&list["data"][0], true);
    assert_eq!(entry.context_tokens, Some(1_000_000));
    assert_eq!((entry.model_listed, entry.credentials_checked), (Some(true), true));
    assert_eq!(entry.warnings, Vec::<String>::new());

    let mut ending = list["data"][1].clone();
    ending["lifecycle"] = "deprecated".into();
    ending["retires_at"] = "2026-11-30T00:00:00Z".into();
    assert!(inspect::entry(&ending, true).warnings[0].ends_with("retires it on 2026-11-30"));
    ending["retires_at"] = "<script>".into();
    assert_eq!(inspect::entry(&ending, true).warnings, ["Anthropic has deprecated this model"]);
    ending["lifecycle"] = "retired".into();
    assert_eq!(inspect::entry(&ending, true).warnings, ["Anthropic has retired this model"]);
    assert_eq!(inspect::entry(&json!({}), true), Inspection::default());
}

#[test]
fn bases_are_read_however_they_are_pasted() {
    for (pasted, operation) in [
        (None, "https://api.anthropic.com/v1/messages"),
        (Some(" "), "https://api.anthropic.com/v1/messages"),
        (Some("https://api.anthropic.com/"), "https://api.anthropic.com/v1/messages"),
        (Some("https://api.anthropic.com/v1"), "https://api.anthropic.com/v1/messages"),
        (Some("https://api.anthropic.com/v1/messages"), "https://api.anthropic.com/v1/messages"),
        (
            Some("https://r.services.ai.azure.com/anthropic/"),
            "https://r.services.ai.azure.com/anthropic/v1/messages",
        ),
        (Some("http://127.0.0.1:8080/claude/v1/"), "http://127.0.0.1:8080/claude/v1/messages"),
    ] {
        let base = options::base(pasted).expect("a base");
        let path = format!("{}/{MESSAGES}", base.path().trim_end_matches('/'));
        assert_eq!(base.join(&path).expect("a URL").as_str(), operation, "{pasted:?}");
    }
    for pasted in ["anthropic", "ftp://a", "https://a/v1?key=b", "https://u:p@a/"] {
        let error = options::base(Some(pasted)).expect_err(pasted);
        assert_eq!(error.named_setting(), Some("BYOC_ENDPOINT_URL"), "{pasted}");
    }
}
