use std::io::Write;

use serde_json::json;

use super::*;

fn webhook(status: &str) -> String {
    json!({"version": "4", "status": status, "receiver": "atlas", "alerts": [{
        "status": status, "startsAt": "2026-11-23T14:07:00Z", "endsAt": "2026-11-23T15:00:00Z",
        "labels": {"alertname": "CheckoutLatencyHigh", "service": "checkout", "severity": "critical"},
        "annotations": {"summary": "p99 of checkout above 3 s"}
    }]})
    .to_string()
}

#[tokio::test]
async fn a_webhook_delivered_again_is_the_same_alert() {
    let server = Server::start().await;
    assert_eq!(server.call("POST", "/api/alerts/webhook", &webhook("firing")).await.json()["created"], 1);
    assert_eq!(server.call("POST", "/api/alerts/webhook", &webhook("firing")).await.json()["unchanged"], 1);
    assert_eq!(server.call("POST", "/api/alerts/webhook", &webhook("resolved")).await.json()["updated"], 1);
    let items = server.call("GET", "/api/alerts", "").await.json()["items"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(1), "{items}");
    assert_eq!((&items[0]["status"], &items[0]["deliveries"]), (&json!("resolved"), &json!(3)));

    let group = items[0]["group_id"].as_str().expect("a group").to_owned();
    let groups = server.call("GET", "/api/alert-groups", "").await.json();
    assert_eq!(groups["items"][0]["id"], json!(group));
    assert_eq!(server.call("GET", &format!("/api/alert-groups/{group}"), "").await.json()["firing"], false);

    let id = items[0]["id"].as_str().expect("an id");
    server.settle().await;
    let similar = server.call("GET", &format!("/api/alerts/{id}/similar"), "").await.json();
    for field in ["hits", "incidents", "runbooks", "degraded"] {
        assert!(similar[field].is_array(), "{field}: {similar}");
    }
}

#[tokio::test]
async fn one_alert_is_posted_corrected_and_removed() {
    let server = Server::start().await;
    let draft = json!({"labels": {"alertname": "DiskFull"}, "starts_at": "2026-11-23T14:00:00.123456789Z"})
        .to_string();
    let made = server.call("POST", "/api/alerts", &draft).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(server.call("POST", "/api/alerts", &draft).await.status, 200, "the same alert");
    let path = made.headers["location"].to_str().expect("ASCII").to_owned();
    let mut alert = made.json();
    alert["severity"] = json!("Critical");
    let replaced = server.call("PUT", &path, &alert.to_string()).await;
    assert_eq!(
        (replaced.status.as_u16(), &replaced.json()["severity"]),
        (200, &json!("critical")),
        "{}",
        replaced.text
    );
    alert["colour"] = json!("red");
    server.call("PUT", &path, &alert.to_string()).await.problem(422, "invalid_field");
    assert_eq!(server.call("DELETE", &path, "").await.status, 204);
    server.call("GET", &path, "").await.problem(404, "not_found");
}

#[tokio::test]
async fn logs_arrive_by_every_way_and_are_found() {
    let server = Server::start().await;
    let ndjson = "{\"message\":\"alpha broke\",\"level\":\"error\"}\n\"beta broke\"\n";
    let kind = [("content-type", "application/x-ndjson")];
    let answer = server.call_with("POST", "/api/logs?service=shop", ndjson, &kind).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["accepted"]), (200, &json!(2)), "{}", answer.text);
    assert_eq!(server.call("POST", "/api/logs", r#"[{"msg":"gamma broke"}]"#).await.status, 200);

    let loki =
        json!({"streams": [{"stream": {"app": "web"}, "values": [["1795442400000000000", "delta broke"]]}]});
    let answer = server.call("POST", "/loki/api/v1/push", &loki.to_string()).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));

    let otlp =
        |records: Value| json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]}).to_string();
    let good = json!({"timeUnixNano": "1795442400000000000", "body": {"stringValue": "epsilon broke"}});
    let answer = server.call("POST", "/v1/logs", &otlp(json!([good]))).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({})));
    let partial = server.call("POST", "/v1/logs", &otlp(json!([good, {}]))).await.json();
    assert_eq!(partial["partialSuccess"]["rejectedLogRecords"], "1");

    let list = server.call("GET", "/api/logs", "").await.json();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(5), "{list}");
    let shop = server.call("GET", "/api/logs?service=shop&severity=error", "").await.json();
    assert_eq!(shop["items"].as_array().map(Vec::len), Some(1), "{shop}");
    server.settle().await;
    for word in ["alpha", "beta", "gamma", "delta", "epsilon"] {
        assert_eq!(server.found(word, "logs").await.len(), 1, "{word}");
    }
    let path = format!("/api/logs/{}", shop["items"][0]["id"].as_str().expect("an id"));
    assert_eq!(server.call("GET", &path, "").await.json()["message"], "alpha broke");
    assert_eq!(server.call("DELETE", &path, "").await.status, 204);
    server.call("DELETE", &path, "").await.problem(404, "not_found");
}

