//! Tokens, as Anthropic counts them.

use atlas_llm::Usage;
use serde_json::Value;

/// Counts as they stand. They come twice, and the later ones are totals.
#[derive(Debug, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    cache_write: Option<u64>,
    cached: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
}

impl Counts {
    pub(super) fn take(&mut self, usage: &Value) {
        let update = |known: &mut Option<u64>, value: &Value| *known = value.as_u64().or(*known);
        update(&mut self.input, &usage["input_tokens"]);
        update(&mut self.cache_write, &usage["cache_creation_input_tokens"]);
        update(&mut self.cached, &usage["cache_read_input_tokens"]);
        update(&mut self.output, &usage["output_tokens"]);
        update(&mut self.reasoning, &usage["output_tokens_details"]["thinking_tokens"]);
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        // Imitations that do not count say zero; no real answer cost nothing.
        [self.input, self.output].into_iter().flatten().find(|count| *count > 0)?;
        let [cached_input, cache_write] = [self.cached, self.cache_write].map(Option::unwrap_or_default);
        Some(Usage {
            // Theirs leaves out what the cache holds.
            input: self.input.unwrap_or_default().saturating_add(cached_input).saturating_add(cache_write),
            output: self.output.unwrap_or_default(),
            cached_input,
            cache_write,
            reasoning: self.reasoning.unwrap_or_default(),
        })
    }
}
