use atlas_testkit::fake_openai::{Answer as Script, FakeOpenAi};
use serde_json::json;

use super::*;

const QUESTION: &str = "why was there no free connection for service checkout in the last 2 hours?";

async fn with_records(server: &Server) {
    for message in ["pool orders: no free connection after 3 s", "request served in 12 ms"] {
        let line = json!({"service": "checkout", "level": "error", "message": message}).to_string();
        let answer =
            server.call_with("POST", "/api/logs", line, &[("content-type", "application/x-ndjson")]).await;
        assert!(answer.status.is_success(), "{}", answer.text);
    }
    server.settle().await;
}

fn question() -> String {
    json!({"question": QUESTION}).to_string()
}

#[tokio::test]
async fn without_a_provider_the_passages_are_the_answer() {
    let server = Server::start().await;
    with_records(&server).await;
    let answer = server.call("POST", "/api/ask", &question()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    assert_eq!(body["answered_by"], "retrieval");
    assert_eq!(body["model"]["state"], "unavailable");
    assert_eq!(body["model"]["code"], "ai_not_configured");
    assert_eq!(body["filter"]["service"], json!(["checkout"]));
    assert_eq!(body["understood"]["time"]["phrase"], "in the last 2 hours");
    let condition = &body["understood"]["conditions"][0];
    assert_eq!((&condition["field"], &condition["phrase"]), (&json!("service"), &json!("checkout")));
    assert!(body["passages"][0]["text"].as_str().expect("text").contains("no free connection"), "{body}");
    assert_eq!(
        (&body["passages"][0]["evidence_id"], &body["passages"][0]["corpus"]),
        (&json!("P1"), &json!("logs"))
    );
}

#[tokio::test]
async fn conditions_can_be_sent_back_edited() {
    let server = Server::start().await;
    with_records(&server).await;
    let body = json!({"question": QUESTION, "filter": {"service": ["payments"]}, "model": false}).to_string();
    let none = server.call("POST", "/api/ask", &body).await.json();
    assert_eq!((&none["matches"], &none["filter"]), (&json!("none"), &json!({"service": ["payments"]})));
    assert!(none["answer"].as_str().expect("text").starts_with("nothing matches"), "{none}");
    assert_eq!(none["widen"][0]["without"], "service", "{none}");
    let body = json!({"question": QUESTION, "filter": {}, "query": "served", "model": false}).to_string();
    let other = server.call("POST", "/api/ask", &body).await.json();
    assert_eq!((&other["query"], &other["filter"]), (&json!("served"), &json!({})));
    assert!(other["passages"][0]["text"].as_str().expect("text").contains("served"), "{other}");
}

#[tokio::test]
async fn a_question_that_cannot_be_asked_names_the_field() {
    let server = Server::start().await;
    let events: &[(&str, &str)] = &[("accept", "text/event-stream")];
    for (body, field) in [
        (json!({"question": "  "}), "question"),
        (json!({"question": "x", "limit": 51}), "limit"),
        (json!({"question": "x", "utc_offset": "Europe/Berlin"}), "utc_offset"),
        (json!({"question": "x", "corpora": ["log_templates"]}), "corpora"),
    ] {
        for headers in [&[], events] {
            let problem = server
                .call_with("POST", "/api/ask", body.to_string(), headers)
                .await
                .problem(422, "invalid_field");
            assert_eq!(problem["field"], field, "{problem}");
            assert!(problem["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{problem}");
        }
    }
    server.call("POST", "/api/ask", r#"{"questoin": "x"}"#).await.problem(422, "invalid_field");
}

#[tokio::test]
async fn a_model_answers_with_quotations_also_as_events() {
    let said = json!({"answered": true, "sentences": [
        {"text": "The pool is empty.", "citations": [{"evidence_id": "P1", "quote": "no free connection after 3 s"}]},
        {"text": "It is DNS.", "citations": [{"evidence_id": "P1", "quote": "a name that was not resolved"}]},
    ]})
    .to_string();
    let fake = FakeOpenAi::start([Script::says(&said), Script::says(&said)]).await.expect("a port");
    let server = ai::with_provider(&fake).await;
    with_records(&server).await;
    let body = server.call("POST", "/api/ask", &question()).await.json();
    assert_eq!(
        (&body["answered_by"], &body["answer"]),
        (&json!("model"), &json!("The pool is empty.")),
        "{body}"
    );
    assert_eq!((&body["dropped_citations"], &body["dropped_sentences"]), (&json!(1), &json!(1)));
    assert_eq!(body["model"]["served_by"]["host"], "127.0.0.1");
    let events =
        server.call_with("POST", "/api/ask", question(), &[("accept", "text/event-stream")]).await.text;
    let names: Vec<&str> = events.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["progress", "progress", "progress", "progress", "answer"], "{events}");
    for stage in ["understood", "found", "asking", "validating"] {
        assert!(events.contains(&format!("\"stage\":\"{stage}\"")), "{stage}: {events}");
    }
}
