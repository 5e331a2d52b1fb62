//! Cutting texts to what a model reads, and lists to what a request may hold.

use std::ops::Range;

/// Bytes of a text per token, at least. Word pieces of English average above four bytes, of
/// Chinese and of base64 or hexadecimal text about three and less; whoever counts three counts
/// nearly always more tokens than there are, so passages stay below the limit.
const BYTES_PER_TOKEN: usize = 3;
/// Tokens that the server adds around a text.
const SPECIAL_TOKENS: usize = 4;

/// Tokens of a text, estimated from above. There is no tokenizer of a remote model here.
pub(super) fn tokens(text: &str) -> usize {
    text.len().div_ceil(BYTES_PER_TOKEN)
}

/// Tokens of a text for which a model with this limit has room.
pub(super) fn room(input_tokens: usize) -> usize {
    input_tokens.saturating_sub(SPECIAL_TOKENS).max(1)
}

/// Cuts a text to the tokens and characters that a model reads.
pub(super) fn fit(mut text: String, tokens: usize, chars: Option<usize>) -> String {
    text.truncate(text.floor_char_boundary(tokens.saturating_mul(BYTES_PER_TOKEN)));
    if let Some((end, _)) = chars.and_then(|chars| text.char_indices().nth(chars)) {
        text.truncate(end);
    }
    text
}

/// The first half of a text.
pub(super) fn halved(text: &str) -> String {
    text[..text.ceil_char_boundary(text.len() / 2)].to_owned()
}

/// Splits a list into requests, in order: none holds more texts or tokens than it may, except for
/// a text that alone is too long.
pub(super) fn plan(texts: &[String], most_texts: usize, most_tokens: usize) -> Vec<Range<usize>> {
    let mut batches = Vec::new();
    let (mut start, mut n_tokens) = (0, 0);
    for (position, text) in texts.iter().enumerate() {
        let more = tokens(text);
        if position > start && (position - start >= most_texts || n_tokens + more > most_tokens) {
            batches.push(start..position);
            (start, n_tokens) = (position, 0);
        }
        n_tokens += more;
    }
    if start < texts.len() {
        batches.push(start..texts.len());
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lengths: &[usize], most_texts: usize, most_tokens: usize, expect: &[Range<usize>]) {
        let texts: Vec<String> = lengths.iter().map(|length| "x".repeat(*length)).collect();
        assert_eq!(plan(&texts, most_texts, most_tokens), expect);
    }

    #[test]
    fn a_request_holds_so_many_texts_and_tokens() {
        check(&[], 2, 100, &[]);
        check(&[3, 3, 3, 3, 3], 2, 100, &[0..2, 2..4, 4..5]);
        check(&[30, 30, 30], 10, 20, &[0..2, 2..3]);
        check(&[900, 3, 900], 10, 20, &[0..1, 1..2, 2..3]);
    }

    #[test]
    fn texts_are_cut_at_characters() {
        assert_eq!(fit("abcdef".into(), 1, None), "abc");
        assert_eq!(fit("aéé".into(), 1, None), "aé");
        assert_eq!(fit("ééé".into(), 1, None), "é");
        assert_eq!(fit("ééé".into(), 100, Some(2)), "éé");
        assert_eq!(fit("ééé".into(), 100, Some(3)), "ééé");
        assert_eq!(halved("ééé"), "éé");
    }
}
