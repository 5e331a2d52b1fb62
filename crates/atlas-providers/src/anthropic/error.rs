//! Anthropic's ways of saying no, where they are its own.

use atlas_http::{HeaderMap, Reply};
use atlas_llm::{ProviderError, ProviderErrorKind as Kind};
use atlas_vendor::{ERROR_BODY_LIMIT, Refusal, Scrubber, Words};
use serde_json::Value;

/// Reads the answer of a request that failed.
pub(super) async fn read(reply: Reply, scrubber: &Scrubber) -> Refusal {
    let status = reply.status().as_u16();
    let headers = reply.headers().clone();
    // An error whose body cannot be read is still the error its status says.
    let body = reply.bytes(ERROR_BODY_LIMIT).await.unwrap_or_default();
    refusal(status, &headers, &body, scrubber)
}

/// The meaning of a failed answer.
pub(super) fn refusal(status: u16, headers: &HeaderMap, body: &[u8], scrubber: &Scrubber) -> Refusal {
    let mut refusal = Refusal::of(status, headers, body, scrubber);
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(kind) = own_meaning(status, &body) {
        refusal.error = ProviderError::new(kind, refusal.error.detail())
            .with_status(status)
            .with_request_id(refusal.error.request_id().map(str::to_owned));
    }
    refusal
}

/// What the status alone would get wrong. None of it passes by itself.
fn own_meaning(status: u16, body: &Value) -> Option<Kind> {
    let error = &body["error"];
    let says =
        |words: &str| error["message"].as_str().is_some_and(|text| text.to_lowercase().contains(words));
    match status {
        // 32 MB of request, whatever the context window.
        413 => Some(Kind::BadRequest),
        429 if error["details"]["error_code"] == "enforced_spend_limit_reached" => Some(Kind::Quota),
        // The limit that the customer has set, and prepaid credit that is used up.
        400 if says("usage limits") || says("spend limit") || says("credit balance") => Some(Kind::Quota),
        _ => None,
    }
}

/// An error inside of a stream, whose status was 200.
pub(super) fn inline(body: &Value, scrubber: &Scrubber) -> ProviderError {
    let words = Words::of(body);
    let status = match words.kind.as_str() {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "conflict_error" => 409,
        "rate_limit_error" => 429,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => 500,
    };
    words.error(status, scrubber).with_request_id(body["request_id"].as_str().map(scrub_id))
}

/// A foreign text that goes into logs: short and visible, or nothing.
fn scrub_id(id: &str) -> String {
    id.chars().filter(char::is_ascii_graphic).take(128).collect()
}
