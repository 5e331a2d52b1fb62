//! Answering from the lexical index.

use std::ops::Bound;

use atlas_domain::{Filter, RecordId};
use tantivy::collector::TopDocs;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, Occur, Query, RangeQuery, TermQuery,
    TermSetQuery,
};
use tantivy::schema::{IndexRecordOption, Value};
use tantivy::{DocAddress, Order, Searcher, TantivyDocument, Term};

use super::query::{exact_candidates, query_terms};
use super::schema::{ceil_microsecond, wanted_facets};
use super::tokens::OperationsTokenizer;
use super::{LexicalHit, LexicalIndex};

/// A pasted log or stack trace has thousands of terms; the rarest of them find what it is about.
const MOST_TERMS: usize = 256;

type Clauses = Vec<(Occur, Box<dyn Query>)>;

pub(super) fn by_words(
    index: &LexicalIndex,
    text: &str,
    filter: &Filter,
    depth: usize,
) -> tantivy::Result<Vec<LexicalHit>> {
    let searcher = index.reader.searcher();
    let words = words_query(index, &searcher, text)?;
    if words.is_empty() || depth == 0 {
        return Ok(Vec::new());
    }
    let query = filtered(index, Box::new(BooleanQuery::new(words)), filter);
    let most = usize::try_from(searcher.num_docs()).unwrap_or(usize::MAX);
    // Equal scores straddling the cut would be chosen by segment order, which changes with every
    // merge. The margin lets ids decide, also among the hundreds of equal lines of a log.
    let margin = depth.saturating_mul(2).saturating_add(1024).min(most.max(1));
    let found = searcher.search(&query, &TopDocs::with_limit(margin).order_by_score())?;
    let mut hits = Vec::with_capacity(found.len());
    let cut = found.get(depth.saturating_sub(1)).map_or(f32::MIN, |(score, _)| *score);
    for (score, at) in found.into_iter().take_while(|(score, _)| *score >= cut) {
        hits.push(LexicalHit { id: id_of(index, &searcher, at)?, score });
    }
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    hits.truncate(depth);
    Ok(hits)
}

fn words_query(index: &LexicalIndex, searcher: &Searcher, text: &str) -> tantivy::Result<Clauses> {
    let field = index.fields.words;
    let mut terms = Vec::new();
    for (text, count) in query_terms(&mut OperationsTokenizer::default(), text) {
        let term = Term::from_field_text(field, &text);
        let records = searcher.doc_freq(&term)?;
        if records > 0 {
            terms.push((records, count, term));
        }
    }
    if terms.len() > MOST_TERMS {
        terms.sort_by_key(|(records, ..)| *records);
        terms.truncate(MOST_TERMS);
    }
    let clause = |(_, count, term): (u64, u32, Term)| {
        let query: Box<dyn Query> = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
        let query = if count > 1 { Box::new(BoostQuery::new(query, count as f32)) } else { query };
        (Occur::Should, query)
    };
    Ok(terms.into_iter().map(clause).collect())
}

pub(super) fn by_name(
    index: &LexicalIndex,
    text: &str,
    filter: &Filter,
    depth: usize,
) -> tantivy::Result<Vec<LexicalHit>> {
    let names = exact_candidates(text);
    if names.is_empty() || depth == 0 {
        return Ok(Vec::new());
    }
    let fields = [index.fields.exact, index.fields.id];
    let terms = names.iter().take(MOST_TERMS);
    let terms = terms.flat_map(|name| fields.map(|field| Term::from_field_text(field, name)));
    let query = filtered(index, Box::new(TermSetQuery::new(terms)), filter);
    let searcher = index.reader.searcher();
    // Twice the depth for the same reason as above: equal times are ordered by id.
    let newest = TopDocs::with_limit(depth.saturating_mul(2).saturating_add(64).min(1 << 20));
    let found = searcher.search(&query, &newest.order_by_fast_field::<i64>("at", Order::Desc))?;
    let mut hits = Vec::with_capacity(found.len());
    for (at, address) in found {
        hits.push((at, id_of(index, &searcher, address)?));
    }
    hits.sort_by(|(a_at, a), (b_at, b)| b_at.cmp(a_at).then_with(|| a.cmp(b)));
    Ok(hits.into_iter().take(depth).map(|(_, id)| LexicalHit { id, score: 1.0 }).collect())
}

/// `query` among the records that match `filter`, without a change of scores.
fn filtered(index: &LexicalIndex, query: Box<dyn Query>, filter: &Filter) -> Box<dyn Query> {
    let mut conditions = conditions(index, filter);
    if conditions.is_empty() {
        return query;
    }
    conditions.insert(0, (Occur::Must, query));
    Box::new(BooleanQuery::new(conditions))
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
    let unscored =
        |clause| -> (Occur, Box<dyn Query>) { (Occur::Must, Box::new(ConstScoreQuery::new(clause, 0.0))) };
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

fn id_of(index: &LexicalIndex, searcher: &Searcher, at: DocAddress) -> tantivy::Result<RecordId> {
    let document: TantivyDocument = searcher.doc(at)?;
    let id = document.get_first(index.fields.id).and_then(|value| value.as_str());
    id.and_then(|id| RecordId::new(id).ok()).ok_or_else(|| {
        let damage = "a document has no id".to_owned();
        tantivy::error::DataCorruption::comment_only(damage).into()
    })
}
