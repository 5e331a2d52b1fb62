//! Ollama's ways of saying no: a sentence, and little else.

use atlas_llm::{ProviderError, ProviderErrorKind as Kind};
use atlas_vendor::Refusal;

/// A refusal with what to do about it where that is certain.
pub(super) fn advised(refusal: Refusal, model: &str) -> ProviderError {
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
    refusal.advise(&advice).error
}

/// Whether it is the model that is not there, rather than the operation.
pub(super) fn is_missing_model(refusal: &Refusal) -> bool {
    refusal.names("model") && refusal.names("not found")
}
