//! Whole calls against a server on loopback.

use atlas_llm::{ChatEvent, ChatRequest, Inspection, Message, ProviderErrorKind as Kind};
use futures_util::StreamExt;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::Options;
use crate::fixture_tests::{Outcome, bytes, expected, json as fixture};
use crate::loopback_tests::{Answer, Server, call, connect};

const NAME: &str = "llama3.1:8b";

fn ask() -> ChatRequest {
    ChatRequest { messages: vec![Message::user("Why?")], ..ChatRequest::default() }
}

fn lines(file: &str) -> Answer {
    Answer::new(200, "application/x-ndjson", bytes(&format!("ollama/{file}")))
}

fn vector(file: &str) -> Answer {
    let vector = fixture(&format!("ollama/{file}"));
    Answer::json(vector["status"].as_u64().expect("a status") as u16, &vector["body"])
}

#[tokio::test]
async fn a_streamed_answer_arrives_and_the_request_has_its_head() {
    let server = Server::start([lines("api_chat.stream.ndjson")]).await;
    let model = server.model("ollama", None, NAME);
    assert_eq!(Outcome::of(call(&*model, ask()).await), expected("ollama/api_chat.stream.ndjson"));
    let [seen] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(seen.line, "POST /api/chat");
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!((&seen.body["model"], &seen.body["options"]["num_ctx"]), (&json!(NAME), &json!(8192)));
}

#[tokio::test]
async fn the_settings_say_how_much_context_and_which_key() {
    let server = Server::start([lines("api_chat.stream.ndjson")]).await;
    let options = Options {
        endpoint_url: Some(format!("{}/v1", server.url)),
        api_key: Some(SecretString::from("test-key-proxy")),
        context_tokens: Some(16384),
        ..Options::default()
    };
    let model = connect("ollama", options, NAME).expect("usable");
    assert_eq!(model.facts().context_tokens, Some(16384));
    call(&*model, ask()).await;
    let [seen] = &server.requests()[..] else { panic!("one request") };
    assert_eq!(
        (seen.line.as_str(), seen.header("authorization")),
        ("POST /api/chat", Some("Bearer test-key-proxy"))
    );
    assert_eq!(seen.body["options"]["num_ctx"], 16384);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    for (file, kind, advice) in [
        ("error.404.native.json", Kind::NotFound, "`ollama pull llama3.1:8b`"),
        ("error.400.no_tools.json", Kind::BadRequest, "capability tools"),
        ("error.503.busy.json", Kind::Overloaded, ""),
    ] {
        let server = Server::start([vector(file)]).await;
        let events = call(&*server.model("ollama", None, NAME), ask()).await;
        let [Err(error)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(error.kind(), kind);
        assert!(error.detail().contains(advice), "{error}");
    }
}

#[tokio::test]
async fn an_error_in_the_middle_keeps_what_was_said() {
    let server = Server::start([lines("api_chat.error_midstream.ndjson")]).await;
    let outcome = Outcome::of(call(&*server.model("ollama", None, NAME), ask()).await);
    assert_eq!(outcome, expected("ollama/api_chat.error_midstream.ndjson"));
}

#[tokio::test]
async fn a_stream_that_is_dropped_closes_its_connection() {
    let first = json!({ "message": { "content": "Partial" }, "done": false });
    let answer = Answer::new(200, "application/x-ndjson", format!("{first}\n")).then_silence();
    let mut server = Server::start([answer]).await;
    let model = server.model("ollama", None, NAME);
    let cleared = atlas_guard::Guard::new().clear(ask(), model.destination()).expect("allowed");
    let mut stream = model.stream(cleared).await.expect("accepted");
    assert_eq!(stream.next().await, Some(Ok(ChatEvent::Text("Partial".into()))));
    drop(stream);
    server.was_left().await;
}

async fn inspect(answers: impl IntoIterator<Item = Answer>, name: &str) -> (Inspection, Vec<String>) {
    let server = Server::start(answers).await;
    let seen = server.model("ollama", None, name).inspect().await.expect("an answer");
    (seen, server.requests().into_iter().map(|request| request.line).collect())
}

fn ok(file: &str) -> Answer {
    Answer::json(200, &fixture(&format!("ollama/{file}")))
}

#[tokio::test]
async fn a_model_is_inspected_without_loading_it() {
    let (seen, lines) = inspect([ok("api_show.response.json"), ok("api_ps.response.json")], NAME).await;
    assert_eq!((seen.model_listed, seen.tools, seen.context_tokens), (Some(true), Some(true), Some(4096)));
    assert_eq!(lines, ["POST /api/show", "GET /api/ps"]);

    let (seen, lines) = inspect([vector("error.404.native.json")], "llama9").await;
    assert_eq!(seen.model_listed, Some(false));
    assert!(seen.warnings[0].contains("`ollama pull llama9`"), "{:?}", seen.warnings);
    assert_eq!(lines, ["POST /api/show"], "nothing is pulled");
}

#[tokio::test]
async fn without_a_card_the_list_tells() {
    let no_card = || Answer::new(404, "text/plain", "404 page not found");
    let (seen, _) = inspect([no_card(), ok("api_tags.response.json")], NAME).await;
    assert_eq!((seen.model_listed, seen.tools), (Some(true), Some(true)));
    let (seen, _) = inspect([no_card(), ok("api_tags.response.json")], "nomic-embed-text").await;
    assert_eq!((seen.model_listed, seen.tools), (Some(true), Some(false)));
    let (seen, _) = inspect([no_card(), ok("api_tags.response.json")], "llama9").await;
    assert_eq!(seen.model_listed, Some(false));
    let (seen, _) = inspect([no_card(), Answer::json(200, &Value::Null)], NAME).await;
    assert_eq!(seen, Inspection::default());
}

#[tokio::test]
async fn a_proxy_that_refuses_the_key_is_heard() {
    let server = Server::start([Answer::json(401, &json!({ "error": "unauthorized" }))]).await;
    let error = server.model("ollama", Some("test-key-proxy"), NAME).inspect().await.expect_err("refused");
    assert_eq!(error.kind(), Kind::Credentials);
}

#[test]
fn settings_that_cannot_work_are_named() {
    let at = |url: &str| Options { endpoint_url: Some(url.into()), ..Options::default() };
    for (options, model, setting) in [
        (at("ollama:11434"), NAME, "BYOC_ENDPOINT_URL"),
        (at("http://127.0.0.1:9"), "", "BYOC_MODEL"),
        (Options { api_key: Some("line\nbreak".into()), ..at("http://127.0.0.1:9") }, NAME, "BYOC_API_KEY"),
    ] {
        let error = connect("ollama", options, model).err().expect(setting);
        assert_eq!(error.named_setting(), Some(setting), "{error}");
    }
    assert!(connect("ollama", Options::default(), NAME).is_ok(), "it has a usual address");
}
