//! The OpenAI shape against fixtures and a server on loopback.

use std::sync::Arc;

use atlas_domain::{CheckStatus, Destination, DestinationClass, ProviderErrorKind as Kind};
use atlas_embed::{EmbedError, Priority, Purpose};
use atlas_guard::Guard;
use atlas_http::Origin;
use atlas_vendor::{Catalog, Scrubber};
use serde_json::{Value, json};

use super::options::{Dialect, Target};
use super::{OpenAiWire, limits, request, wire};
use crate::remote::{ServerLimits, Wire};
use crate::testing::{
    Answer, Fake, Seen, answer_of, check_error, embed, errors, fixture, json as answer, load, options,
    sockets,
};
use crate::{EngineOptions, RemoteOptions, engine, origins};

fn target(dialect: Dialect, remote: &RemoteOptions) -> Target {
    let label = match dialect {
        Dialect::OpenAi => "openai",
        Dialect::Azure => "azure",
        Dialect::Compatible => "compatible",
    };
    let options = EngineOptions { remote: remote.clone(), ..EngineOptions::default() };
    let allowed = origins(label, &options).expect("an origin").calls;
    Target::new(dialect, remote, Some(sockets(allowed))).expect("usable")
}

#[track_caller]
fn check_request(target: &Target, name: &str) {
    let texts = ["first chunk".to_owned(), "second chunk".to_owned()];
    assert_eq!(request::body(target, &texts, (false, false)), fixture(name), "{name}");
}

#[test]
fn requests_are_those_of_the_fixtures() {
    let openai = RemoteOptions {
        openai_api_key: Some("test-key".into()),
        dimensions: Some(4),
        catalog: Arc::new(Catalog::shipped()),
        ..RemoteOptions::default()
    };
    check_request(&target(Dialect::OpenAi, &openai), "openai/embeddings.base64.request.json");
    let gateway = RemoteOptions { endpoint_url: Some("http://127.0.0.1:1".into()), ..openai.clone() };
    check_request(&target(Dialect::OpenAi, &gateway), "openai/embeddings.request.json");

    let azure = RemoteOptions {
        endpoint_url: Some("https://acme-eu.openai.azure.com".into()),
        api_key: Some("test-key".into()),
        model: Some("emb3".into()),
        azure_api_version: Some("2024-10-21".into()),
        ..RemoteOptions::default()
    };
    let classic = target(Dialect::Azure, &azure);
    check_request(&classic, "azure/embeddings.classic.request.json");

    let tei = options("http://127.0.0.1:1", "BAAI/bge-m3").remote;
    check_request(&target(Dialect::Compatible, &tei), "tei/v1_embeddings.request.json");
}

#[test]
fn azure_addresses_are_those_of_the_fixtures() {
    let table = fixture("azure/urls.json");
    let cases = table["cases"].as_array().expect("cases");
    let cases = cases.iter().filter(|case| case["operation"] == "embeddings");
    let mut n_cases = 0;
    for case in cases {
        let azure = RemoteOptions {
            endpoint_url: case["endpoint"].as_str().map(str::to_owned),
            api_key: Some("test-key".into()),
            model: case["deployment"].as_str().map(str::to_owned),
            azure_api_version: case["api_version"].as_str().map(str::to_owned),
            ..RemoteOptions::default()
        };
        let target = target(Dialect::Azure, &azure);
        assert_eq!(target.endpoint.url(&target.operation).as_str(), case["url"], "{case}");
        n_cases += 1;
    }
    assert!(n_cases >= 3);
}

#[test]
fn answers_of_the_fixtures_are_read() {
    for name in [
        "openai/embeddings.response.json",
        "openai/embeddings.base64.response.json",
        "azure/embeddings.response.json",
        "ollama/v1_embeddings.response.json",
        "tei/v1_embeddings.response.json",
        "vllm/embeddings.response.json",
    ] {
        let body = fixture(name).to_string();
        let vectors = wire::read(body.as_bytes(), &Scrubber::default()).expect(name);
        assert_eq!(vectors[0], [0.5, -0.5, 0.5, -0.5], "{name}");
        assert!(vectors.iter().all(|vector| vector.len() == 4), "{name}");
    }
}

