//! From text to parts.

use atlas_domain::{Filter, RecordId, Timestamp};

use super::{Bound, Question, WORDS_OF_A_SENTENCE, time};

/// Names of fields, and what a misspelt one may have meant.
const FIELDS: [&str; 10] =
    ["service", "severity", "source", "status", "label", "id", "since", "after", "until", "before"];
const LABEL: &str = "a label is written label:name=value; searched as words";
const TIME: &str = "it is no time; write 2h, 7d, 2026-11-01 or 2026-11-01T14:00:00Z";

/// Reads a query. `now` is what `since:2h` counts from.
pub(crate) fn read(text: &str, now: Timestamp) -> Question {
    let trimmed = text.trim();
    if trimmed.contains('\n') || trimmed.starts_with(['{', '[', '<']) {
        return Question::words(text);
    }
    let mut reading = Reading { question: Question::default(), words: Vec::new(), n_free: 0, now };
    let mut rest = trimmed;
    while !rest.is_empty() {
        let part = Part::first(rest);
        rest = rest[part.whole.len()..].trim_start();
        reading.take(part);
    }
    reading.finish()
}

/// One part of a query between white space; a quotation keeps its own.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    whole: &'a str,
    /// `-` in front.
    negated: bool,
    /// In front of a colon that a value follows at once.
    field: Option<&'a str>,
    /// Without `-`, field and quotation marks.
    value: &'a str,
    quoted: bool,
    /// Whether a quotation begins that does not end.
    open: bool,
}

impl<'a> Part<'a> {
    /// The first part of a text that does not begin with white space.
    fn first(text: &'a str) -> Self {
        let negated = text.starts_with('-');
        let body = if negated { &text[1..] } else { text };
        let name = body.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/')));
        let colon = name.filter(|at| *at > 0 && body[*at..].starts_with(':'));
        let field = colon.map(|at| &body[..at]);
        let value = &body[colon.map_or(0, |at| at + 1)..];
        let before = text.len() - value.len();
        let word = value.split(char::is_whitespace).next().unwrap_or_default();
        let plain = Self {
            whole: &text[..before + word.len()],
            negated,
            field: field.filter(|_| !word.is_empty()),
            value: word,
            quoted: false,
            open: false,
        };
        let Some((opening, inner)) = value.chars().next().map(|c| (c, &value[c.len_utf8()..])) else {
            return plain;
        };
        if !matches!(opening, '"' | '“' | '”') {
            return plain;
        }
        // A mark inside a word (`5"disk`) closes nothing.
        let closes = |(at, mark): &(usize, &str)| {
            let after = inner[at + mark.len()..].chars().next();
            after.is_none_or(|c| c.is_whitespace() || matches!(c, '.' | ',' | ';' | '!' | '?' | ')' | ':'))
        };
        match inner.match_indices(['"', '“', '”']).find(closes) {
            Some((at, mark)) => {
                let end = before + opening.len_utf8() + at + mark.len();
                Self { whole: &text[..end], value: inner[..at].trim(), quoted: true, ..plain }
            }
            None => Self { open: true, ..plain },
        }
    }
}

struct Reading {
    question: Question,
    /// In the order of the query.
    words: Vec<String>,
    /// Words that belong to no operator.
    n_free: usize,
    now: Timestamp,
}

impl Reading {
    fn take(&mut self, part: Part<'_>) {
        if part.open {
            self.question.note(part.whole, "the quotation is not closed; searched as words");
            return self.free(part.whole);
        }
        match part.field {
            Some(name) if FIELDS.contains(&name) || name.starts_with("label.") => self.condition(name, part),
            Some(name) => {
                if let Some(meant) = meant(name) {
                    let reason = format!("{name} is no field, {meant} is; searched as words");
                    self.question.note(part.whole, reason);
                }
                self.free(part.whole);
            }
            None if part.quoted && !part.value.chars().any(char::is_alphanumeric) => {}
            None if part.quoted && part.negated => self.question.demands.without.push(part.value.to_owned()),
            None if part.quoted => {
                self.question.phrases.push(part.value.to_owned());
                self.words.push(part.value.to_owned());
            }
            None if part.negated && is_excludable(part.value) => {
                self.question.demands.without.push(part.value.to_owned());
            }
            None => {
                if matches!(part.whole, "OR" | "NOT" | "AND") {
                    let reason = match part.whole {
                        "NOT" => "there is no such operator; write -word to leave a word out",
                        _ => "there is no such operator; records with more of the words come first",
                    };
                    self.question.note(part.whole, reason);
                }
                self.free(part.whole);
            }
        }
    }

