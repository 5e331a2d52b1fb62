//! A provider's refusal in the terms of embedding.

use atlas_domain::{ProviderError, ProviderErrorKind as Kind};

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
