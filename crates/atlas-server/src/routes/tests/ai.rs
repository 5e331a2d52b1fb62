use atlas_testkit::fake_openai::{Answer as Script, FakeOpenAi};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const UNAVAILABLE: &str = "AI provider temporarily unavailable";

async fn incident(server: &Server) -> String {
    let answer = server.call("POST", "/api/incidents", r#"{"id":"i1","title":"Pool exhausted"}"#).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    json!({"incident_id": "i1"}).to_string()
}

#[tokio::test]
async fn without_a_provider_ai_is_503_and_the_rest_answers() {
    let server = Server::start().await;
    let ask = incident(&server).await;
    for (path, body) in [("/api/ai/test", r#"{"test":true}"#), ("/api/ai/rca", ask.as_str())] {
        let answer = server.call("POST", path, body).await;
        let problem = answer.problem(503, "ai_not_configured");
        assert_eq!(problem["title"], UNAVAILABLE);
        assert!(problem["hint"].as_str().expect("a hint").contains("BYOC_PROVIDER"));
        assert!(answer.headers["retry-after"].to_str().is_ok_and(|seconds| seconds.parse::<u64>().is_ok()));
    }
    let status = server.call("GET", "/api/ai/status", "").await.json();
    assert_eq!((&status["state"], &status["cp_connected"]), (&json!("not_configured"), &json!(false)));
    assert_eq!(status["embedding"]["state"], "keywords_only");
    assert_eq!(server.call("GET", "/api/incidents/i1", "").await.status, 200);
}

#[tokio::test]
async fn without_a_provider_the_rules_analysis_comes_with_the_problem() {
    let server = Server::start().await;
    let alert = r#"{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"DbDown","service":"db"},
        "annotations":{"summary":"db refuses connections"},"startsAt":"2026-05-01T10:00:00Z"}]}"#;
    let taken = server.call("POST", "/api/alerts/webhook", alert).await;
    let create = r#"{"id":"i1","title":"Checkout fails","started_at":"2026-05-01T10:02:00Z"}"#;
    assert_eq!(server.call("POST", "/api/incidents", create).await.status, 201, "{}", taken.text);
    let ask = json!({"incident_id": "i1"}).to_string();
    for headers in [&[][..], &[("accept", "text/event-stream")]] {
        let answer = server.call_with("POST", "/api/ai/rca", ask.clone(), headers).await;
        let problem = answer.problem(503, "ai_not_configured");
        let analysis = &problem["analysis"];
        assert_eq!(
            (&problem["title"], &analysis["analysed_by"], &analysis["analysed_because"]),
            (&json!(UNAVAILABLE), &json!("rules"), &json!("no AI provider is configured")),
        );
        assert_ne!(analysis["verdict"], "confirmed");
        assert_eq!(analysis["blast_radius"], json!(["db"]), "{analysis}");
    }
}

#[tokio::test]
async fn a_provider_without_what_it_needs_is_off_with_the_setting_to_correct() {
    let server = Server::with(&[("BYOC_PROVIDER", "bedrock"), ("BYOC_MODEL", "m")]).await;
    let problem =
        server.call("POST", "/api/ai/test", r#"{"test":true}"#).await.problem(503, "provider_settings");
    assert!(problem["detail"].as_str().expect("text").contains("BYOC_AWS_ACCESS_KEY_ID"), "{problem}");
    assert_eq!(server.call("GET", "/api/ai/status", "").await.json()["state"], "misconfigured");
    assert_eq!(server.call("GET", "/readyz", "").await.status, 200);
}

#[tokio::test]
async fn the_managed_ai_and_own_providers_are_refused_where_they_are_not_allowed() {
    for (settings, setting) in [
        (
            &[("CP_ENDPOINT_URL", "https://cp.example.com/v1"), ("TP_DEPLOYMENT", "on_prem")][..],
            "TP_DEPLOYMENT",
        ),
        (
            &[("CP_ENDPOINT_URL", "https://cp.example.com/v1"), ("TP_DEPLOYMENT", "air_gapped")],
            "TP_DEPLOYMENT",
        ),
        (&[("BYOC_PROVIDER", "ollama"), ("BYOC_MODEL", "m"), ("ATLASAI_PLAN", "starter")], "ATLASAI_PLAN"),
    ] {
        let server = Server::with(settings).await;
        let problem =
            server.call("POST", "/api/ai/test", r#"{"test":true}"#).await.problem(503, "provider_settings");
        assert!(problem["detail"].as_str().expect("text").contains(setting), "{problem}");
    }
}

#[tokio::test]
async fn the_connection_test_takes_no_target() {
    let server = Server::start().await;
    for body in [r#"{}"#, r#"{"test":false}"#, r#"{"test":true,"endpoint":"http://x"}"#, r#"{"test":"yes"}"#]
    {
        server.call("POST", "/api/ai/test", body).await.problem(422, "invalid_field");
    }
    let headers = [("x-tenant-id", "not-there")];
    server
        .call_with("POST", "/api/ai/test", r#"{"test":true}"#, &headers)
        .await
        .problem(503, "ai_not_configured");
    let headers = [("x-tenant-id", "../x")];
    server
        .call_with("POST", "/api/ai/test", r#"{"test":true}"#, &headers)
        .await
        .problem(400, "invalid_tenant");
}

#[tokio::test]
async fn an_analysis_of_nothing_is_404_also_as_a_stream() {
    let server = Server::start().await;
    let ask = r#"{"incident_id":"none"}"#;
    server.call("POST", "/api/ai/rca", ask).await.problem(404, "not_found");
    let events = [("accept", "text/event-stream")];
    server.call_with("POST", "/api/ai/rca", ask, &events).await.problem(404, "not_found");
}

pub(super) async fn with_provider(fake: &FakeOpenAi) -> Server {
    let url = fake.url();
    Server::with(&[
        ("BYOC_PROVIDER", "openai"),
        ("BYOC_ENDPOINT_URL", &url),
        ("BYOC_API_KEY", "test-key"),
        ("BYOC_MODEL", "fake-1"),
    ])
    .await
}

/// The beginning of an answer that never ends.
fn broken_off() -> Script {
    let chunk = json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "{\"verdict\""}}]});
    Script::sse(format!("data: {chunk}\n\n"))
}

