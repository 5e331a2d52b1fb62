use std::io::Write;

use axum::http::StatusCode;
use serde_json::json;

use super::*;

#[track_caller]
fn check_refused<T>(read: Result<T, Problem>, field: &str, words: &str) {
    let problem = read.err().expect("refused").to_json("r");
    assert_eq!(problem["field"], field, "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{problem}");
}

#[test]
fn a_log_line_may_use_the_names_its_sender_is_used_to() {
    for line in [
        r#"{"timestamp":"2026-11-23T14:00:00Z","message":"m","level":"warn","service":"s"}"#,
        r#"{"at":1795442400,"msg":"m","severity":"warn","service":"s"}"#,
        r#"{"time":"1795442400000","line":"m","level":"warn","service_name":"s"}"#,
        r#"{"ts":1795442400000000000,"log":"m","lvl":"warn","service":"s"}"#,
    ] {
        let lines = ndjson::read_lines(line).expect("read");
        assert_eq!(lines[0].at.map(|at| at.to_string()).as_deref(), Some("2026-11-23T14:00:00Z"), "{line}");
        assert_eq!((lines[0].message.as_str(), lines[0].level.as_deref()), ("m", Some("warn")), "{line}");
        assert_eq!(lines[0].service.as_deref(), Some("s"), "{line}");
    }
}

