//! A provider's refusal in the terms of embedding.

use atlas_domain::{ProviderError, ProviderErrorKind as Kind, Retry};
use atlas_http::Reply;
use atlas_vendor::{Refusal, Scrubber, is_too_long};

/// Reads the answer of a request that failed.
pub(crate) async fn refused(reply: Reply, scrubber: &Scrubber) -> Refusal {
    let mut refusal = Refusal::read(reply, scrubber).await;
    let error = &refusal.error;
    let kind = kind(&refusal);
    if kind != error.kind() {
        let corrected = ProviderError::new(kind, error.detail())
            .with_request_id(error.request_id().map(str::to_owned))
            .with_status(error.status().unwrap_or_default());
        // A wait that was named still counts where the new kind passes at all.
        refusal.error = match (corrected.retry(), error.retry()) {
            (Retry::Now, retry @ Retry::After(_)) => corrected.with_retry(retry),
            _ => corrected,
        };
    }
    refusal
}

/// What the common reading cannot know: that the request is a list of texts.
fn kind(refusal: &Refusal) -> Kind {
    let error = &refusal.error;
    match (error.status(), error.kind()) {
        // TEI: the request is too large, not a text in it.
        (Some(413), _) if !is_too_long(error.detail()) => Kind::BadRequest,
        // TEI has no rate limits; what it calls 429 is a full queue.
        (Some(429), Kind::Throttled) if refusal.names("is overloaded") => Kind::Overloaded,
        // llama.cpp reads a text in one piece or not at all.
        (Some(500), _) if refusal.names("too large to process") => Kind::PromptTooLong,
        (_, kind) => kind,
    }
}

/// Whether fewer texts at once, or shorter ones, may be accepted.
pub(super) fn wants_less(error: &ProviderError) -> bool {
    error.kind() == Kind::PromptTooLong || is_batch_too_large(error)
}

/// Whether the number of texts or bytes of the request is the matter, rather than one of them.
pub(super) fn is_batch_too_large(error: &ProviderError) -> bool {
    // TEI; OpenAI, twice; what gateways say.
    const WORDS: [&str; 5] =
        ["batch size", "array too long", "tokens per request", "too many inputs", "maximum number of inputs"];
    let detail = error.detail().to_lowercase();
    error.kind() == Kind::BadRequest
        && (error.status() == Some(413) || WORDS.iter().any(|words| detail.contains(words)))
}

/// An error of the common code, with the settings of embedding in place of those of chat.
pub(crate) fn ours(error: ProviderError) -> ProviderError {
    let setting = match error.named_setting() {
        Some("BYOC_ENDPOINT_URL") => "EMBEDDING_ENDPOINT_URL",
        Some("BYOC_API_KEY") => "EMBEDDING_API_KEY",
        _ => return error,
    };
    ProviderError::setting(setting, error.detail())
}