#[tokio::test]
async fn lines_are_listed_by_template_and_what_changed_is_named() {
    let server = Server::start().await;
    let mut lines = Vec::new();
    for minute in 0..60 {
        let mut say = |message: String| {
            lines.push(json!({"at": format!("2026-05-01T10:{minute:02}:00Z"), "message": message}))
        };
        say(format!("request {minute} took {minute} ms"));
        if minute < 20 {
            say(format!("cache refreshed in {minute} ms"));
        }
        if minute >= 40 {
            say(format!("cannot reach 10.0.0.{minute}"));
        }
    }
    let answer = server.call("POST", "/api/logs", &Value::Array(lines).to_string()).await;
    assert_eq!(answer.json()["templates_new"], 3, "{}", answer.text);

    let templates = server.call("GET", "/api/logs/templates", "").await.json();
    let of = |shape: &str| {
        let items = templates["items"].as_array().expect("a list");
        let found = items.iter().find(|item| item["shape"] == shape).unwrap_or_else(|| panic!("{templates}"));
        found["id"].as_str().expect("an id").to_owned()
    };
    let id = of("cannot reach <ip>");
    assert_eq!(server.call("GET", &format!("/api/logs/templates/{id}"), "").await.json()["count"], 20);
    let path = format!("/api/logs?template={id}&until=2026-05-01T10:45:00Z&limit=3");
    let page = server.call("GET", &path, "").await.json();
    let messages: Vec<&str> = page["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|item| item["message"].as_str())
        .collect();
    assert_eq!(messages, ["cannot reach 10.0.0.44", "cannot reach 10.0.0.43", "cannot reach 10.0.0.42"]);

    let path = "/api/logs/surges?since=2026-05-01T10:30:00Z&until=2026-05-01T11:00:00Z";
    let report = server.call("GET", path, "").await.json();
    let surges = report["surges"].as_array().expect("a list");
    let kinds: Vec<_> = surges.iter().map(|surge| (&surge["template"]["shape"], &surge["kind"])).collect();
    assert_eq!(
        kinds,
        [
            (&json!("cannot reach <ip>"), &json!("new")),
            (&json!("cache refreshed in <num> ms"), &json!("vanished"))
        ]
    );
    server
        .call("GET", "/api/logs/surges?since=2026-05-01T10:30:00Z&until=2026-05-01T10:30:00Z", "")
        .await
        .problem(422, "invalid_field");
    server.call("GET", "/api/logs/surges?window=1h", "").await.problem(400, "unknown_parameter");
}

#[tokio::test]
async fn one_bad_line_keeps_the_whole_batch_out() {
    let server = Server::start().await;
    let kind = [("content-type", "application/x-ndjson")];
    let mut body = "{\"message\":\"fine\"}\n".repeat(16);
    body.push_str("{\"level\":\"error\"}\n");
    let problem = server.call_with("POST", "/api/logs", body, &kind).await.problem(422, "invalid_field");
    assert!(problem["detail"].as_str().expect("text").contains("line 17: message is missing"), "{problem}");
    assert_eq!(server.call("GET", "/api/logs", "").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_compressed_batch_is_read() {
    let server = Server::start().await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"[\"packed line\"]").expect("packed");
    let body = encoder.finish().expect("packed");
    let answer = server.call_with("POST", "/api/logs", body, &[("content-encoding", "gzip")]).await;
    assert_eq!(answer.json()["accepted"], 1, "{}", answer.text);
}
