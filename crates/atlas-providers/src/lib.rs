//! One folder per chat provider.
//!
//! [`provider`] turns a label and its [`Options`] into a [`Provider`]; connecting that gives a
//! model. One dialect is spoken so far, OpenAI's chat completions, under five labels: `openai`
//! for the vendor and for anything in front of it, and `ollama`, `vllm`, `tgi` and `compatible`
//! for servers of one's own, which need an endpoint. Ollama, vLLM and TGI are called at their
//! OpenAI-compatible paths; their own dialects come later, as do `azure`, `anthropic` and
//! `bedrock`.
//!
//! Not here: which model answers, repeating a call, and redaction of prompts.

mod destination;
pub mod openai_compatible;

use std::sync::Arc;

use atlas_http::Origin;
use atlas_llm::{LlmError, Provider};

pub use openai_compatible::Options;

/// The labels that [`provider`] knows.
pub const LABELS: [&str; 5] = ["openai", "ollama", "vllm", "tgi", "compatible"];
/// Labels of later versions; naming one is a better answer than "unknown".
pub const COMING: [&str; 3] = ["azure", "anthropic", "bedrock"];

/// The provider that `label` names. Settings are checked by `connect`.
pub fn provider(label: &str, options: Options) -> Result<Arc<dyn Provider>, LlmError> {
    let label = known(label)?;
    Ok(Arc::new(openai_compatible::OpenAiCompatible::new(label, options)))
}

/// The one origin a provider will call. The server makes the egress policy of it before there is
/// a client.
pub fn origin(label: &str, endpoint_url: Option<&str>) -> Result<Origin, LlmError> {
    openai_compatible::endpoint_origin(known(label)?, endpoint_url)
}

fn known(label: &str) -> Result<&'static str, LlmError> {
    let wanted = label.trim().to_ascii_lowercase();
    LABELS.into_iter().find(|known| *known == wanted).ok_or_else(|| {
        let verdict = if COMING.contains(&wanted.as_str()) { "not available yet" } else { "not known" };
        LlmError::Settings {
            setting: "BYOC_PROVIDER",
            reason: format!(
                "{:?} is {verdict}; this version has {}; coming later: {}",
                wanted.chars().take(40).collect::<String>(),
                LABELS.join(", "),
                COMING.join(", "),
            ),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_without_regard_to_case() {
        for label in LABELS {
            assert_eq!(known(&label.to_uppercase()).expect("a known label"), label);
        }
    }

    #[test]
    fn an_unknown_label_lists_the_ones_there_are() {
        let error = known("gpt").expect_err("no such label").to_string();
        for label in LABELS.iter().chain(&COMING) {
            assert!(error.contains(label), "{error}");
        }
        assert!(error.contains("not known"), "{error}");
        assert!(known("bedrock").expect_err("later").to_string().contains("not available yet"));
    }
}
