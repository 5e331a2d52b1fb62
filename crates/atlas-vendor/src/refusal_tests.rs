use std::time::Duration;

use atlas_http::{HeaderName, HeaderValue, TlsReason};
use secrecy::SecretString;
use serde_json::json;

use super::*;

const CANARY: &str = "test-canary-0123456789";

fn refusal(status: u16, headers: &[(&'static str, &str)], body: &str) -> Refusal {
    let headers = headers.iter().map(|(name, value)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"))
    });
    let key = SecretString::from(CANARY);
    Refusal::of(status, &headers.collect(), body.as_bytes(), &Scrubber::new([&key]))
}

#[track_caller]
fn check(status: u16, body: Value, expect: Kind) {
    assert_eq!(refusal(status, &[], &body.to_string()).error.kind(), expect, "{status} {body}");
}

#[test]
fn a_status_has_its_meaning_without_a_body() {
    for (status, kind) in [
        (401, Kind::Credentials),
        (402, Kind::Quota),
        (403, Kind::Forbidden),
        (404, Kind::NotFound),
        (408, Kind::Timeout),
        (409, Kind::Conflict),
        (413, Kind::BadRequest),
        (418, Kind::BadRequest),
        (429, Kind::Throttled),
        (302, Kind::Protocol),
        (500, Kind::Server),
        (503, Kind::Overloaded),
        (504, Kind::Timeout),
        (529, Kind::Overloaded),
    ] {
        let error = refusal(status, &[], "").error;
        assert_eq!((error.kind(), error.status()), (kind, Some(status)));
        assert!(error.to_string().ends_with(&format!("status {status}")), "{error}");
    }
}

#[test]
fn every_servers_words_for_a_long_prompt_are_known() {
    for message in [
        "This model's maximum context length is 8192 tokens.",
        "`inputs` tokens + `max_new_tokens` must be <= 8192. Given: 9000",
        "the input exceeds the context length",
        "request (9000 tokens) exceeds the available context size (8192 tokens)",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Input is too long for requested model.",
        "input (595 tokens) is too large to process. increase the physical batch size",
    ] {
        for status in [400, 413, 422, 500] {
            check(status, json!({ "error": { "message": message } }), Kind::PromptTooLong);
        }
    }
}

#[test]
fn a_filtered_prompt_is_no_bad_request() {
    check(400, json!({ "error": { "code": "content_filter", "message": "filtered" } }), Kind::ContentFilter);
}

#[test]
fn a_full_queue_is_no_rate_limit() {
    check(429, json!({ "message": "Model is overloaded", "type": "Overloaded" }), Kind::Overloaded);
    check(429, json!({ "error": "Model is overloaded", "error_type": "overloaded" }), Kind::Overloaded);
}

#[test]
fn an_error_in_a_stream_has_the_status_it_names() {
    for (body, expect) in [
        (json!({ "error": { "code": 502, "message": "x" } }), Kind::Server),
        (json!({ "error": { "code": "429", "message": "x" } }), Kind::Throttled),
        (json!({ "error": { "type": "overloaded_error", "message": "x" } }), Kind::Overloaded),
        (
            json!({ "error": { "message": "Request failed during generation", "http_status_code": 422 } }),
            Kind::Server,
        ),
        (json!({ "error": { "message": "x", "http_status_code": 429 } }), Kind::Throttled),
        (json!({ "error": "x", "error_type": "generation" }), Kind::Server),
        (json!({ "error": "the input length exceeds the context length" }), Kind::PromptTooLong),
        (json!({ "error": "x" }), Kind::Server),
    ] {
        assert_eq!(Refusal::inline(&body, &Scrubber::default()).kind(), expect, "{body}");
    }
}

#[test]
fn the_provider_decides_about_repeating_except_where_waiting_cannot_mend() {
    let told = |status, value| refusal(status, &[("x-should-retry", value)], "").error.retry();
    assert_eq!((told(400, "true"), told(500, "false")), (Retry::Now, Retry::Never));
    assert_eq!(told(402, "true"), Retry::Never);
    let waiting = |status| refusal(status, &[("retry-after", "6")], "").error.retry();
    assert_eq!((waiting(429), waiting(400)), (Retry::After(Duration::from_secs(6)), Retry::Never));
}

#[test]
fn details_hold_no_credentials() {
    for words in [
        format!("Incorrect API key provided: {CANARY}."),
        "Incorrect API key provided: sk-pr*******canary.".to_owned(),
        "bad header Authorization: Bearer canary-abc".to_owned(),
        "api_key=canary".to_owned(),
    ] {
        for body in [json!({ "error": { "message": words } }).to_string(), words.clone()] {
            let error = refusal(401, &[], &body).advise("look again").error;
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }
}

#[test]
fn a_page_is_not_quoted_and_a_report_does_not_repeat_the_prompt() {
    let page = refusal(502, &[], "<html><b>Bad gateway</b></html>");
    assert_eq!(page.error.detail(), "the answer is an HTML page");
    let report =
        json!({ "detail": [{ "loc": ["body", "messages", 0], "msg": "too short", "input": "the prompt" }] });
    let error = refusal(422, &[], &report.to_string()).error;
    assert_eq!(error.detail(), "body.messages.0: too short");
}

#[test]
fn advice_changes_the_words_only() {
    let headers = [("x-request-id", "req_1"), ("retry-after", "6")];
    let before = refusal(429, &headers, "slow");
    let advised = refusal(429, &headers, "slow").advise("wait").error;
    assert_eq!(advised.detail(), "slow; wait");
    assert_eq!(
        (advised.kind(), advised.status(), advised.request_id(), advised.retry()),
        (before.error.kind(), Some(429), Some("req_1"), before.error.retry())
    );
}

#[test]
fn a_certificate_that_is_refused_is_not_asked_again() {
    let host = || "llm.example.com".to_owned();
    let tls = HttpError::Tls { host: host(), reason: TlsReason::Expired, detail: "expired".into() };
    let error = from_http(tls);
    assert_eq!((error.kind(), error.retry()), (Kind::Network, Retry::Never));
    assert_eq!(from_http(HttpError::Dns { host: host() }).retry(), Retry::Now);
    let options = HttpError::Options { what: "CA bundle", reason: "no PEM".into() };
    assert_eq!(from_http(options).named_setting(), Some("BYOC_CA_BUNDLE"));
}
