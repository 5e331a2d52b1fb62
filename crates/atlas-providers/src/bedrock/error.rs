//! What a refusal says a model does not take.

use atlas_llm::{ProviderError, ProviderErrorKind as Kind};

/// What a refusal says the model does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lacks {
    System,
    StreamingTools,
    Tools,
    Sampling,
    ForcedTool,
    Schema,
}

impl Lacks {
    /// Reads the words of a refusal; there is no code for any of these.
    pub(super) fn read(error: &ProviderError) -> Option<Self> {
        if error.kind() != Kind::BadRequest {
            return None;
        }
        let words = error.detail().to_lowercase();
        let says = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        // The streaming one holds the words of the other.
        if says(&["tool use in streaming"]) {
            Some(Self::StreamingTools)
        } else if says(&["support system messages", "system prompt is not supported"]) {
            Some(Self::System)
        } else if says(&["support tool use", "toolconfig is not supported"]) {
            Some(Self::Tools)
        } else if says(&["tool_choice", "toolchoice", "tool choice"]) {
            Some(Self::ForcedTool)
        } else if says(&["output_config", "outputconfig", "textformat", "structured output"]) {
            Some(Self::Schema)
        } else if says(&["temperature", "top_p", "topp"]) {
            Some(Self::Sampling)
        } else {
            None
        }
    }
}
