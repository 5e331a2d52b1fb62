//! A search that is possible, and how its text was read.

use atlas_domain::{Corpus, Timestamp};

use crate::api::{Legs, ReadAs, RetrievalError, SearchRequest, Syntax};
use crate::question::{self, Question};

/// Most hits in an answer.
pub(crate) const LIMIT: usize = 100;
/// What of a very long query is used: a stack trace says what it is about at its begin.
const QUERY_BYTES: usize = 16 << 10;

#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// With the conditions of the request.
    pub(crate) question: Question,
    /// Where the query was more than words.
    pub(crate) read_as: Option<ReadAs>,
    pub(crate) corpora: Vec<Corpus>,
    pub(crate) limit: usize,
    pub(crate) legs: Legs,
    pub(crate) explain: bool,
    /// Whether the query and its request ask for what excludes each other.
    pub(crate) is_contradiction: bool,
}

impl Asked {
    pub(crate) fn of(request: SearchRequest) -> Result<Self, RetrievalError> {
        let SearchRequest { mut text, syntax, mut corpora, filter, limit, legs, explain } = request;
        let refused = |field, reason: &str| Err(RetrievalError::Request { field, reason: reason.into() });
        if text.trim().is_empty() {
            return refused("query", "it is empty");
        }
        if corpora.is_empty() {
            return refused("corpora", "there is none");
        }
        if let Some(corpus) = corpora.iter().find(|corpus| !Corpus::SEARCHABLE.contains(corpus)) {
            return refused("corpora", &format!("{corpus} cannot be searched"));
        }
        if !(legs.exact || legs.lexical || legs.vector) {
            return refused("legs", "there is none");
        }
        corpora.sort_unstable();
        corpora.dedup();
        text.truncate(text.floor_char_boundary(QUERY_BYTES));
        let mut question = match syntax {
            Syntax::Words => Question::words(&text),
            Syntax::Query => question::read(&text, Timestamp::now()),
        };
        let read_as = question.read_as();
        let filter = question::both(&filter, &question.filter);
        let is_contradiction = filter.is_none();
        question.filter = filter.unwrap_or_default();
        let limit = limit.clamp(1, LIMIT);
        Ok(Self { question, read_as, corpora, limit, legs, explain, is_contradiction })
    }

    pub(crate) fn has_words(&self) -> bool {
        !self.question.text.trim().is_empty()
    }

    /// Whether the vector leg is asked.
    pub(crate) fn compares_meaning(&self) -> bool {
        self.legs.vector && self.has_words() && !self.is_contradiction
    }
}
