//! Fixtures as requests and answers, and whole calls against a server on loopback.

use std::sync::Arc;

use atlas_aws::AwsIdentityOptions;
use atlas_domain::{ProviderErrorKind as Kind, Retry};
use atlas_vendor::Catalog;
use serde_json::{Value, json};

use super::options::Family;
use super::*;
use crate::options::EngineOptions;
use crate::testing::{Answer, Fake, json as answer, sockets};

const TITAN_V1: &str = "amazon.titan-embed-text-v1";
const TITAN_V2: &str = "amazon.titan-embed-text-v2:0";
const COHERE_V3: &str = "cohere.embed-english-v3";
const COHERE_V4: &str = "us.cohere.embed-v4:0";

fn fixture(name: &str) -> Value {
    crate::testing::fixture(&format!("bedrock/{name}"))
}

fn options(model: &str, dimensions: Option<usize>) -> RemoteOptions {
    RemoteOptions {
        model: Some(model.to_owned()),
        dimensions,
        aws: AwsIdentityOptions {
            region: Some("us-east-1".to_owned()),
            access_key_id: Some("AKIDTESTKEY00001".to_owned()),
            secret_access_key: Some("test-key-secret".into()),
            ..AwsIdentityOptions::default()
        },
        catalog: Arc::new(Catalog::shipped()),
        ..RemoteOptions::default()
    }
}

fn target(model: &str, dimensions: Option<usize>) -> Target {
    Target::new(&options(model, dimensions)).expect("a target")
}

fn texts() -> Vec<String> {
    ["first chunk", "second chunk"].map(str::to_owned).to_vec()
}

#[test]
fn requests_are_what_the_reference_has() {
    for (model, dimensions, purpose, name) in [
        (TITAN_V1, None, Purpose::Passage, "embed.titan_v1.request.json"),
        (TITAN_V2, Some(256), Purpose::Query, "embed.titan_v2.request.json"),
        (COHERE_V3, None, Purpose::Passage, "embed.cohere_v3.request.json"),
        (COHERE_V4, Some(1024), Purpose::Query, "embed.cohere_v4.request.json"),
    ] {
        let bodies = request::bodies(&target(model, dimensions), &texts(), purpose);
        assert_eq!(bodies[0], fixture(name), "{name}");
        assert_eq!(bodies.len(), if model.contains("titan") { 2 } else { 1 }, "{name}");
    }
}

#[test]
fn answers_are_read_in_the_order_of_the_texts() {
    let (first, second) = (vec![0.5, -0.5, 0.5, -0.5], vec![0.1, 0.2, 0.3, 0.92]);
    for (family, name, expect) in [
        (Family::TitanV1, "embed.titan_v1.response.json", vec![first.clone()]),
        (Family::TitanV2, "embed.titan_v2.response.json", vec![first.clone()]),
        (Family::CohereV3, "embed.cohere_v3.response.json", vec![first.clone(), second.clone()]),
        (Family::CohereV4, "embed.cohere_v4.response.json", vec![first, second]),
    ] {
        assert_eq!(wire::read(family, fixture(name).to_string().as_bytes()), Ok(expect), "{name}");
        let error = wire::read(family, b"{}").expect_err("no vectors");
        assert_eq!(error.kind(), Kind::Protocol);
    }
}

#[test]
fn the_name_of_a_model_shows_its_family_and_limits() {
    for (model, family, dimension) in [
        (TITAN_V1, Family::TitanV1, 1536),
        (TITAN_V2, Family::TitanV2, 1024),
        (COHERE_V3, Family::CohereV3, 1024),
        ("cohere.embed-multilingual-v3", Family::CohereV3, 1024),
        (COHERE_V4, Family::CohereV4, 1536),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.cohere.embed-v4:0",
            Family::CohereV4,
            1536,
        ),
    ] {
        let target = target(model, None);
        assert_eq!((target.family, target.known.dimension), (family, Some(dimension)), "{model}");
    }
    assert_eq!(target(COHERE_V3, None).known.input_chars, Some(2048));
    for model in ["amazon.titan-text-lite-v1", "cohere.command-r", " "] {
        let error = Target::new(&options(model, None)).err().expect("no embedding model");
        assert_eq!(error.named_setting(), Some("EMBEDDING_MODEL"), "{model}");
    }
}

