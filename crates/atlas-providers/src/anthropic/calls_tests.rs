//! Whole calls against a server on loopback.

use atlas_domain::CheckStatus;
use atlas_llm::{ChatEvent, ChatRequest, Finish, JsonSchema, Message, Output, ProviderErrorKind as Kind};
use futures_util::StreamExt;
use secrecy::SecretString;
use serde_json::json;

use crate::Options;
use crate::fixture_tests::{Outcome, bytes, expected, json as fixture};
use crate::loopback_tests::{Answer, Server, call, connect};

const KEY: &str = "test-key-anthropic";

fn ask() -> ChatRequest {
    ChatRequest { messages: vec![Message::user("Why?")], ..ChatRequest::default() }
}

fn stream(file: &str) -> Answer {
    Answer::new(200, "text/event-stream; charset=utf-8", bytes(&format!("anthropic/{file}")))
}

fn vector(file: &str) -> Answer {
    let vector = fixture(&format!("anthropic/{file}"));
    Answer::json(vector["status"].as_u64().expect("a status") as u16, &vector["body"])
}

#[tokio::test]
async fn a_streamed_answer_arrives_and_the_request_has_its_head() {
    let server = Server::start([stream("messages.stream.sse")]).await;
    let model = server.model("anthropic", Some(KEY), "claude-sonnet-5-5");
    assert_eq!(Outcome::of(call(&*model, ask()).await), expected("anthropic/messages.stream.sse"));
    let [seen] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(seen.line, "POST /v1/messages");
    assert_eq!(seen.header("x-api-key"), Some(KEY));
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!((&seen.body["stream"], &seen.body["model"]), (&json!(true), &json!("claude-sonnet-5-5")));
}

#[tokio::test]
async fn a_gateway_may_want_the_key_in_another_header() {
    for (header, name, value) in
        [("Authorization", "authorization", "Bearer test-key-anthropic"), ("X-Gate", "x-gate", KEY)]
    {
        let server = Server::start([stream("messages.stream.sse")]).await;
        let options = Options {
            endpoint_url: Some(format!("{}/v1/", server.url)),
            api_key: Some(SecretString::from(KEY)),
            auth_header: Some(header.into()),
            ..Options::default()
        };
        call(&*connect("anthropic", options, "m").expect("usable"), ask()).await;
        let [seen] = &server.requests()[..] else { panic!("one request") };
        assert_eq!((seen.header(name), seen.header("x-api-key")), (Some(value), None));
    }
}

#[tokio::test]
async fn an_answer_in_one_piece_is_read_too() {
    let body = fixture("anthropic/messages.response.json");
    let server =
        Server::start([Answer::json(200, &body), Answer::json(200, &json!({ "choices": [] }))]).await;
    let model = server.model("anthropic", None, "m");
    assert_eq!(Outcome::of(call(&*model, ask()).await).text, "An index is a lookup structure.");
    assert_eq!(Outcome::of(call(&*model, ask()).await).error, Some((Kind::Protocol, false)));
}

