//! Ollama's ways of saying no: a sentence, and little else.

use atlas_http::{HeaderMap, Reply};
use atlas_llm::{ProviderError, ProviderErrorKind as Kind};
use atlas_vendor::{ERROR_BODY_LIMIT, Refusal, Scrubber, Words, is_too_long};
use serde_json::Value;

/// Reads the answer of a request that failed.
pub(super) async fn read(reply: Reply, model: &str, scrubber: &Scrubber) -> ProviderError {
    let status = reply.status().as_u16();
    let headers = reply.headers().clone();
    // An error whose body cannot be read is still the error its status says.
    let body = reply.bytes(ERROR_BODY_LIMIT).await.unwrap_or_default();
    refusal(status, &headers, &body, model, scrubber)
}

/// The meaning of a failed answer, with what to do about it where that is certain.
pub(super) fn refusal(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    model: &str,
    scrubber: &Scrubber,
) -> ProviderError {
    let refusal = Refusal::of(status, headers, body, scrubber);
    let advice = match refusal.error.kind() {
        Kind::NotFound if is_missing_model(&refusal) => {
            format!(
                "run `ollama pull {model}` on the server, or set BYOC_MODEL to a name that `ollama list` shows"
            )
        }
        Kind::NotFound => {
            "this is not how Ollama says that a model is missing; is it an Ollama server?".to_owned()
        }
        Kind::BadRequest if refusal.names("does not support tools") => {
            "choose a model whose `ollama show` lists the capability tools".to_owned()
        }
        Kind::PromptTooLong => "raise BYOC_CONTEXT_TOKENS, or shorten the prompt".to_owned(),
        _ => return refusal.error,
    };
    ProviderError::new(refusal.error.kind(), format!("{}; {advice}", refusal.error.detail()))
        .with_status(status)
        .with_request_id(refusal.error.request_id().map(str::to_owned))
}

/// Whether it is the model that is not there, rather than the operation.
pub(super) fn is_missing_model(refusal: &Refusal) -> bool {
    refusal.names("model") && refusal.names("not found")
}

/// A line of the stream that is an error; its status was 200.
pub(super) fn inline(line: &Value, scrubber: &Scrubber) -> ProviderError {
    let words = Words::of(line);
    let status = if is_too_long(&words.message) { 400 } else { 500 };
    words.error(status, scrubber)
}
