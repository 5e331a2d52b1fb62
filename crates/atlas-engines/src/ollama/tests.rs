//! Ollama's dialect against fixtures and a server on loopback.

use atlas_embed::{Priority, Purpose};
use atlas_vendor::Scrubber;
use serde_json::json;

use super::options::Target;
use super::{OllamaWire, options as settings, request, wire};
use crate::remote::Wire;
use crate::testing::{
    Fake, answer_of, check_error, embed, errors, fixture, json as answer, load, options, sockets,
};

fn target(endpoint: &str) -> Target {
    let options = options(endpoint, "nomic-embed-text");
    let allowed = settings::origins(&options.remote).expect("an origin").calls;
    Target::new(&options.remote, Some(sockets(allowed))).expect("usable")
}

#[test]
fn the_request_is_that_of_the_fixture() {
    let target = target("http://127.0.0.1:1/v1");
    let texts = ["first chunk".to_owned(), "second chunk".to_owned()];
    assert_eq!(request::body(&target, &texts), fixture("ollama/api_embed.request.json"));
    assert_eq!((target.known.dimension, target.known.texts), (Some(768), 32));
}

#[test]
fn the_address_is_read_however_it_was_pasted() {
    for (text, expect) in [
        ("http://ollama:11434", "http://ollama:11434/api/embed"),
        ("http://ollama:11434/v1/", "http://ollama:11434/api/embed"),
        ("http://ollama:11434/api", "http://ollama:11434/api/embed"),
        ("http://ollama:11434/api/embed", "http://ollama:11434/api/embed"),
        ("http://gateway/ollama", "http://gateway/ollama/api/embed"),
    ] {
        assert_eq!(target(text).endpoint.url("api/embed").as_str(), expect, "{text}");
    }
}

#[test]
fn the_answer_of_the_fixture_is_read() {
    let body = fixture("ollama/api_embed.response.json").to_string();
    let vectors = wire::read(body.as_bytes(), &Scrubber::default()).expect("vectors");
    assert_eq!(vectors, [[0.5, -0.5, 0.5, -0.5], [0.1, 0.2, 0.3, 0.92]]);
}

#[tokio::test]
async fn every_error_vector_has_its_kind() {
    for (name, vector) in errors("ollama") {
        let scripted = vector.clone();
        let server = Fake::start(move |_| answer_of(&scripted)).await;
        let asked =
            OllamaWire { target: target(&server.origin) }.ask(&["a".to_owned()], Purpose::Passage).await;
        check_error(&name, &vector, &asked.expect_err("an error"));
    }
}

#[tokio::test]
async fn a_text_that_is_refused_as_too_long_is_read_by_its_beginning() {
    let server = Fake::start(|seen| {
        let input = seen.body["input"].as_array().expect("texts");
        let too_long = input.iter().any(|text| text.as_str().expect("text").len() > 1_000);
        match too_long {
            true => answer(400, &json!({ "error": "the input length exceeds the context length" })),
            false => answer(200, &json!({ "embeddings": vec![[0.0, 2.0]; input.len()] })),
        }
    })
    .await;
    let mut options = options(&server.origin, "some-model");
    options.remote.dimensions = Some(2);
    let embedder = load("ollama", &options).await.expect("loaded");
    let long = "0f3a".repeat(380);
    let texts = ["short", long.as_str(), "also short"];
    let vectors = embed(embedder.as_ref(), &texts, Purpose::Passage, Priority::Bulk).await.expect("embedded");
    assert_eq!(vectors, [[0.0, 1.0]; 3]);
}