    fn free(&mut self, words: &str) {
        self.n_free += 1;
        self.words.push(words.to_owned());
    }

    /// `field:value`, or words when the value cannot be one of the field.
    fn condition(&mut self, name: &str, part: Part<'_>) {
        let value = part.value.trim_end_matches([',', ';']);
        let question = &mut self.question;
        let refused = match (name, part.negated) {
            _ if value.is_empty() => Some("it has no value; searched as words".to_owned()),
            ("since" | "after" | "until" | "before" | "id", true) => {
                Some("a time or an id cannot be left out; searched as words".to_owned())
            }
            ("since" | "after", _) => self.bound(Bound::Since, value),
            ("until" | "before", _) => self.bound(Bound::Until, value),
            ("id", _) => match RecordId::new(value) {
                Ok(id) => {
                    question.demands.ids.push(id);
                    None
                }
                Err(error) => Some(format!("{error}; searched as words")),
            },
            (name, true) => {
                let mut except = Filter::default();
                let added = add(&mut except, name, value);
                question.demands.except.extend(added.map(|()| except));
                added.is_none().then(|| LABEL.to_owned())
            }
            (name, false) => add(&mut question.filter, name, value).is_none().then(|| LABEL.to_owned()),
        };
        if let Some(reason) = refused {
            self.question.note(part.whole, reason);
            self.free(part.whole);
        }
    }

    fn bound(&mut self, bound: Bound, value: &str) -> Option<String> {
        match time::read(value, self.now) {
            Some(at) => {
                self.question.narrow(bound, at);
                None
            }
            None => Some(format!("{TIME}; searched as words")),
        }
    }

    fn finish(mut self) -> Question {
        self.question.text = self.words.join(" ");
        if self.n_free <= WORDS_OF_A_SENTENCE {
            self.question.demands.phrases = std::mem::take(&mut self.question.phrases);
        }
        self.question
    }
}

/// Adds a value of a facet; `None` when it is no label with a value. Severities and states are
/// kept in small letters.
fn add(filter: &mut Filter, name: &str, value: &str) -> Option<()> {
    match name {
        "service" => filter.service.push(value.to_owned()),
        "severity" => filter.severity.push(value.to_lowercase()),
        "source" => filter.source.push(value.to_owned()),
        "status" => filter.status.push(value.to_lowercase()),
        _ => {
            let (label, value) = match name.strip_prefix("label.") {
                Some(label) => (label, value),
                None => value.split_once(['=', ':'])?,
            };
            let value = value.trim_matches('"');
            if label.is_empty() || value.is_empty() {
                return None;
            }
            filter.labels.insert(label.to_owned(), value.to_owned());
        }
    }
    Some(())
}

/// A word that is likely to be meant: `-timeout` is, `-rf`, `-o`, `-Xmx512m` and `--follow` are
/// options of a command.
fn is_excludable(word: &str) -> bool {
    word.chars().count() >= 3 && word.chars().all(char::is_alphabetic) && !word.starts_with('X')
}

/// The field that differs from a name by one letter.
fn meant(name: &str) -> Option<&'static str> {
    FIELDS.into_iter().filter(|field| field.len() > 3).find(|field| differ_by_one(field, name))
}

/// Whether one insertion, removal, replacement or exchange of neighbours makes one the other.
fn differ_by_one(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    match a.len().cmp(&b.len()) {
        std::cmp::Ordering::Less => b.len() - a.len() == 1 && a == &b[1..],
        std::cmp::Ordering::Greater => a.len() - b.len() == 1 && &a[1..] == b,
        std::cmp::Ordering::Equal => match (a, b) {
            ([], []) => false,
            ([a1, a2, a_rest @ ..], [b1, b2, b_rest @ ..]) if a1 == b2 && a2 == b1 => a_rest == b_rest,
            _ => a[1..] == b[1..],
        },
    }
}
