//! Ollama's answer in our words.

use atlas_domain::{ProviderError, ProviderErrorKind as Kind};
use atlas_vendor::{Refusal, Scrubber};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Answer {
    embeddings: Vec<Vec<f32>>,
}

/// The vectors of an answer, which come in the order of the texts.
pub(super) fn read(body: &[u8], scrubber: &Scrubber) -> Result<Vec<Vec<f32>>, ProviderError> {
    if let Ok(answer) = serde_json::from_slice::<Answer>(body) {
        return Ok(answer.embeddings);
    }
    Err(match serde_json::from_slice::<Value>(body) {
        Ok(value) if !value["error"].is_null() => Refusal::inline(&value, scrubber),
        Ok(_) | Err(_) => ProviderError::new(Kind::Protocol, "the answer holds no vectors"),
    })
}
