//! A question as conditions and what remains to be looked for.
//!
//! Pure and deterministic: the same question reads the same on every server, in microseconds, and
//! with no model at all. Every condition has the place in the question that said it, so that it
//! can be shown, edited and taken back. What cannot be read as a condition is a word.
//!
//! A condition is what people say in so many words: a cue (`for application X`, `on host Y`,
//! `severity high`), a name of the tenant's own vocabulary, or a word that can only be a name
//! (`for orders-eu`). A condition too many hides the answer, so a word that may be anything else
//! stays a word.

use std::ops::Range;

use atlas_domain::Filter;
use serde::Serialize;

use super::clock::{Clock, TimeRange};
use super::names;
use super::terms;
use super::vocabulary::{Field, Vocabulary};
use super::when;
use super::words::{self, Word};

/// Most conditions of one question.
const MOST_CONDITIONS: usize = 32;

/// A place in a question, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

/// Something that was said, with its words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Said<T> {
    /// What it means.
    #[serde(flatten)]
    pub meaning: T,
    /// The words that said it.
    pub phrase: String,
    /// Where they stand.
    pub span: Span,
}

/// A condition on a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// The field.
    pub field: Field,
    /// One of these. The first is what was said, others are spellings of it.
    pub values: Vec<String>,
}

/// What kind of name a term is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TermKind {
    /// Something generated: a UUID, a block, a long number.
    Id,
    /// An address, with or without a port.
    Ip,
    /// A user's name.
    User,
    /// A path or URL.
    Path,
    /// A quotation.
    Phrase,
}

/// Words that an answer is expected to contain as they stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Term {
    /// What it is.
    pub kind: TermKind,
    /// The words.
    pub value: String,
}

/// A question, read.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Understood {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Said<TimeRange>>,
    /// Conditions on fields, in the order of the question.
    pub conditions: Vec<Said<Condition>>,
    /// What an answer should contain. It stays part of the query.
    pub terms: Vec<Said<Term>>,
    /// What remains to be looked for.
    pub query: String,
    /// What was said and could not be used, in words for people.
    pub notes: Vec<String>,
    /// It asks for the time since a deploy.
    #[serde(skip)]
    pub wants_deploy: bool,
}

/// A question.
#[derive(Debug)]
pub struct Question;

impl Question {
    /// Reads a question at a time, by a tenant's words. Any text can be read.
    pub fn read(text: &str, clock: Clock, vocabulary: &Vocabulary) -> Understood {
        let words = words::split(text);
        let mut reading = Reading {
            text,
            words: &words,
            taken: vec![false; words.len()],
            cut: Vec::new(),
            understood: Understood::default(),
        };
        reading.times(clock);
        reading.names(vocabulary);
        reading.understood.terms = terms::find(text, &words);
        reading.understood.query = reading.rest();
        reading.understood
    }
}

impl Understood {
    /// The conditions as a filter. Hosts and components are labels under the names that the
    /// vocabulary knows; of two hosts the first counts, since a label has one value.
    pub fn filter(&self, vocabulary: &Vocabulary) -> Filter {
        let range = self.time.as_ref().map(|said| said.meaning).unwrap_or_default();
        let mut filter = Filter { since: range.since, until: range.until, ..Filter::default() };
        for Said { meaning: Condition { field, values }, .. } in &self.conditions {
            let list = match field {
                Field::Service => &mut filter.service,
                Field::Severity => &mut filter.severity,
                Field::Source => &mut filter.source,
                Field::Status => &mut filter.status,
                Field::Host | Field::Component => {
                    let label = vocabulary.label(*field).to_owned();
                    if let Some(value) = values.first() {
                        filter.labels.entry(label).or_insert_with(|| value.clone());
                    }
                    continue;
                }
            };
            list.extend(values.iter().filter(|value| !list.contains(value)).cloned().collect::<Vec<_>>());
        }
        filter
    }