#[tokio::test]
async fn a_connection_that_works_is_answered_with_the_five_fields_and_what_was_checked() {
    let fake = FakeOpenAi::start([Script::says("ok")]).await.expect("a port");
    let server = with_provider(&fake).await;
    let answer = server.call("POST", "/api/ai/test", r#"{"test":true}"#).await;
    let body = answer.json();
    assert_eq!(answer.status, 200, "{body}");
    let fields: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["checks", "cp_connected", "latency_ms", "model", "profile", "provider", "status"]);
    assert_eq!(
        (&body["status"], &body["provider"], &body["model"]),
        (&json!("ok"), &json!("openai"), &json!("fake-1"))
    );
    assert!(body["latency_ms"].is_u64() && body["cp_connected"] == json!(false), "{body}");
    let status = server.call("GET", "/api/ai/status", "").await.json();
    assert_eq!((&status["state"], &status["host"]), (&json!("ready"), &json!("127.0.0.1")));
}

#[tokio::test]
async fn an_analysis_is_streamed_as_progress_and_one_answer() {
    let analysis =
        json!({"verdict": "likely", "summary": "s", "hypotheses": [], "next_steps": []}).to_string();
    let fake = FakeOpenAi::start([Script::says(&analysis), Script::says(&analysis)]).await.expect("a port");
    let server = with_provider(&fake).await;
    let ask = incident(&server).await;
    let stream =
        server.call_with("POST", "/api/ai/rca", ask.clone(), &[("accept", "text/event-stream")]).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert!(stream.text.starts_with("event: progress\n"), "{}", stream.text);
    assert_eq!(stream.text.matches("event: answer\n").count(), 1, "{}", stream.text);
    assert!(!stream.text.contains("event: error"), "{}", stream.text);
    let answer = server.call("POST", "/api/ai/rca", &ask).await.json();
    assert_eq!(
        (&answer["incident_id"], &answer["served_by"]["model"]),
        (&json!("i1"), &json!("fake-1")),
        "{answer}"
    );
}

#[tokio::test]
async fn a_provider_cut_in_the_middle_is_reported_and_the_rest_answers() {
    let fake = FakeOpenAi::start([broken_off().cut(), broken_off().cut()]).await.expect("a port");
    let server = with_provider(&fake).await;
    let ask = incident(&server).await;
    let stream =
        server.call_with("POST", "/api/ai/rca", ask.clone(), &[("accept", "text/event-stream")]).await;
    let (_, error) = stream.text.split_once("event: error\ndata: ").expect("an error event");
    let problem: Value = serde_json::from_str(error.trim()).expect("JSON");
    assert_eq!(
        (&problem["title"], &problem["code"]),
        (&json!(UNAVAILABLE), &json!("ai_unavailable")),
        "{problem}"
    );
    assert_eq!(problem["request_id"], stream.headers["x-request-id"].to_str().expect("ASCII"));
    let answer = server.call("POST", "/api/ai/rca", &ask).await;
    assert_eq!(answer.problem(503, "ai_unavailable")["title"], UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(server.call("GET", "/api/incidents", "").await.status, 200);
}

#[tokio::test]
async fn a_refused_key_is_503_with_the_setting_to_check() {
    let refused = || Script::error(401, "invalid_api_key", "Incorrect API key provided: test-key");
    let fake = FakeOpenAi::start([refused(), refused()]).await.expect("a port");
    fake.models(refused());
    let server = with_provider(&fake).await;
    let problem =
        server.call("POST", "/api/ai/test", r#"{"test":true}"#).await.problem(503, "provider_credentials");
    assert!(problem["hint"].as_str().expect("a hint").contains("BYOC_API_KEY"), "{problem}");
    assert!(!problem.to_string().contains("test-key"), "{problem}");
}

#[tokio::test]
async fn an_open_stream_ends_when_the_server_is_asked_to_stop() {
    let fake = FakeOpenAi::start([broken_off().then_silence()]).await.expect("a port");
    let server = with_provider(&fake).await;
    let ask = incident(&server).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let app = server.app.clone();
    let serving = tokio::spawn(crate::server::serve(listener, app, async move { drop(stopped.await) }));

    let mut client = tokio::net::TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "POST /api/ai/rca HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\naccept: text/event-stream\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{ask}",
        ask.len()
    );
    client.write_all(request.as_bytes()).await.expect("sent");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("\"asking\"") {
        assert_ne!(client.read_buf(&mut seen).await.expect("read"), 0, "{}", String::from_utf8_lossy(&seen));
    }
    stop.send(()).expect("the server listens");
    client.read_to_end(&mut seen).await.expect("the connection is closed in order");
    assert!(
        String::from_utf8_lossy(&seen).contains("\"code\":\"stopping\""),
        "{}",
        String::from_utf8_lossy(&seen)
    );
    serving.await.expect("no panic").expect("ended");
    server.app.shutdown().await;
}
