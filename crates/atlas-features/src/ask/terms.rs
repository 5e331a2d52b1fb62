//! What an answer should contain as it stands: ids, addresses, users, paths, quotations.

use super::question::{Said, Span, Term, TermKind};
use super::words::{self, Word};

/// Most terms of one question.
const MOST_TERMS: usize = 16;
/// Longest quotation that is looked for as a whole.
const PHRASE_BYTES: usize = 300;

pub(super) fn find(text: &str, words: &[Word<'_>]) -> Vec<Said<Term>> {
    let mut terms: Vec<Said<Term>> = Vec::new();
    let mut add = |kind, place: std::ops::Range<usize>| {
        let value = text[place.clone()].trim();
        let known = terms.iter().any(|term| term.meaning.value == value);
        if !known && terms.len() < MOST_TERMS && !value.is_empty() {
            terms.push(Said {
                meaning: Term { kind, value: value.to_owned() },
                phrase: value.to_owned(),
                span: Span { start: place.start, end: place.end },
            });
        }
    };
    for (at, word) in words.iter().enumerate().filter(|(_, word)| !word.in_phrase) {
        let before = at.checked_sub(1).map(|at| &words[at]);
        if let Some(kind) = kind(word.text) {
            add(kind, word.span.clone());
        } else if is_user(before, word, words.get(at + 1)) {
            add(TermKind::User, word.span.clone());
        }
    }
    let several = |phrase: &std::ops::Range<usize>| text[phrase.clone()].trim().contains(char::is_whitespace);
    for phrase in words::phrases(words::readable(text)).into_iter().filter(several) {
        if phrase.len() <= PHRASE_BYTES {
            add(TermKind::Phrase, phrase);
        }
    }
    terms
}

/// `user bob`, `the root user`.
fn is_user(before: Option<&Word<'_>>, word: &Word<'_>, next: Option<&Word<'_>>) -> bool {
    if word.is(&["root", "admin"]) && next.is_some_and(|next| next.is(&["user", "login"])) {
        return true;
    }
    let cued =
        before.is_some_and(|before| before.is(&["user", "username", "login", "account"]) && !before.closes);
    let no_name = ["is", "was", "has", "names", "name", "experience", "attempts", "accounts"];
    cued && !word.is(&no_name) && (word.quoted || word.closes || is_name_of_a_user(next))
}

/// `user eve in X`, `user bob from Y`: what follows is another part of the sentence.
fn is_name_of_a_user(next: Option<&Word<'_>>) -> bool {
    next.is_none_or(|next| {
        next.is(&["in", "on", "from", "for", "at", "with", "over", "across", "and", "during", "since"])
    })
}

fn kind(text: &str) -> Option<TermKind> {
    let text = text.trim_start_matches('/');
    if is_ip(text) {
        return Some(TermKind::Ip);
    }
    if text.contains("://")
        || (text.matches('/').count() >= 2 && text.len() > 4 && !text.contains(['{', '*']))
    {
        return Some(TermKind::Path);
    }
    is_id(text).then_some(TermKind::Id)
}

/// An address, with or without a port.
fn is_ip(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok() || text.parse::<std::net::SocketAddr>().is_ok()
}

pub(super) fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let mut parts = text.split('-');
    lengths.iter().all(|length| {
        parts.next().is_some_and(|part| part.len() == *length && part.bytes().all(|b| b.is_ascii_hexdigit()))
    }) && parts.next().is_none()
}

/// A UUID, a number of five digits or more with or without a name in front, a long hexadecimal.
fn is_id(text: &str) -> bool {
    let hex = text.len() >= 12
        && text.bytes().all(|b| b.is_ascii_hexdigit())
        && text.bytes().any(|b| b.is_ascii_digit());
    let tail = text.rsplit(['_', '-', '#']).next().unwrap_or(text);
    let number = tail.len() >= 5 && tail.bytes().all(|b| b.is_ascii_digit());
    hex || number || is_uuid(text.trim_start_matches("req-"))
}
