//! Anthropic's ways of saying no, where they are its own.

use atlas_http::Reply;
use atlas_llm::{ProviderError, ProviderErrorKind as Kind};
use atlas_vendor::{Refusal, Scrubber};
use serde_json::Value;

/// Reads the answer of a request that failed.
pub(super) async fn read(reply: Reply, scrubber: &Scrubber) -> Refusal {
    understood(Refusal::read(reply, scrubber).await)
}

/// Corrects what the status alone gets wrong: the limit that the customer has set, and prepaid
/// credit that is used up, are bad requests here. Neither passes by itself.
pub(super) fn understood(mut refusal: Refusal) -> Refusal {
    let is_spent = ["usage limits", "spend limit", "credit balance"].iter().any(|words| refusal.names(words));
    if refusal.error.status() == Some(400) && is_spent {
        refusal.error = ProviderError::new(Kind::Quota, refusal.error.detail())
            .with_status(400)
            .with_request_id(refusal.error.request_id().map(str::to_owned));
    }
    refusal
}

/// An error inside of a stream, whose status was 200.
pub(super) fn inline(body: &Value, scrubber: &Scrubber) -> ProviderError {
    Refusal::inline(body, scrubber).with_request_id(body["request_id"].as_str().map(scrub_id))
}

/// A foreign text that goes into logs: short and visible, or nothing.
fn scrub_id(id: &str) -> String {
    id.chars().filter(char::is_ascii_graphic).take(128).collect()
}