#[test]
fn servers_say_their_limits() {
    let tei = limits::tei(&fixture("tei/info.response.json"));
    assert_eq!(tei, Some(ServerLimits { texts: Some(32), input_tokens: Some(8192) }));
    let models = fixture("vllm/models.response.json");
    let vllm = limits::vllm(&models, "Qwen/Qwen3-8B");
    assert_eq!(vllm, Some(ServerLimits { texts: Some(64), input_tokens: Some(40960) }));
    assert_eq!(limits::vllm(&models, "another"), None);
    assert_eq!(limits::tei(&models), None);
}

/// A server with a vector of its own for every text: its bytes counted by two properties.
fn good(seen: &Seen) -> Answer {
    let Some(input) = seen.body["input"].as_array() else { return answer(404, &json!({})) };
    let vector = |text: &Value| {
        let text = text.as_str().expect("text");
        vec![text.len() as f64, 1.0, 2.0, text.bytes().next().map_or(0.0, f64::from)]
    };
    let data: Vec<Value> = input
        .iter()
        .enumerate()
        .rev()
        .map(|(index, text)| json!({ "index": index, "embedding": vector(text) }))
        .collect();
    answer(200, &json!({ "object": "list", "data": data }))
}

#[tokio::test]
async fn an_unknown_dimension_is_measured_and_a_known_one_costs_no_call() {
    let server = Fake::start(good).await;
    let mut options = options(&server.origin, "some-model");
    let embedder = load("compatible", &options).await.expect("loaded");
    assert_eq!(embedder.space().dimension, 4);
    assert_eq!(server.lines(), ["POST /v1/embeddings"]);

    options.remote.dimensions = Some(4);
    let again = load("compatible", &options).await.expect("loaded");
    assert_eq!(server.lines().len(), 1);
    assert_eq!(again.space(), embedder.space());
}

#[tokio::test]
async fn vectors_have_unit_length_and_the_order_of_their_texts() {
    let server = Fake::start(good).await;
    let embedder = load("compatible", &options(&server.origin, "some-model")).await.expect("loaded");
    let texts = ["a", "", "ccc", " \n"];
    let vectors = embed(embedder.as_ref(), &texts, Purpose::Passage, Priority::Bulk).await.expect("embedded");
    let expect = |length: f32, first: u8| {
        let vector = [length, 1.0, 2.0, f32::from(first)];
        let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        vector.map(|value| value / norm)
    };
    let nothing = [1.0, 0.0, 0.0, 0.0];
    assert_eq!(vectors, [expect(1.0, b'a'), nothing, expect(3.0, b'c'), nothing]);
    let sent = server.seen().pop().expect("a request");
    assert_eq!(sent.body["input"], json!(["a", "ccc"]));
    assert!(sent.head.contains("authorization: bearer test-key-0123456789"));
}

#[tokio::test]
async fn tei_is_asked_for_its_limits_once_and_gets_no_more_texts_at_once() {
    let server = Fake::start(|seen| match seen.line.as_str() {
        "GET /info" => answer(200, &fixture("tei/info.response.json")),
        _ => good(seen),
    })
    .await;
    let mut options = options(&server.origin, "BAAI/other");
    options.remote.dimensions = Some(4);
    let embedder = load("compatible", &options).await.expect("loaded");
    assert_eq!(embedder.tokens().max_tokens(), 508);
    let texts = vec!["x"; 70];
    for _ in 0..2 {
        embed(embedder.as_ref(), &texts, Purpose::Passage, Priority::Bulk).await.expect("embedded");
    }
    let sizes = |seen: Vec<Seen>| -> Vec<usize> {
        let mut sizes: Vec<usize> =
            seen.iter().filter_map(|seen| Some(seen.body["input"].as_array()?.len())).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(server.seen()), [6, 6, 32, 32, 32, 32]);
    assert_eq!(server.lines().iter().filter(|line| *line == "GET /info").count(), 1);
    assert_eq!(embedder.tokens().max_tokens(), 8188);
}

