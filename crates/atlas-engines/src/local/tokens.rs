//! Texts to word pieces, cut where sentence-transformers cuts.
//!
//! The tokenizer file's own padding and truncation are switched off: the file of
//! all-MiniLM-L6-v2 pads to and cuts at 128, where the model was measured at 256.

use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, Result, Tokenizer};

/// The tokenizer of a model, with the model's limit.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    /// Special tokens that the model expects around its input, `[CLS]` and `[SEP]` for BERT.
    before: Vec<u32>,
    after: Vec<u32>,
    /// Including the special tokens.
    max_tokens: usize,
    /// Whether words end at white space whatever follows, so that a text may be cut there.
    splits_at_space: bool,
}

impl Tokens {
    /// Reads `tokenizer.json`.
    pub(super) fn parse(bytes: &[u8], max_tokens: usize) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_bytes(bytes)?;
        tokenizer.with_padding(None).with_truncation(None)?;
        // The template shows itself on any one word.
        let probe = tokenizer.encode("a", true)?;
        let special = probe.get_special_tokens_mask();
        let n_before = special.iter().take_while(|mask| **mask == 1).count();
        if n_before == special.len() {
            return Err("it has no word for the letter a, not even an unknown one".into());
        }
        let n_after =
            special.iter().rev().take_while(|mask| **mask == 1).count().min(special.len() - n_before);
        let ids = probe.get_ids();
        if max_tokens <= n_before + n_after {
            return Err(format!("a limit of {max_tokens} tokens leaves no room for text").into());
        }
        Ok(Self {
            before: ids[..n_before].to_vec(),
            after: ids[ids.len() - n_after..].to_vec(),
            splits_at_space: matches!(tokenizer.get_normalizer(), Some(NormalizerWrapper::BertNormalizer(_)))
                && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_))),
            tokenizer,
            max_tokens,
        })
    }

    /// One more than the largest id.
    pub(super) fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Word pieces that fit between the special tokens.
    pub(super) fn room(&self) -> usize {
        self.max_tokens - self.before.len() - self.after.len()
    }

    /// Word pieces of the whole text, without special tokens.
    pub(super) fn count(&self, text: &str) -> usize {
        self.tokenizer.encode_fast(text, false).map_or(0, |encoding| encoding.len())
    }

    /// The model's input: at most `max_tokens` ids, special tokens included.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let room = self.room();
        // A log of megabytes would be tokenised whole for its first 254 pieces. A prefix that ends
        // at white space has the same pieces; it grows until they are enough.
        let mut limit = room * 16;
        let encoding = loop {
            let prefix = if self.splits_at_space { prefix(text, limit) } else { None };
            let encoding = self.tokenizer.encode_fast(prefix.unwrap_or(text), false)?;
            if prefix.is_none() || encoding.len() >= room {
                break encoding;
            }
            limit *= 4;
        };
        let pieces = encoding.get_ids();
        Ok([&self.before[..], &pieces[..pieces.len().min(room)], &self.after[..]].concat())
    }
}

/// The text up to the first white space at or after `limit` bytes; `None` if that is all of it.
/// Not at any white space: BERT's normalizer deletes a form feed and joins the words around it.
fn prefix(text: &str, limit: usize) -> Option<&str> {
    let from = (limit..text.len()).find(|at| text.is_char_boundary(*at))?;
    let end = from + text[from..].find([' ', '\t', '\n', '\r'])?;
    Some(&text[..end])
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn a_prefix_ends_before_white_space_and_on_a_character() {
        assert_eq!(prefix("ab cd", 1), Some("ab"));
        assert_eq!(prefix("äbc d", 1), Some("äbc"));
        assert_eq!(prefix("ab cd", 3), None);
        assert_eq!(prefix("ab", 9), None);
        assert_eq!(prefix("a\x0cb", 1), None);
    }
}
