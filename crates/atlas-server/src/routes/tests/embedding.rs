//! The engine behind search and behind `/v1/embeddings`: one, with one memory and one queue.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;

fn texts(input: Value, input_type: &str) -> String {
    json!({"input": input, "input_type": input_type}).to_string()
}

#[tokio::test]
async fn other_tools_and_search_share_one_engine_and_its_memory() {
    let engine = Words::new();
    let server = Server::with_engine(engine.clone()).await;
    let embed = texts(json!("disk is full"), "query");
    assert_eq!(server.call("POST", "/v1/embeddings", &embed).await.status, 200);
    assert_eq!(server.call("POST", "/v1/embeddings", &embed).await.status, 200);
    server.found("disk is full", "incidents").await;
    assert_eq!(engine.n_embedded.load(Ordering::SeqCst), 1);

    let work = server.call("GET", "/api/ai/status", "").await.json()["embedding_work"].clone();
    assert_eq!((&work["cache"]["hits"], &work["cache"]["misses"]), (&json!(2), &json!(1)), "{work}");
    assert_eq!(work["cache"]["entries"], 1);
    assert_eq!(work["engine"], Value::Null, "this engine has no threads of its own");
}

#[tokio::test]
async fn a_server_without_an_engine_has_no_work_to_show() {
    let status = Server::start().await.call("GET", "/api/ai/status", "").await.json();
    assert_eq!(status["embedding_work"], json!({"cache": null, "engine": null}));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_said_with_the_time_to_come_back() {
    let engine = Words::new();
    let server = Server::with_engine(engine.clone()).await;
    engine.busy.store(true, Ordering::SeqCst);
    for input in [json!("a question"), json!(vec!["a list"; 20])] {
        let answer = server.call("POST", "/v1/embeddings", &texts(input, "passage")).await;
        answer.openai_error(429, "rate_limit_exceeded");
        assert_eq!(answer.headers["retry-after"], "5");
    }
    let vectors_only = json!({"query": "disk is full", "legs": ["vector"]}).to_string();
    let answer = server.call("POST", "/api/search", &vectors_only).await;
    answer.problem(503, "search_leg_unavailable");
    assert_eq!(answer.headers["retry-after"], "5");

    // Words find without the engine, and a queue that was full is no engine that fails.
    let answer = server.call("POST", "/api/search", &json!({"query": "disk is full"}).to_string()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["degraded"]), (200, &json!(["vector"])));
    engine.busy.store(false, Ordering::SeqCst);
    let status = server.call("GET", "/api/ai/status", "").await.json();
    assert_eq!(status["embedding"]["state"], "ready", "{status}");
}