#[tokio::test]
async fn a_parameter_that_is_refused_is_left_out_from_then_on() {
    let server = Fake::start(|seen| {
        if seen.body["input"].is_null() {
            return answer(404, &json!({}));
        }
        for name in ["encoding_format", "dimensions"] {
            if !seen.body[name].is_null() {
                return answer(400, &json!({ "error": { "message": format!("unknown field {name}") } }));
            }
        }
        good(seen)
    })
    .await;
    let mut options = options(&server.origin, "some-model");
    options.remote.dimensions = Some(4);
    let embedder = load("compatible", &options).await.expect("loaded");
    for n_requests in [3, 4] {
        embed(embedder.as_ref(), &["a"], Purpose::Passage, Priority::Bulk).await.expect("embedded");
        let lines = server.lines();
        assert_eq!(lines.iter().filter(|line| line.starts_with("POST")).count(), n_requests);
    }
}

#[tokio::test]
async fn another_dimension_than_the_index_has_is_refused_before_anything_is_stored() {
    let server = Fake::start(good).await;
    let mut options = options(&server.origin, "some-model");
    options.remote.dimensions = Some(5);
    let embedder = load("compatible", &options).await.expect("loaded");
    let error =
        embed(embedder.as_ref(), &["a"], Purpose::Query, Priority::Bulk).await.expect_err("4 components");
    assert_eq!(error.named_setting(), Some("EMBEDDING_DIMENSIONS"));
    assert!(error.to_string().contains("have 4 components and 5 are expected"), "{error}");
}

#[tokio::test]
async fn every_error_vector_has_its_kind() {
    for folder in ["openai", "azure", "tei", "vllm", "compat"] {
        for (name, vector) in errors(folder) {
            let scripted = vector.clone();
            let server = Fake::start(move |_| answer_of(&scripted)).await;
            let dialect = if folder == "azure" { Dialect::Azure } else { Dialect::Compatible };
            let target = target(dialect, &options(&server.origin, "some-model").remote);
            let asked = OpenAiWire::new(target).ask(&["a".to_owned()], Purpose::Passage).await;
            let error = asked.expect_err("an error");
            check_error(&format!("{folder}/{name}"), &vector, &error);
            assert_eq!(error.status().map(u64::from), vector["status"].as_u64(), "{folder}/{name}");
        }
    }
}

#[tokio::test]
async fn a_text_that_llama_cpp_cannot_hold_is_too_long_and_no_failure_of_the_server() {
    let words = "input (595 tokens) is too large to process. increase the physical batch size";
    let vector = json!({ "status": 500, "body": { "error": { "code": 500, "message": words, "type": "server_error" } } });
    let server = Fake::start(move |_| answer_of(&vector)).await;
    let target = target(Dialect::Compatible, &options(&server.origin, "some-model").remote);
    let asked = OpenAiWire::new(target).ask(&["a".to_owned()], Purpose::Passage).await;
    assert_eq!(asked.expect_err("an error").kind(), Kind::PromptTooLong);
}

#[tokio::test]
async fn azure_sends_its_own_header_and_explains_a_missing_deployment() {
    let vector = fixture("azure/error.404.deployment.json");
    let server = Fake::start(move |_| answer_of(&vector)).await;
    let mut options = options(&server.origin, "emb3");
    options.remote.dimensions = Some(4);
    let embedder = load("azure", &options).await.expect("loaded");
    let error =
        embed(embedder.as_ref(), &["a"], Purpose::Query, Priority::Interactive).await.expect_err("refused");
    assert!(error.to_string().contains("name of the deployment"), "{error}");
    let sent = server.seen().remove(0);
    assert_eq!(sent.line, "POST /openai/v1/embeddings");
    assert!(sent.head.contains("api-key: test-key-0123456789") && !sent.head.contains("authorization"));
}

#[test]
fn a_key_is_enough_for_openai() {
    let mut options = EngineOptions::default();
    options.remote.catalog = Arc::new(Catalog::shipped());
    let allowed: Vec<Origin> = origins("openai", &options).expect("OpenAI's own").calls;
    let make = |options: &EngineOptions| engine("openai", options, Some(sockets(allowed.clone())));
    let error = make(&options).err().expect("no key");
    assert_eq!(error.named_setting(), Some("OPENAI_API_KEY"));
    options.remote.openai_api_key = Some("test-key".into());
    assert_eq!(make(&options).expect("enough").label(), "openai");
    let target = Target::new(Dialect::OpenAi, &options.remote, Some(sockets(allowed))).expect("enough");
    assert_eq!((target.known.model.as_str(), target.known.dimension), ("text-embedding-3-small", Some(1536)));
    assert_eq!((target.known.texts, target.known.request_tokens), (2048, 300_000));
}

