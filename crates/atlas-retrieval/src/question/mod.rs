//! Reading what a person typed into a search field.
//!
//! Words are looked for; `"a phrase"`, `field:value`, `-word` and times narrow the search. Nothing
//! is a syntax error: what cannot be read as an operator is read as words, and the answer says so
//! in its [`Note`]s. The same reading holds for every leg.
//!
//! Operations text is full of what looks like an operator (`-Xmx512m`, `reason: "x"`, `10.0.0.1:80`,
//! JSON), so only what is unlikely to be anything else counts as one: known fields with a value
//! right behind the colon, `-` in front of a plain word of three letters or more, and nothing at
//! all in a text of several lines or one that begins like JSON, which was pasted.
//!
//! Not here: what the operators do in a leg.

mod read;
#[cfg(test)]
mod tests;
mod time;

use atlas_domain::{Facets, Filter, Timestamp};
use atlas_index::Demands;
use serde::Serialize;

use crate::api::ReadAs;

pub(crate) use read::read;

/// With more words than this beside it, a quotation is part of a sentence (`page causes "script
/// not responding" error`) and counts more; with fewer it is a demand.
const WORDS_OF_A_SENTENCE: usize = 2;

/// What is asked, part by part.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Question {
    /// The words, those of phrases included.
    pub(crate) text: String,
    /// Words that stand beside each other; they count, and are no demand.
    pub(crate) phrases: Vec<String>,
    /// Facets of every answer.
    pub(crate) filter: Filter,
    /// What else every answer has, or has not.
    pub(crate) demands: Demands,
    /// What looked like an operator and was read as words.
    pub(crate) notes: Vec<Note>,
}

/// Something in a query that was not used as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The part of the query.
    pub part: String,
    /// Why, and what was done instead.
    pub reason: String,
}

impl Question {
    /// A text that is nothing but words.
    pub(crate) fn words(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// The parts, where there is more than words.
    pub(crate) fn read_as(&self) -> Option<ReadAs> {
        let words = Self { notes: self.notes.clone(), ..Self::words(&self.text) };
        let Demands { phrases, without, except, ids } = self.demands.clone();
        (*self != words).then(|| ReadAs {
            words: self.text.clone(),
            phrases: self.phrases.iter().cloned().chain(phrases).collect(),
            without,
            ids,
            filter: self.filter.clone(),
            except,
        })
    }

    /// The same question with its phrases as a wish; `None` when none was demanded.
    pub(crate) fn without_demanded_phrases(&self) -> Option<Self> {
        let mut relaxed = self.clone();
        let phrases = std::mem::take(&mut relaxed.demands.phrases);
        for phrase in &phrases {
            relaxed.note(phrase, "no record that matches the rest has this phrase; searched its words");
        }
        let any = !phrases.is_empty();
        relaxed.phrases.extend(phrases);
        any.then_some(relaxed)
    }

    /// Whether a record with these facets can be an answer.
    pub(crate) fn admits(&self, facets: &Facets) -> bool {
        self.filter.matches(facets) && !self.demands.except.iter().any(|except| except.matches(facets))
    }

    pub(crate) fn note(&mut self, part: &str, reason: impl Into<String>) {
        self.notes.push(Note { part: part.to_owned(), reason: reason.into() });
    }

    fn narrow(&mut self, bound: Bound, at: Timestamp) {
        let filter = &mut self.filter;
        match bound {
            Bound::Since => filter.since = filter.since.max(Some(at)),
            Bound::Until => filter.until = Some(filter.until.map_or(at, |earlier| earlier.min(at))),
        }
    }
}

/// Which end of a time range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Since,
    Until,
}

/// The records that match both. `None` when no record can.
pub(crate) fn both(a: &Filter, b: &Filter) -> Option<Filter> {
    let shared = |a: &[String], b: &[String]| match (a, b) {
        ([], one) | (one, []) => Some(one.to_vec()),
        (a, b) => {
            let shared: Vec<String> = a.iter().filter(|value| b.contains(value)).cloned().collect();
            (!shared.is_empty()).then_some(shared)
        }
    };
    let mut labels = a.labels.clone();
    for (name, value) in &b.labels {
        if labels.insert(name.clone(), value.clone()).is_some_and(|before| before != *value) {
            return None;
        }
    }
    Some(Filter {
        since: a.since.max(b.since),
        until: [a.until, b.until].into_iter().flatten().min(),
        service: shared(&a.service, &b.service)?,
        severity: shared(&a.severity, &b.severity)?,
        source: shared(&a.source, &b.source)?,
        status: shared(&a.status, &b.status)?,
        link: shared(&a.link, &b.link)?,
        labels,
    })
}