#[test]
fn the_region_of_embedding_goes_first() {
    let mut options = options(TITAN_V2, None);
    let host = |options: &RemoteOptions| options::origins(options).expect("origins").calls[0].to_string();
    assert_eq!(host(&options), "https://bedrock-runtime.us-east-1.amazonaws.com:443");
    options.region = Some("eu-central-1".to_owned());
    assert_eq!(host(&options), "https://bedrock-runtime.eu-central-1.amazonaws.com:443");
    options.endpoint_url = Some("https://h.example/?q=1".to_owned());
    let error = options::origins(&options).expect_err("no base address");
    assert_eq!(error.named_setting(), Some("EMBEDDING_ENDPOINT_URL"));
}

fn wire(model: &str, url: &str) -> BedrockWire {
    let options = RemoteOptions { endpoint_url: Some(url.to_owned()), ..options(model, None) };
    BedrockWire::new(&options, Some(sockets([url.parse().expect("an origin")]))).expect("a wire")
}

#[tokio::test]
async fn titan_is_asked_for_each_text_and_the_order_stays() {
    let server = Fake::start(|seen| {
        let first = if seen.body["inputText"] == "first chunk" { 1.0 } else { 0.5 };
        answer(200, &json!({ "embedding": [first, 0.0], "inputTextTokenCount": 2 }))
    })
    .await;
    let vectors = wire(TITAN_V2, &server.origin).ask(&texts(), Purpose::Passage).await.expect("vectors");
    assert_eq!(vectors, [[1.0, 0.0], [0.5, 0.0]]);
    assert_eq!(server.lines(), ["POST /model/amazon.titan-embed-text-v2%3A0/invoke"; 2]);
}

#[tokio::test]
async fn cohere_is_asked_for_all_texts_at_once() {
    let server = Fake::start(|_| answer(200, &json!({ "embeddings": { "float": [[1.0], [2.0]] } }))).await;
    let vectors = wire(COHERE_V4, &server.origin).ask(&texts(), Purpose::Query).await.expect("vectors");
    assert_eq!(vectors, [[1.0], [2.0]]);
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body["texts"], json!(texts()));
}

#[tokio::test]
async fn refusals_keep_their_meaning() {
    for (status, code, kind, may_retry) in [
        (429, "ThrottlingException", Kind::Throttled, true),
        (403, "AccessDeniedException", Kind::Forbidden, false),
    ] {
        let refused = move || -> Answer {
            let headers = vec![("x-amzn-errortype".to_owned(), code.to_owned())];
            (status, headers, json!({ "message": "no" }).to_string())
        };
        let server = Fake::start(move |_| refused()).await;
        let error = wire(COHERE_V3, &server.origin).ask(&texts(), Purpose::Query).await.expect_err("refused");
        assert_eq!((error.kind(), error.retry() != Retry::Never), (kind, may_retry), "{error}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_away_is_a_failed_check() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let check = wire(TITAN_V2, &url).reach().await.expect("a failed step");
    assert_eq!(check.id, "embeddings");
    assert!(check.hint.is_some_and(|hint| hint.contains("EMBEDDING_ENDPOINT_URL")));
}

#[test]
fn without_sockets_there_is_no_engine() {
    let options = EngineOptions { remote: options(TITAN_V2, None), ..EngineOptions::default() };
    assert!((PLUG.make)(&options, None).is_err());
    assert_eq!((PLUG.origins)(&options).expect("origins").calls.len(), 1);
}