    /// The values of a field that were said.
    pub fn values(&self, field: Field) -> impl Iterator<Item = &str> {
        let of_field = self.conditions.iter().filter(move |said| said.meaning.field == field);
        of_field.filter_map(|said| said.meaning.values.first().map(String::as_str))
    }
}

struct Reading<'a> {
    text: &'a str,
    words: &'a [Word<'a>],
    /// Words that a condition took.
    taken: Vec<bool>,
    /// What the query does without.
    cut: Vec<Range<usize>>,
    understood: Understood,
}

impl Reading<'_> {
    fn span(&self, from: usize, count: usize) -> Option<Range<usize>> {
        let last = self.words.get((from + count).checked_sub(1)?)?;
        Some(self.words.get(from)?.span.start..last.span.end)
    }

    fn said<T>(&self, meaning: T, place: &Range<usize>) -> Said<T> {
        let span = Span { start: place.start, end: place.end };
        Said { meaning, phrase: self.text[place.clone()].to_owned(), span }
    }

    fn take(&mut self, from: usize, count: usize) {
        self.taken.iter_mut().skip(from).take(count).for_each(|taken| *taken = true);
    }

    fn times(&mut self, clock: Clock) {
        let mut at = 0;
        while at < self.words.len() {
            let Some(when) = when::read(&self.words[at..], clock) else {
                at += 1;
                continue;
            };
            let Some(place) = self.span(at, when.taken) else { break };
            self.take(at, when.taken);
            at += when.taken;
            self.understood.wants_deploy |= when.of_deploy;
            let Some(range) = when.range else {
                let phrase = &self.text[place];
                self.understood.notes.push(format!("\"{phrase}\" is not used: no deploy is known"));
                continue;
            };
            self.cut.push(place.clone());
            let said = self.said(range, &place);
            match &mut self.understood.time {
                None => self.understood.time = Some(said),
                Some(before) => match before.meaning.and(range) {
                    Some(both) => {
                        before.meaning = both;
                        before.span.end = place.end;
                        before.phrase = self.text[before.span.start..place.end].to_owned();
                    }
                    None => {
                        let note =
                            format!("\"{}\" is not used: it excludes \"{}\"", said.phrase, before.phrase);
                        self.understood.notes.push(note);
                    }
                },
            }
        }
    }

    fn names(&mut self, vocabulary: &Vocabulary) {
        let mut at = 0;
        while at < self.words.len() && self.understood.conditions.len() < MOST_CONDITIONS {
            let free = self.taken[at..].iter().take_while(|taken| !**taken).count();
            let before = if at > 0 { self.words.get(at - 1) } else { None };
            let found = names::read(before, &self.words[at..at + free], vocabulary);
            let Some(found) = found else {
                at += 1;
                continue;
            };
            let value = at + found.value.start..at + found.value.end;
            let (Some(place), Some(whole)) =
                (self.span(value.start, value.len()), self.span(at, found.taken))
            else {
                break;
            };
            let meaning = Condition { field: found.field, values: found.values };
            if !self.understood.conditions.iter().any(|said| said.meaning == meaning) {
                let said = self.said(meaning, &place);
                self.understood.conditions.push(said);
            }
            if found.is_cut {
                self.cut.push(whole);
            }
            self.take(at, found.taken);
            at += found.taken;
        }
    }

    /// The question without what became a condition.
    fn rest(&self) -> String {
        let mut cut = self.cut.clone();
        cut.sort_by_key(|place| place.start);
        let (mut rest, mut from) = (String::new(), 0);
        for place in cut {
            if place.start >= from {
                rest.push_str(&self.text[from..place.start]);
                rest.push(' ');
                from = place.end;
            }
        }
        rest.push_str(&self.text[from..]);
        // Marks that stood around what is gone.
        let words = rest.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric));
        let rest = words.collect::<Vec<_>>().join(" ");
        rest.trim_end_matches([',', ';', ':', ' ']).to_owned()
    }
}