#[test]
fn what_a_log_line_says_besides_becomes_attributes() {
    let lines =
        ndjson::read_lines(r#"{"message":"m","pod":"a-1","retries":3,"attributes":{"x":true},"gone":null}"#);
    let lines = lines.expect("read");
    let pairs: Vec<(&str, &str)> =
        lines[0].attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(pairs, [("pod", "a-1"), ("retries", "3"), ("x", "true")]);
}

#[test]
fn a_string_is_a_message_and_a_blank_line_is_nothing() {
    let lines = ndjson::read_lines("\"one\"\n\n  \n{\"message\":\"two\"}\n").expect("read");
    assert_eq!(lines.iter().map(|line| line.message.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert_eq!(ndjson::read_text("a\n\nb").expect("read").len(), 2);
    assert_eq!(ndjson::read_any("[\"a\",\"b\"]").expect("read").len(), 2);
}

#[test]
fn a_wrong_log_line_is_named_by_number_and_field() {
    check_refused(ndjson::read_lines("\"a\"\n\n{\"level\":\"x\"}"), "line 3: message", "is missing");
    check_refused(ndjson::read_lines("{\"message\":\" \"}"), "line 1: message", "is empty");
    check_refused(ndjson::read_lines("{\"msg\":1}"), "line 1: msg", "is not a string");
    check_refused(ndjson::read_lines("{\"message\":\"m\",\"ts\":\"yesterday\"}"), "line 1: ts", "RFC 3339");
    check_refused(ndjson::read_lines("{\"message\":\"m\",\"level\":{}}"), "line 1: level", "is not a string");
    check_refused(ndjson::read_lines("\"a\"\n{\"message\":"), "line 2", "line 2");
    check_refused(ndjson::read_lines("7"), "line 1", "neither an object nor a string");
    check_refused(ndjson::read_array("[\"a\",{}]"), "[1]: message", "is missing");
}

#[test]
fn a_loki_push_keeps_time_labels_and_metadata() {
    let push = json!({"streams": [{
        "stream": {"app": "checkout", "level": "error", "pod": "p"},
        "values": [["1795442400000000001", "first"], ["1795442400000000002", "second", {"trace": "t"}], ["3", " "]]
    }]});
    let lines = loki::read(&push.to_string()).expect("read");
    assert_eq!(lines.len(), 2, "blank lines are dropped");
    assert_eq!(lines[0].at.map(|at| at.as_nanosecond()), Some(1_795_442_400_000_000_001));
    assert_eq!((lines[0].service.as_deref(), lines[0].level.as_deref()), (Some("checkout"), Some("error")));
    assert_eq!(lines[1].attributes.get("trace").map(String::as_str), Some("t"));
    assert_eq!(lines[1].attributes.get("pod").map(String::as_str), Some("p"));
}

#[test]
fn a_wrong_loki_time_is_named_by_its_place() {
    let push = json!({"streams": [{"stream": {}, "values": [["1", "a"], ["soon", "b"]]}]});
    check_refused(loki::read(&push.to_string()), "streams[0].values[1][0]", "nanoseconds");
}

fn export(record: serde_json::Value) -> otlp::Exported {
    let export = json!({"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]},
        "scopeLogs": [{"scope": {"name": "lib"}, "logRecords": [record]}]
    }]});
    otlp::read(&export.to_string()).expect("read")
}

#[test]
fn an_otlp_record_keeps_body_severity_time_and_origin() {
    let exported = export(json!({
        "timeUnixNano": "1795442400000000000", "severityNumber": 17,
        "body": {"stringValue": "boom"}, "traceId": "abc",
        "attributes": [{"key": "n", "value": {"intValue": "7"}}, {"key": "l", "value": {"arrayValue": {"values": [{"boolValue": true}]}}}]
    }));
    let line = &exported.lines[0];
    assert_eq!((line.message.as_str(), line.level.as_deref()), ("boom", Some("error")));
    assert_eq!((line.service.as_deref(), line.source.as_deref()), (Some("cart"), Some("lib")));
    assert_eq!(line.at.map(|at| at.as_second()), Some(1_795_442_400));
    let attribute = |name: &str| line.attributes.get(name).map(String::as_str);
    assert_eq!(
        (attribute("n"), attribute("l"), attribute("trace_id")),
        (Some("7"), Some("[true]"), Some("abc"))
    );
}

#[test]
fn otlp_numbers_may_be_numbers_and_the_observed_time_stands_in() {
    let exported = export(json!({
        "timeUnixNano": 0, "observedTimeUnixNano": 1_795_442_400_000_000_000_u64, "severityText": "WARN",
        "body": {"kvlistValue": {"values": [{"key": "k", "value": {"stringValue": "v"}}]}}
    }));
    assert_eq!(exported.lines[0].at.map(|at| at.as_second()), Some(1_795_442_400));
    assert_eq!(exported.lines[0].message, r#"{"k":"v"}"#);
    assert_eq!(exported.lines[0].level.as_deref(), Some("WARN"));
}

#[test]
fn an_otlp_record_without_a_body_is_counted_and_explained() {
    let exported = export(json!({"timeUnixNano": "1"}));
    assert_eq!((exported.lines.len(), exported.rejected), (0, 1));
    let reason = exported.reason.expect("a reason");
    assert!(
        reason.starts_with("resourceLogs[0].scopeLogs[0].logRecords[0]: the body is missing"),
        "{reason}"
    );
}

#[test]
fn a_webhook_is_read_with_fields_that_others_add() {
    let body = json!({"version": "4", "groupKey": "g", "orgId": 1, "alerts": [{
        "status": "firing", "labels": {"alertname": "A"}, "annotations": {}, "startsAt": "2026-11-23T14:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://x", "fingerprint": "f", "silenceURL": "s"
    }]});
    let alerts = alertmanager::read(&body.to_string()).expect("read");
    assert_eq!((alerts.len(), alerts[0].fingerprint.as_deref()), (1, Some("f")));
}

#[test]
fn a_wrong_webhook_is_named_by_alert_and_field() {
    let alert = |alert: serde_json::Value| json!({"version": "4", "alerts": [alert]}).to_string();
    let begin = "2026-11-23T14:00:00Z";
    let read = alertmanager::read;
    check_refused(read(&json!({"version": "3", "alerts": []}).to_string()), "version", "\"3\"");
    check_refused(read(&json!({"alerts": []}).to_string()), "version", "is missing");
    let unnamed = alert(json!({"status": "firing", "labels": {}, "startsAt": begin}));
    check_refused(read(&unnamed), "alerts[0].labels.alertname", "is missing");
    let odd = alert(json!({"status": "odd", "labels": {}, "startsAt": begin}));
    check_refused(read(&odd), "alerts[0].status", "firing");
    check_refused(
        read(&alert(json!({"status": "firing", "labels": {}, "startsAt": "x"}))),
        "alerts[0].startsAt",
        "",
    );
}

fn packed(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text).expect("packed");
    encoder.finish().expect("packed")
}

#[test]
fn a_compressed_body_is_unpacked_up_to_the_limit() {
    assert_eq!(gzip::unpack(&packed(b"hello"), 5).expect("within").as_ref(), b"hello");
    let bomb = gzip::unpack(&packed(&vec![0; 1 << 20]), 1_000).expect_err("refused");
    assert_eq!(bomb.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(gzip::unpack(b"plain", 100).expect_err("refused").code(), "malformed_gzip");
}
