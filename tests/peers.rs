//! Against real servers written by others. `cargo xtask peers` sets `ATLAS_PEERS` to the folder
//! with the scripts that start them; without it every test here prints SKIPPED.

mod common;

use common::peer::Peer;
use common::{Server, data_dir};
use serde_json::json;

fn settings<'a>(endpoint: &'a str, model: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("BYOC_PROVIDER", "openai"),
        ("BYOC_ENDPOINT_URL", endpoint),
        ("BYOC_API_KEY", "test-key"),
        ("BYOC_MODEL", model),
    ]
}

fn open_demo_incident(server: &Server) -> String {
    let (_, open) = server.json("GET", "/api/incidents?status=open", "");
    open["items"][0]["id"].as_str().expect("the demo has an open incident").to_owned()
}

#[test]
fn the_test_connection_is_exact_against_llama_cpp() {
    let Some(_peer) = Peer::start("llama test connection", "llama_server.sh", &[]) else { return };
    let data = data_dir();
    let server = Server::start(data.path(), &settings("http://127.0.0.1:14020/v1", "tiny"), &[]);
    let (status, answer) = server.json("POST", "/api/ai/test", r#"{"test": true}"#);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["status"], &answer["provider"], &answer["model"]),
        (&json!("ok"), &json!("openai"), &json!("tiny"))
    );
    assert!(answer["latency_ms"].is_u64() && answer["cp_connected"] == json!(false), "{answer}");
}

#[test]
fn a_model_that_writes_nonsense_gets_no_unchecked_claim_through() {
    let Some(_peer) = Peer::start("llama rca", "llama_server.sh", &[]) else { return };
    let data = data_dir();
    let server = Server::start(data.path(), &settings("http://127.0.0.1:14020/v1", "tiny"), &["--demo"]);
    let ask = json!({"incident_id": open_demo_incident(&server)}).to_string();
    let (status, answer) = server.json("POST", "/api/ai/rca", &ask);
    // The peer's model is random, and its grammar is ours: JSON of the right shape with nothing
    // true in it. An answer, or one that says it could not be used, but no claim that nobody checked.
    if status == 200 {
        assert_eq!(answer["verdict"], "inconclusive", "{answer}");
        assert_eq!(answer["hypotheses"], json!([]), "{answer}");
    } else {
        assert_eq!((status, &answer["code"]), (502, &json!("ai_answer_unusable")), "{answer}");
    }
}

#[test]
fn a_peer_that_dies_mid_stream_is_reported_and_everything_else_answers() {
    let Some(peer) = Peer::start("llama killed", "llama_server.sh", &[]) else { return };
    let data = data_dir();
    let server = Server::start(data.path(), &settings("http://127.0.0.1:14020/v1", "tiny"), &["--demo"]);
    let ask = json!({"incident_id": open_demo_incident(&server)}).to_string();
    let bearer = format!("Bearer {}", common::TOKEN);
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
    ];
    let stream = std::thread::scope(|scope| {
        let call = scope.spawn(|| server.request("POST", "/api/ai/rca", &headers, &ask).1);
        peer.stop();
        call.join().expect("the stream ended")
    });
    assert!(stream.contains("event: error") || stream.contains("event: answer"), "{stream}");
    let (status, problem) = server.json("POST", "/api/ai/rca", &ask);
    assert_eq!(
        (status, &problem["title"]),
        (503, &json!("AI provider temporarily unavailable")),
        "{problem}"
    );
    let (status, found) = server.json("POST", "/api/search", r#"{"query":"database connections"}"#);
    assert!(status == 200 && !found["hits"].as_array().expect("hits").is_empty(), "{found}");
    assert_eq!(server.request("GET", "/", &[], "").0, 200);
}

#[test]
fn a_scripted_answer_is_checked_claim_by_claim() {
    let data = data_dir();
    let answer = json!({
        "verdict": "likely",
        "summary": "The connection pool of checkout is exhausted.",
        "hypotheses": [{
            "cause": "The connection pool of checkout is exhausted.",
            "confidence": "high",
            "citations": [{"evidence_id": "Z99", "quote": "nobody offered this"}]
        }],
        "next_steps": []
    });
    let fixtures = data.path().join("fixtures.json");
    let script = json!({"fixtures": [
        {"match": {"userMessage": "cut"}, "response": {"content": "never whole"}, "chunkSize": 2, "truncateAfterChunks": 2},
        {"match": {"responseFormat": "json_schema"}, "response": {"content": answer.to_string()}},
        {"match": {}, "response": {"content": "ok"}}
    ]});
    std::fs::write(&fixtures, script.to_string()).expect("written");
    let fixtures = fixtures.to_str().expect("UTF-8");
    let Some(_peer) = Peer::start("aimock rca", "aimock.sh", &[("AIMOCK_FIXTURES", fixtures)]) else {
        return;
    };

    let store = data.path().join("data");
    let server = Server::start(&store, &settings("http://127.0.0.1:14010/v1", "gpt-4o-mini"), &["--demo"]);
    let (status, tested) = server.json("POST", "/api/ai/test", r#"{"test": true}"#);
    assert_eq!((status, &tested["status"]), (200, &json!("ok")), "{tested}");
    let ask = json!({"incident_id": open_demo_incident(&server)}).to_string();
    let (status, checked) = server.json("POST", "/api/ai/rca", &ask);
    assert_eq!(status, 200, "{checked}");
    assert_eq!(checked["verdict"], "inconclusive", "its only claim cites what was never offered: {checked}");
    assert_eq!(checked["hypotheses"], json!([]));
    assert!(checked["dropped_citations"].as_u64() >= Some(1), "{checked}");
    assert_eq!(checked["served_by"]["provider"], "openai");
}