#[tokio::test]
async fn a_refusal_says_why_without_the_key() {
    let echo = json!({ "type": "error", "error": { "type": "authentication_error", "message": format!("bad key {KEY}") } });
    let server = Server::start([vector("error.429.spend_limit.json"), Answer::json(401, &echo)]).await;
    let model = server.model("anthropic", Some(KEY), "claude-sonnet-5-5");
    assert_eq!(Outcome::of(call(&*model, ask()).await).error, Some((Kind::Quota, false)));
    let events = call(&*model, ask()).await;
    let [Err(error)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(error.kind(), Kind::Credentials);
    assert!(!format!("{error} {error:?}").contains(KEY), "{error}");
}

#[tokio::test]
async fn what_a_model_refuses_is_left_out_now_and_later() {
    let answer = || stream("messages.stream.sse");
    let server = Server::start([vector("error.400.sampling_model.json"), answer(), answer()]).await;
    let model = server.model("anthropic", Some(KEY), "a-model-of-next-year");
    for _ in 0..2 {
        let request = ChatRequest { temperature: Some(0.2), ..ask() };
        assert_eq!(Outcome::of(call(&*model, request).await).finish, Some(Finish::Stop));
    }
    let sent: Vec<_> = server.requests().iter().map(|seen| seen.body["temperature"].as_f64()).collect();
    assert_eq!(sent, [Some(0.2), None, None]);
}

#[tokio::test]
async fn models_of_one_name_share_what_was_learnt() {
    let answer = || stream("messages.stream.sse");
    let server = Server::start([vector("error.400.sampling_model.json"), answer(), answer()]).await;
    let provider = server.provider("anthropic", Some(KEY));
    for _ in 0..2 {
        let request = ChatRequest { temperature: Some(0.2), ..ask() };
        call(&*provider.connect("m").expect("usable"), request).await;
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_schema_that_is_refused_is_not_held_against_the_next_one() {
    let refusal = |message: &str| {
        Answer::json(
            400,
            &json!({ "type": "error", "error": { "type": "invalid_request_error", "message": message } }),
        )
    };
    let answer = || stream("messages.stream.sse");
    let shaped = || ChatRequest {
        output: Output::Schema(JsonSchema { name: "s".into(), schema: json!({ "type": "object" }) }),
        ..ask()
    };
    for (message, expect) in [
        ("output_config.format.schema: too many optional parameters", [true, false, true]),
        ("output_config: Extra inputs are not permitted", [true, false, false]),
    ] {
        let server = Server::start([refusal(message), answer(), answer()]).await;
        let model = server.model("anthropic", Some(KEY), "a-model-of-next-year");
        for _ in 0..2 {
            call(&*model, shaped()).await;
        }
        let sent: Vec<_> =
            server.requests().iter().map(|seen| seen.body.get("output_config").is_some()).collect();
        assert_eq!(sent, expect, "{message}");
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_closes_its_connection() {
    let whole = bytes("anthropic/messages.error_midstream.sse");
    let text = String::from_utf8(whole).expect("text");
    let begun = text[..text.find("event: error").expect("an error")].to_owned();
    let mut server = Server::start([Answer::new(200, "text/event-stream", begun).then_silence()]).await;
    let model = server.model("anthropic", Some(KEY), "m");
    let cleared = atlas_guard::Guard::new().clear(ask(), model.destination()).expect("allowed");
    let mut stream = model.stream(cleared).await.expect("accepted");
    assert_eq!(stream.next().await, Some(Ok(ChatEvent::Text("Partial".into()))));
    drop(stream);
    server.was_left().await;
}

#[tokio::test]
async fn a_model_is_inspected_without_generating() {
    let list = fixture("anthropic/models.response.json");
    let server = Server::start([Answer::json(200, &list["data"][0])]).await;
    let model = server.model("anthropic", Some(KEY), "claude-sonnet-5-5");
    let inspection = model.inspect().await.expect("an entry");
    assert_eq!((inspection.model_listed, inspection.context_tokens), (Some(true), Some(1_000_000)));
    assert!(inspection.credentials_checked);
    assert_eq!(server.requests()[0].line, "GET /v1/models/claude-sonnet-5-5");
}

#[tokio::test]
async fn a_wrong_key_and_an_unknown_model_are_told_apart() {
    let page = Answer::new(404, "text/html", "<html>");
    let answers = [vector("error.401.json"), vector("error.404.model.json"), page, vector("error.529.json")];
    let server = Server::start(answers).await;
    let model = server.model("anthropic", Some(KEY), "m");
    assert_eq!(model.inspect().await.expect_err("a wrong key").kind(), Kind::Credentials);
    assert_eq!(model.inspect().await.expect("an answer").model_listed, Some(false));
    assert_eq!(model.inspect().await.expect("no such operation").model_listed, None);
    assert_eq!(model.inspect().await.expect_err("no capacity").kind(), Kind::Overloaded);
}

#[tokio::test]
async fn the_way_to_the_endpoint_is_walked_without_a_request() {
    let server = Server::start([stream("messages.stream.sse")]).await;
    let checks = server.model("anthropic", Some(KEY), "m").reach().await;
    let ids: Vec<_> = checks.iter().map(|check| (check.id, check.status)).collect();
    assert_eq!(ids, [("policy", CheckStatus::Passed), ("tcp", CheckStatus::Passed)]);
    assert!(server.requests().is_empty());
}

#[test]
fn settings_that_cannot_work_are_named() {
    let options = |url: Option<&str>, key: Option<&str>| Options {
        endpoint_url: url.map(str::to_owned),
        api_key: key.map(SecretString::from),
        ..Options::default()
    };
    for (options, model, setting) in [
        (options(None, None), "m", "BYOC_API_KEY"),
        (options(None, Some("line\nbreak")), "m", "BYOC_API_KEY"),
        (options(None, Some(KEY)), " ", "BYOC_MODEL"),
        (options(Some("nowhere"), Some(KEY)), "m", "BYOC_ENDPOINT_URL"),
    ] {
        let error = connect("anthropic", options, model).err().expect(setting);
        assert_eq!(error.named_setting(), Some(setting), "{error}");
    }
    assert!(
        connect("anthropic", options(Some("http://127.0.0.1:9"), None), "m").is_ok(),
        "a gateway may need no key"
    );
}
