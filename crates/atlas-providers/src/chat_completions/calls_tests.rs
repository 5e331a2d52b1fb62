//! Whole calls against a scripted server.

use std::sync::atomic::{AtomicUsize, Ordering};

use atlas_domain::Retry;
use atlas_guard::Guard;
use atlas_http::{EgressPolicy, Origin};
use atlas_llm::{Finish, JsonSchema, Message, Output, Usage};
use atlas_testkit::fake_openai::{Answer, FakeOpenAi};
use futures_util::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::Options;
use crate::fixture_tests::{self as fixtures, Outcome};
use crate::labels_tests::{KEY, options, sockets, sockets_to};

pub(super) fn model(label: &str, options: Options, name: &str) -> Arc<dyn ChatModel> {
    let sockets = sockets(label, &options);
    crate::provider(label, options, sockets).expect("usable").connect(name).expect("a model")
}

pub(super) fn model_at(server: &FakeOpenAi, key: Option<&str>) -> Arc<dyn ChatModel> {
    model("compatible", options(Some(&server.url()), key), "fake-1")
}

pub(super) async fn server(answers: impl IntoIterator<Item = Answer>) -> FakeOpenAi {
    FakeOpenAi::start(answers).await.expect("a port")
}

async fn begin(model: &dyn ChatModel, request: ChatRequest) -> Result<ChatStream, ProviderError> {
    model.stream(Guard::new().clear(request, model.destination()).expect("allowed")).await
}

pub(super) async fn call(model: &dyn ChatModel, request: ChatRequest) -> Outcome {
    match begin(model, request).await {
        Ok(stream) => Outcome::of(stream.collect::<Vec<_>>().await),
        Err(error) => Outcome::of([Err(error)]),
    }
}

pub(super) fn ask() -> ChatRequest {
    ChatRequest {
        messages: vec![Message::system("Be short."), Message::user("Why?")],
        max_output_tokens: Some(64),
        temperature: Some(0.2),
        ..ChatRequest::default()
    }
}

fn shaped() -> ChatRequest {
    let schema = JsonSchema { name: "verdict".into(), schema: json!({ "type": "object" }) };
    ChatRequest { output: Output::Schema(schema), ..ask() }
}

fn says(text: &str) -> Outcome {
    let usage = Some(Usage { input: 12, output: 3, ..Usage::default() });
    Outcome { text: text.into(), finish: Some(Finish::Stop), usage, ..Outcome::default() }
}

fn refuses(parameter: &str) -> Answer {
    let message = format!("Unsupported parameter: '{parameter}' is not supported here.");
    let error =
        json!({ "message": message, "type": "invalid_request_error", "param": parameter, "code": null });
    Answer::json(400, &json!({ "error": error }))
}

#[tokio::test]
async fn a_streamed_answer_arrives_with_its_usage() {
    let server = server([Answer::says("The disk is full, žluťoučký.").in_pieces_of(5)]).await;
    let outcome = call(&*model_at(&server, Some(KEY)), ask()).await;
    assert_eq!(outcome, says("The disk is full, žluťoučký."));
    let requests = server.requests();
    let [seen] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/v1/chat/completions"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert!(seen.header("accept").is_some_and(|accept| accept.contains("text/event-stream")));
    assert_eq!(seen.json()["model"], "fake-1");
}

#[tokio::test]
async fn the_key_goes_into_the_header_the_settings_name() {
    let bearer = format!("Bearer {KEY}");
    for (label, header, expect) in [
        ("compatible", None, ("authorization", bearer.as_str())),
        ("compatible", Some("x-gateway-key"), ("x-gateway-key", KEY)),
        ("azure", None, ("api-key", KEY)),
        ("azure", Some("Authorization"), ("authorization", bearer.as_str())),
    ] {
        let server = server([Answer::says("ok")]).await;
        let auth_header = header.map(str::to_owned);
        let options = Options { auth_header, ..options(Some(&server.url()), Some(KEY)) };
        call(&*model(label, options, "m"), ask()).await;
        let requests = server.requests();
        assert_eq!(requests[0].header(expect.0), Some(expect.1), "{label} {header:?}");
        let carriers = requests[0].headers.iter().filter(|(_, value)| value.contains(KEY)).count();
        assert_eq!(carriers, 1, "{label} {header:?}");
    }
}

#[tokio::test]
async fn without_a_key_no_authorization_is_sent() {
    let server = server([Answer::says("ok")]).await;
    call(&*model_at(&server, Some(" ")), ask()).await;
    assert_eq!(server.requests()[0].header("authorization"), None);
}

#[tokio::test]
async fn the_organization_is_named_to_openai() {
    let server = server([Answer::says("ok")]).await;
    let options = Options { organization: Some("org-1".into()), ..options(Some(&server.url()), Some(KEY)) };
    call(&*model("openai", options, "m"), ask()).await;
    assert_eq!(server.requests()[0].header("openai-organization"), Some("org-1"));
}

