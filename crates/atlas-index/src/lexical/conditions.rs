//! What a record has to have, or must not have, to be an answer at all.

use std::ops::Bound;

use atlas_domain::{Filter, RecordId};
use tantivy::Term;
use tantivy::query::{
    AllQuery, BooleanQuery, ConstScoreQuery, EmptyQuery, Occur, PhraseQuery, Query, RangeQuery, TermQuery,
    TermSetQuery,
};
use tantivy::schema::IndexRecordOption;

use super::LexicalIndex;
use super::schema::{ceil_microsecond, wanted_facets};
use super::tokens::OperationsTokenizer;

/// What is asked of a record beside its words and facets. Empty: nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demands {
    /// It has every one of these phrases.
    pub phrases: Vec<String>,
    /// It has none of these words and phrases.
    pub without: Vec<String>,
    /// It matches none of these.
    pub except: Vec<Filter>,
    /// If any: it is one of these.
    pub ids: Vec<RecordId>,
}

impl Demands {
    /// None.
    pub const NONE: Self =
        Self { phrases: Vec::new(), without: Vec::new(), except: Vec::new(), ids: Vec::new() };

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }
}

type Clauses = Vec<(Occur, Box<dyn Query>)>;

/// `query` among the records that match `filter` and `demands`, without a change of scores.
pub(super) fn narrowed(
    index: &LexicalIndex,
    query: Box<dyn Query>,
    filter: &Filter,
    demands: &Demands,
) -> Box<dyn Query> {
    let mut clauses = conditions(index, filter);
    clauses.extend(demanded(index, demands));
    if clauses.is_empty() {
        return query;
    }
    clauses.insert(0, (Occur::Must, query));
    Box::new(BooleanQuery::new(clauses))
}

fn demanded(index: &LexicalIndex, demands: &Demands) -> Clauses {
    let mut clauses: Clauses = Vec::new();
    for phrase in demands.phrases.iter().filter_map(|phrase| phrase_query(index, phrase)) {
        clauses.push(unscored(phrase));
    }
    clauses.extend(excluded(index, demands).map(|excluded| (Occur::MustNot, excluded)));
    if !demands.ids.is_empty() {
        clauses.push(unscored(Box::new(ids_query(index, &demands.ids))));
    }
    clauses
}

/// The union of what is left out.
fn excluded(index: &LexicalIndex, demands: &Demands) -> Option<Box<dyn Query>> {
    let phrases = demands.without.iter().filter_map(|phrase| phrase_query(index, phrase));
    let conditions = demands.except.iter().map(|filter| conditions(index, filter));
    let conditions = conditions.filter(|conditions| !conditions.is_empty());
    let conditions =
        conditions.map(|conditions| -> Box<dyn Query> { Box::new(BooleanQuery::new(conditions)) });
    let mut parts: Vec<Box<dyn Query>> = phrases.chain(conditions).collect();
    // tantivy 0.27 asks a lone phrase or intersection for documents that it has passed, which both
    // forbid. A union may be asked, and one needs two parts to be built as such.
    parts.extend(parts.first().map(|first| first.box_clone()));
    let union: Clauses = parts.into_iter().map(|part| (Occur::Should, part)).collect();
    (!union.is_empty()).then(|| -> Box<dyn Query> { Box::new(BooleanQuery::new(union)) })
}

/// The records of these ids.
pub(super) fn ids_query(index: &LexicalIndex, ids: &[RecordId]) -> TermSetQuery {
    TermSetQuery::new(ids.iter().map(|id| Term::from_field_text(index.fields.id, id.as_str())))
}

/// The words of `text` beside each other. Words, not parts of words: a compound stands for itself.
/// `None` when there is no word.
pub(super) fn phrase_query(index: &LexicalIndex, text: &str) -> Option<Box<dyn Query>> {
    let mut wholes: Vec<(usize, Term)> = Vec::new();
    for term in OperationsTokenizer::default().terms(text) {
        if wholes.last().is_none_or(|(position, _)| *position != term.position) {
            wholes.push((term.position, Term::from_field_text(index.fields.words, &term.text)));
        }
    }
    match wholes.len() {
        0 => None,
        1 => wholes.pop().map(|(_, word)| -> Box<dyn Query> {
            Box::new(TermQuery::new(word, IndexRecordOption::WithFreqs))
        }),
        _ => Some(Box::new(PhraseQuery::new_with_offset(wholes))),
    }
}

fn unscored(query: Box<dyn Query>) -> (Occur, Box<dyn Query>) {
    (Occur::Must, Box::new(ConstScoreQuery::new(query, 0.0)))
}

fn conditions(index: &LexicalIndex, filter: &Filter) -> Clauses {
    let mut clauses: Vec<Box<dyn Query>> = Vec::new();
    for values in wanted_facets(filter) {
        let terms = values.iter().map(|value| Term::from_field_text(index.fields.facet, value));
        clauses.push(Box::new(TermSetQuery::new(terms)));
    }
    if filter.since.is_some() || filter.until.is_some() {
        clauses.push(time_query(index, filter));
    }
    clauses.into_iter().map(unscored).collect()
}

fn time_query(index: &LexicalIndex, filter: &Filter) -> Box<dyn Query> {
    let term = |time| Term::from_field_i64(index.fields.at, ceil_microsecond(time));
    // A range that ends before it begins is legal to ask and matches nothing.
    if let (Some(since), Some(until)) = (filter.since, filter.until)
        && since >= until
    {
        return Box::new(EmptyQuery);
    }
    let lower = filter.since.map_or(Bound::Unbounded, |since| Bound::Included(term(since)));
    let upper = filter.until.map_or(Bound::Unbounded, |until| Bound::Excluded(term(until)));
    match (&lower, &upper) {
        (Bound::Unbounded, Bound::Unbounded) => Box::new(AllQuery),
        _ => Box::new(RangeQuery::new(lower, upper)),
    }
}