#[tokio::test]
async fn openais_key_goes_to_no_other_label() {
    let server = Fake::start(good).await;
    let mut options = options(&server.origin, "some-model");
    options.remote.openai_api_key = options.remote.api_key.take();
    let embedder = load("compatible", &options).await.expect("loaded");
    embed(embedder.as_ref(), &["a"], Purpose::Query, Priority::Interactive).await.expect("embedded");
    assert!(server.seen().iter().all(|seen| !seen.head.contains("test-key")));
}

#[test]
fn what_is_missing_is_named() {
    for (label, options, setting) in [
        ("compatible", EngineOptions::default(), "EMBEDDING_ENDPOINT_URL"),
        ("azure", EngineOptions::default(), "EMBEDDING_ENDPOINT_URL"),
        ("compatible", options("http://127.0.0.1:1", " "), "EMBEDDING_MODEL"),
        ("azure", options("http://127.0.0.1:1", ""), "EMBEDDING_MODEL"),
        ("openai", options("ftp://127.0.0.1:1", "m"), "EMBEDDING_ENDPOINT_URL"),
    ] {
        let error = engine(label, &options, None).err().expect("something is missing");
        assert_eq!(error.named_setting(), Some(setting), "{label}: {error}");
    }
}

#[tokio::test]
async fn a_text_that_was_cleared_for_elsewhere_is_not_sent() {
    let server = Fake::start(good).await;
    let embedder = load("compatible", &options(&server.origin, "some-model")).await.expect("loaded");
    let n_requests = server.lines().len();
    let elsewhere = Destination::host(DestinationClass::Public, "elsewhere.example");
    let cleared = Guard::new().clear(vec!["a".to_owned()], &elsewhere).expect("allowed");
    let refused = embedder.embed(cleared, Purpose::Query, Priority::Interactive).await;
    assert!(matches!(refused, Err(EmbedError::Provider(error)) if error.kind() == Kind::Egress));
    assert_eq!(server.lines().len(), n_requests);
}

#[tokio::test]
async fn no_key_is_shown_anywhere() {
    let vector = json!({ "status": 401, "body": { "error": { "message": "bad key test-key-0123456789" } } });
    let server = Fake::start(move |_| answer_of(&vector)).await;
    let mut options = options(&server.origin, "some-model");
    options.remote.dimensions = Some(4);
    let embedder = load("compatible", &options).await.expect("loaded");
    let error =
        embed(embedder.as_ref(), &["a"], Purpose::Query, Priority::Interactive).await.expect_err("refused");
    let checks = embedder.check().await;
    let shown = format!("{error} {error:?} {options:?} {checks:?}");
    assert!(!shown.contains("0123456789"), "{shown}");
    assert_eq!(checks[0].code, Some("provider_credentials"));
}

#[tokio::test]
async fn the_check_tells_a_good_server_from_one_that_is_not_there() {
    let server = Fake::start(good).await;
    let embedder = load("compatible", &options(&server.origin, "some-model")).await.expect("loaded");
    let checks = embedder.check().await;
    assert_eq!(
        (checks.len(), checks[0].id, checks[0].status),
        (1, "embeddings", CheckStatus::Passed),
        "{checks:?}"
    );

    // A port that was given back: nothing listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let mut options = options(&format!("http://{address}"), "some-model");
    assert!(
        load("compatible", &options).await.err().expect("unreachable").retry() != atlas_domain::Retry::Never
    );
    options.remote.dimensions = Some(4);
    let checks = load("compatible", &options).await.expect("needs no call").check().await;
    let check = &checks[0];
    assert_eq!((check.id, check.status), ("embeddings", CheckStatus::Failed));
    assert!(check.detail.starts_with("tcp: "), "{}", check.detail);
    assert!(check.hint.as_deref().expect("advice").contains("EMBEDDING_ENDPOINT_URL"));
}