#[tokio::test]
async fn azure_names_the_deployment_where_its_url_family_wants_it() {
    for (version, path, name) in [
        (None, "/openai/v1/chat/completions", json!("gpt4o prod")),
        (
            Some("2024-10-21"),
            "/openai/deployments/gpt4o%20prod/chat/completions?api-version=2024-10-21",
            Value::Null,
        ),
    ] {
        let server = server([Answer::says("ok")]).await;
        let endpoint = server.url().replace("/v1", "");
        let azure_api_version = version.map(str::to_owned);
        let options = Options { azure_api_version, ..options(Some(&endpoint), Some(KEY)) };
        call(&*model("azure", options, "gpt4o prod"), ask()).await;
        let seen = &server.requests()[0];
        assert_eq!((seen.path.as_str(), &seen.json()["model"]), (path, &name));
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_carries_nothing() {
    let elsewhere = server([Answer::says("stolen")]).await;
    let location = format!("{}/chat/completions", elsewhere.url());
    let server = server([Answer::json(307, &json!({})).header("location", &location)]).await;
    let options = options(Some(&server.url()), Some(KEY));
    // Even where the policy would let the other origin be called.
    let origins = [server.url(), elsewhere.url()].map(|url| url.parse::<Origin>().expect("an origin"));
    let provider = crate::provider("compatible", options, sockets_to(EgressPolicy::allow(origins)));
    let model = provider.expect("usable").connect("m").expect("a model");
    let outcome = call(&*model, ask()).await;
    assert_eq!(outcome.error, Some((ProviderErrorKind::Protocol, false)));
    assert_eq!(elsewhere.requests().len(), 0);
}

#[tokio::test]
async fn an_error_names_the_request_and_never_the_key() {
    let answer = Answer::error(401, "invalid_api_key", &format!("Incorrect API key provided: {KEY}"));
    let server = server([answer.header("x-request-id", "req_7")]).await;
    let error = begin(&*model_at(&server, Some(KEY)), ask()).await.err().expect("refused");
    assert_eq!((error.kind(), error.request_id()), (ProviderErrorKind::Credentials, Some("req_7")));
    assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
}

#[tokio::test]
async fn a_stream_is_recognised_under_any_content_type() {
    let bytes = fixtures::bytes("compat/no_done.stream.sse");
    let server = server([Answer::bytes(200, "application/json", bytes)]).await;
    let outcome = call(&*model_at(&server, None), ask()).await;
    assert_eq!(outcome, Outcome { usage: None, ..says("Hello") });
}

#[tokio::test]
async fn a_cut_stream_gives_its_text_and_says_so() {
    let bytes = fixtures::bytes("openai/chat.truncated.stream.sse");
    for answer in [Answer::sse(bytes.clone()).cut(), Answer::sse(bytes)] {
        let server = server([answer]).await;
        let outcome = call(&*model_at(&server, None), ask()).await;
        assert_eq!(
            (outcome.text.as_str(), outcome.error),
            ("Partial ans", Some((ProviderErrorKind::CutShort, false)))
        );
    }
}

#[tokio::test]
async fn a_connection_lost_after_the_reason_is_no_loss() {
    let bytes = fixtures::bytes("compat/no_done.stream.sse");
    let server = server([Answer::sse(bytes).cut()]).await;
    let outcome = call(&*model_at(&server, None), ask()).await;
    assert_eq!(outcome, Outcome { usage: None, ..says("Hello") });
}

#[tokio::test]
async fn refused_parameters_are_left_out_and_that_is_remembered() {
    for parameter in ["stream_options", "temperature"] {
        let server = server([refuses(parameter), Answer::says("ok"), Answer::says("ok")]).await;
        let options = options(Some(&server.url()), None);
        let sockets = sockets("compatible", &options);
        let provider = crate::provider("compatible", options, sockets).expect("usable");
        for _ in 0..2 {
            // Connecting anew forgets nothing.
            let model = provider.connect("m").expect("a model");
            assert_eq!(call(&*model, ask()).await.text, "ok");
        }
        let sent: Vec<bool> = server.chats().iter().map(|body| body.get(parameter).is_some()).collect();
        assert_eq!(sent, [true, false, false], "{parameter}");
    }
}

#[tokio::test]
async fn what_one_model_refuses_is_not_kept_from_another() {
    let server = server([refuses("temperature"), Answer::says("ok"), Answer::says("ok")]).await;
    let options = options(Some(&server.url()), None);
    let provider = crate::provider("compatible", options.clone(), sockets("compatible", &options));
    let provider = provider.expect("usable");
    for name in ["reasons", "samples"] {
        call(&*provider.connect(name).expect("a model"), ask()).await;
    }
    assert_eq!(server.chats()[2]["temperature"], json!(0.2));
}

#[tokio::test]
async fn a_server_that_wants_the_newer_token_limit_gets_it() {
    let vector = fixtures::json("openai/error.400.unsupported_parameter.json");
    let server = server([Answer::json(400, &vector["body"]), Answer::says("ok")]).await;
    assert_eq!(call(&*model_at(&server, None), ask()).await.text, "ok");
    let chats = server.chats();
    assert_eq!((&chats[0]["max_tokens"], &chats[1]["max_completion_tokens"]), (&json!(64), &json!(64)));
    assert_eq!(chats[1].get("max_tokens"), None);
}

#[tokio::test]
async fn shapes_fall_back_as_far_as_the_server_needs_and_no_further() {
    let object = json!({ "type": "json_object" });
    let v2 = json!({ "type": "json", "value": { "type": "object" } });
    for (label, expect) in [
        ("compatible", [json!("json_schema"), object["type"].clone(), Value::Null]),
        ("tgi", [json!("json_schema"), v2["type"].clone(), json!("json_object")]),
    ] {
        let refusals = [refuses("response_format"), refuses("response_format")];
        let answers = refusals.into_iter().chain([Answer::says("{}"), Answer::says("{}")]);
        let server = server(answers).await;
        let model = model(label, options(Some(&server.url()), None), "m");
        call(&*model, shaped()).await;
        call(&*model, shaped()).await;
        let kinds: Vec<Value> =
            server.chats().iter().map(|body| body["response_format"]["type"].clone()).collect();
        assert_eq!(kinds[..3], expect, "{label}");
        assert_eq!(kinds[3], expect[2], "{label} remembers");
    }
}

#[tokio::test]
async fn one_schema_the_server_dislikes_is_not_held_against_the_next() {
    let vector = fixtures::json("openai/error.400.invalid_schema.json");
    let server = server([Answer::json(400, &vector["body"]), Answer::says("{}"), Answer::says("{}")]).await;
    let model = model_at(&server, None);
    call(&*model, shaped()).await;
    call(&*model, shaped()).await;
    let kinds: Vec<Value> =
        server.chats().iter().map(|body| body["response_format"]["type"].clone()).collect();
    assert_eq!(kinds, [json!("json_schema"), json!("json_object"), json!("json_schema")]);
}

#[tokio::test]
async fn a_template_without_system_turns_gets_none() {
    let error =
        json!({ "error": "Template error: System role not supported", "error_type": "template_error" });
    let server = server([Answer::json(422, &error), Answer::says("ok")]).await;
    call(&*model("tgi", options(Some(&server.url()), None), "m"), ask()).await;
    assert_eq!(server.chats()[1]["messages"], json!([{ "role": "user", "content": "Be short.\n\nWhy?" }]));
}

#[tokio::test]
async fn a_refusal_of_something_else_is_given_back_at_once() {
    let server = server([refuses("messages"), Answer::says("ok")]).await;
    let outcome = call(&*model_at(&server, None), ask()).await;
    assert_eq!(outcome.error, Some((ProviderErrorKind::BadRequest, false)));
    assert_eq!(server.chats().len(), 1);
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_not_asked_for_ever() {
    let server = server((0..20).map(|_| refuses("response_format max_completion_tokens"))).await;
    let outcome = call(&*model_at(&server, None), shaped()).await;
    assert_eq!(outcome.error, Some((ProviderErrorKind::BadRequest, false)));
    assert!(server.chats().len() <= MOST_ADAPTATIONS);
}

#[tokio::test]
async fn the_wait_a_server_asks_for_is_passed_on() {
    let slow = Answer::error(429, "rate_limit_exceeded", "slow down").header("retry-after-ms", "1500");
    let server = server([slow]).await;
    let error = begin(&*model_at(&server, None), ask()).await.err().expect("refused");
    assert_eq!(error.retry(), Retry::After(std::time::Duration::from_millis(1500)));
}

#[tokio::test]
async fn a_text_cleared_for_another_place_is_not_sent() {
    let server = server([Answer::says("ok")]).await;
    let model = model_at(&server, None);
    let cleared = Guard::new().clear(ask(), &Destination::in_process()).expect("allowed");
    let refused = model.stream(cleared).await.err().expect("refused");
    assert_eq!((refused.code(), server.requests().len()), ("egress_denied", 0));
}

#[tokio::test]
async fn a_connection_is_used_again_after_an_answer() {
    const BODY: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"ok\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/v1", listener.local_addr().expect("bound"));
    let n_connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&n_connections);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut seen = vec![0; 64 * 1024];
                // Requests of this test come in one piece each.
                while socket.read(&mut seen).await.is_ok_and(|n_read| n_read > 0) {
                    let head =
                        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n", BODY.len());
                    let answer = [head.as_bytes(), BODY, b"\r\n0\r\n\r\n"].concat();
                    socket.write_all(&answer).await.expect("a client");
                }
            });
        }
    });
    let model = model("compatible", options(Some(&url), None), "m");
    for _ in 0..5 {
        // As callers do: nobody waits for the end of the stream after the end of the answer.
        let answer = atlas_llm::collect(begin(&*model, ask()).await.expect("accepted")).await;
        assert_eq!(answer.expect("an answer").text, "ok");
    }
    assert!(n_connections.load(Ordering::Relaxed) < 5);
}
