//! A question as words with their places.

use std::ops::Range;

/// What of a question is read; the rest is words. A question is a sentence or two.
const READ_BYTES: usize = 4 << 10;

/// One word without the punctuation around it.
#[derive(Debug, Clone)]
pub(super) struct Word<'a> {
    /// As it was written.
    pub(super) text: &'a str,
    /// In small letters, without a possessive ending.
    pub(super) lower: String,
    /// Where it stands, in bytes.
    pub(super) span: Range<usize>,
    /// It alone stands between quotation marks.
    pub(super) quoted: bool,
    /// It is part of a quotation of several words.
    pub(super) in_phrase: bool,
    /// A comma, a full stop or the end follows.
    pub(super) closes: bool,
}

impl Word<'_> {
    /// Whether it is one of these words, and nobody's quotation.
    pub(super) fn is(&self, words: &[&str]) -> bool {
        !self.in_phrase && words.contains(&self.lower.as_str())
    }

    /// Whether it looks like somebody named something so: `orders-eu`, `net.api`, `db_2`, `DbHost`.
    pub(super) fn is_distinctive(&self) -> bool {
        let text = self.text;
        let begins = text.starts_with(|c: char| c.is_alphanumeric());
        let allowed =
            text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '$' | ':'));
        let joined = text.contains(['-', '_', '.', '$']) || text.chars().any(|c| c.is_ascii_digit());
        let lettered = text.chars().any(char::is_alphabetic);
        let inner_capital =
            text.chars().skip(1).any(char::is_uppercase) && text.chars().any(char::is_lowercase);
        begins
            && allowed
            && lettered
            && (joined || inner_capital)
            && !is_compound(&self.lower)
            && !is_region(&self.lower)
    }
}

/// Ordinary words with a hyphen: `real-time`, `break-in`, `pre-authentication`.
fn is_compound(lower: &str) -> bool {
    const FIRST: [&str; 26] = [
        "real", "read", "write", "pre", "post", "re", "non", "end", "up", "day", "long", "short", "high",
        "low", "multi", "self", "well", "out", "on", "in", "so", "follow", "cross", "first", "second",
        "near",
    ];
    const LAST: [&str; 24] = [
        "time", "only", "end", "in", "out", "up", "down", "off", "date", "level", "term", "based", "related",
        "to", "by", "side", "wide", "specific", "call", "line", "likely", "minute", "hour", "day",
    ];
    let Some((first, rest)) = lower.split_once('-') else { return false };
    let last = rest.rsplit('-').next().unwrap_or(rest);
    let letters = lower.chars().all(|c| c.is_alphabetic() || c == '-');
    (letters && (FIRST.contains(&first) || LAST.contains(&last)))
        || (first.bytes().all(|b| b.is_ascii_digit()) && LAST.contains(&last))
}

/// Places of a cloud: `eu-west-1`, `us-central1`, `europe-west3-b`.
fn is_region(lower: &str) -> bool {
    const PARTS: [&str; 9] = ["us", "eu", "ap", "sa", "ca", "me", "af", "asia", "europe"];
    const SIDES: [&str; 9] =
        ["north", "south", "east", "west", "central", "northeast", "northwest", "southeast", "southwest"];
    let mut parts = lower.split('-');
    parts.next().is_some_and(|part| PARTS.contains(&part))
        && parts
            .next()
            .is_some_and(|side| SIDES.contains(&side.trim_end_matches(|c: char| c.is_ascii_digit())))
        && parts.all(|rest| rest.len() <= 2)
}

/// What of a text is read.
pub(super) fn readable(text: &str) -> &str {
    &text[..text.floor_char_boundary(READ_BYTES)]
}

/// The words of a text.
pub(super) fn split(text: &str) -> Vec<Word<'_>> {
    let text = readable(text);
    let phrases = phrases(text);
    let mut words = Vec::new();
    let mut from = 0;
    for piece in text.split_whitespace() {
        // Pieces come in order, so each is found behind the one before.
        let Some(at) = text[from..].find(piece).map(|at| at + from) else { continue };
        from = at + piece.len();
        let opened = piece.trim_start_matches(|c: char| is_mark(c) || matches!(c, '(' | '[' | '{' | '<'));
        let start = at + piece.len() - opened.len();
        let core = opened.trim_end_matches(|c: char| is_mark(c) || is_ending(c));
        if core.is_empty() {
            if piece.contains([',', ';', '.', '?', '!', ':'])
                && let Some(last) = words.last_mut()
            {
                let last: &mut Word<'_> = last;
                last.closes = true;
            }
            continue;
        }
        let end = start + core.len();
        let lower = core.to_lowercase();
        let bare = lower.strip_suffix("'s").or(lower.strip_suffix("’s")).unwrap_or(&lower);
        let within = phrases.iter().find(|phrase| phrase.start <= start && end <= phrase.end);
        let alone = within.is_some_and(|phrase| !text[phrase.clone()].trim().contains(char::is_whitespace));
        words.push(Word {
            text: core,
            lower: bare.to_owned(),
            span: start..end,
            quoted: alone,
            in_phrase: within.is_some() && !alone,
            closes: text[end..at + piece.len()].contains([',', ';', '.', '?', '!', ')', ':']),
        });
    }
    if let Some(last) = words.last_mut() {
        last.closes = true;
    }
    words
}

fn is_mark(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '“' | '”' | '‘' | '’')
}

fn is_ending(c: char) -> bool {
    matches!(c, ',' | ';' | ':' | '.' | '?' | '!' | ')' | ']' | '}' | '>')
}

/// What stands between quotation marks. A mark inside a word (`it's`) opens and closes nothing.
pub(super) fn phrases(text: &str) -> Vec<Range<usize>> {
    let mut phrases = Vec::new();
    let mut open: Option<(char, usize)> = None;
    let mut before: Option<char> = None;
    for (at, c) in text.char_indices() {
        let after = text[at + c.len_utf8()..].chars().next();
        match open {
            Some((mark, start)) if c == mark && after.is_none_or(|c| !c.is_alphanumeric()) => {
                if start < at {
                    phrases.push(start..at);
                }
                open = None;
            }
            None if is_mark(c) && before.is_none_or(|c| !c.is_alphanumeric()) => {
                let mark = match c {
                    '“' => '”',
                    '‘' => '’',
                    other => other,
                };
                // One that nothing closes is an apostrophe.
                if text[at + c.len_utf8()..].contains(mark) {
                    open = Some((mark, at + c.len_utf8()));
                }
            }
            _ => {}
        }
        before = Some(c);
    }
    phrases
}
