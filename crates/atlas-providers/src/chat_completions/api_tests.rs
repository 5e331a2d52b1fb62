//! Which API a model is asked by, and what can be known without asking it.

use atlas_domain::CheckStatus;
use atlas_llm::{Finish, Tool};
use atlas_testkit::fake_openai::Answer;
use secrecy::SecretString;
use serde_json::json;

use super::calls_tests::{ask, call, model, model_at, server};
use super::*;
use crate::Options;
use crate::fixture_tests as fixtures;
use crate::labels_tests::{KEY, options, sockets};
use crate::loopback_tests::{Answer as Raw, Server as Loopback};

fn with_tool() -> ChatRequest {
    let parameters = json!({ "type": "object", "properties": {} });
    let (name, description) = ("get_weather".to_owned(), "Weather.".to_owned());
    ChatRequest { tools: vec![Tool { name, description, parameters, strict: false }], ..ask() }
}

fn responses() -> Raw {
    Raw::new(200, "text/event-stream", fixtures::bytes("openai/responses.stream.sse"))
}

fn lines(server: &Loopback) -> Vec<String> {
    server.requests().into_iter().map(|seen| seen.line).collect()
}

#[tokio::test]
async fn a_model_that_answers_tools_through_responses_only_is_asked_there_from_then_on() {
    let vector = fixtures::json("openai/error.400.tools_need_responses.json");
    for (label, prefix) in [("openai", "/v1"), ("azure", "/openai/v1")] {
        let server = Loopback::start([Raw::json(400, &vector["body"]), responses(), responses()]).await;
        let model = model(label, options(Some(&server.url), Some(KEY)), "ours");
        for _ in 0..2 {
            let outcome = call(&*model, with_tool()).await;
            assert_eq!((outcome.text.as_str(), outcome.finish), ("Hello", Some(Finish::Stop)), "{label}");
        }
        let expect = ["chat/completions", "responses", "responses"];
        assert_eq!(lines(&server), expect.map(|operation| format!("POST {prefix}/{operation}")), "{label}");
    }
}

#[tokio::test]
async fn the_settings_decide_about_the_api_where_they_say_so() {
    for (api, operation) in [(ApiChoice::Responses, "responses"), (ApiChoice::Chat, "chat/completions")] {
        let server = Loopback::start([responses()]).await;
        let options = Options { api, ..options(Some(&server.url), Some(KEY)) };
        call(&*model("openai", options, "gpt-6-sol"), ask()).await;
        assert_eq!(lines(&server), [format!("POST /v1/{operation}")]);
    }
}

#[tokio::test]
async fn where_only_chat_is_wanted_the_model_answers_tools_without_reasoning() {
    let vector = fixtures::json("openai/error.400.tools_need_responses.json");
    let server = server([Answer::json(400, &vector["body"]), Answer::says("ok")]).await;
    let options = Options { api: ApiChoice::Chat, ..options(Some(&server.url()), Some(KEY)) };
    call(&*model("openai", options, "m"), with_tool()).await;
    assert_eq!(server.chats()[1]["reasoning_effort"], "none");
}

#[test]
fn openais_own_models_are_asked_by_the_api_that_has_tools_for_them() {
    let catalog = Catalog::shipped();
    for (model, responses) in [
        ("gpt-4o-mini", false),
        ("gpt-5.2", false),
        ("gpt-5.4-mini", true),
        ("gpt-6.1-sol", true),
        ("gpt-6-luna", true),
        ("gpt-9-nova", true),
    ] {
        let tools = catalog
            .find(atlas_vendor::ModelFamily::Openai, model)
            .and_then(|entry| entry.tools_on_chat_completions);
        let quirks = |dialect| Quirks::new(dialect, ApiChoice::Auto, model, &ModelFacts::default(), tools);
        assert_eq!(quirks(&OPENAI).responses, responses, "{model}");
        assert!(!quirks(&GATEWAY).responses, "{model}");
    }
}

#[tokio::test]
async fn the_managed_ai_chooses_its_model_and_gets_the_control_planes_token_only() {
    let server = server([Answer::says("ok")]).await;
    let endpoint = server.url().parse().expect("a URL");
    let options = Options { auth_header: Some("x-key".into()), ..options(None, Some("test-customer-key")) };
    let sockets = sockets("compatible", &crate::labels_tests::options(Some(&server.url()), None));
    let token = Some(SecretString::from(KEY));
    let provider = crate::control_plane(endpoint, token, options, sockets).expect("usable");
    let model = provider.connect("").expect("the default");
    assert_eq!((model.provider(), call(&*model, ask()).await.text.as_str()), ("control_plane", "ok"));
    let seen = &server.requests()[0];
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(seen.json()["model"], "default");
    assert!(seen.headers.iter().all(|(_, value)| !value.contains("test-customer-key")));
}

#[tokio::test]
async fn an_inspection_is_the_list_of_models_and_generates_nothing() {
    let server = server([]).await;
    let seen = model_at(&server, Some(KEY)).inspect().await.expect("an answer");
    assert_eq!((seen.model_listed, seen.credentials_checked), (Some(true), false));
    let paths: Vec<String> = server.requests().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/v1/models"]);
}

#[tokio::test]
async fn an_inspection_does_without_a_list() {
    for status in [403, 404, 405, 500] {
        let server = server([]).await;
        server.models(Answer::error(status, "no_list", "no list here"));
        let seen =
            model_at(&server, None).inspect().await.unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!(seen.model_listed, None, "{status}");
    }
}

#[tokio::test]
async fn an_inspection_says_what_is_wrong() {
    let echo = format!("Incorrect API key provided: {KEY}");
    let wrong_key = server([]).await;
    wrong_key.models(Answer::error(401, "invalid_api_key", &echo));
    let error = model_at(&wrong_key, Some(KEY)).inspect().await.expect_err("refused");
    assert_eq!(error.code(), "provider_credentials");
    assert!(!format!("{error:?} {error}").contains(KEY), "{error:?}");

    let firewall = server([]).await;
    let vector = fixtures::json("azure/error.403.firewall.json");
    firewall.models(Answer::json(403, &vector["body"]));
    let azure = model("azure", options(Some(&firewall.url()), Some(KEY)), "m");
    assert_eq!(azure.inspect().await.expect_err("refused").code(), "provider_forbidden");

    let address = server([]).await.url();
    let gone = model("vllm", options(Some(&address), Some(KEY)), "m");
    assert_eq!(gone.inspect().await.expect_err("closed").code(), "provider_unreachable");
}

#[tokio::test]
async fn tgis_context_is_found_beside_its_api() {
    let info = Raw::json(200, &json!({ "max_total_tokens": 8192 }));
    let server = Loopback::start([Raw::json(200, &json!({})), info]).await;
    let seen = model("tgi", options(Some(&server.url), None), "").inspect().await.expect("an answer");
    assert_eq!(seen.context_tokens, Some(8192));
    assert_eq!(lines(&server), ["GET /v1/models", "GET /info"]);
}

#[tokio::test]
async fn the_way_to_a_server_is_walked_without_a_request() {
    let server = server([]).await;
    let checks = model_at(&server, None).reach().await;
    assert!(checks.iter().all(|check| check.status == CheckStatus::Passed), "{checks:?}");
    assert_eq!(checks.first().map(|check| check.id), Some("policy"));
    assert_eq!(server.requests().len(), 0);
}
