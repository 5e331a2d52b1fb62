//! Any text is a runbook: it is cut into passages, each of which stands in it.

#![no_main]

use atlas_embed::TokenCounter;
use libfuzzer_sys::fuzz_target;

struct Words;

impl TokenCounter for Words {
    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn max_tokens(&self) -> usize {
        48
    }
}

fuzz_target!(|document: (&str, &str)| {
    let (title, markdown) = document;
    for passage in atlas_retrieval::passages(title, markdown, &Words) {
        assert!(markdown.contains(passage.text.trim()), "{:?}", passage.text);
    }
});
