//! The passages for a question: a search, or the newest records where only conditions are asked.

use std::collections::HashMap;
use std::sync::Arc;

use atlas_domain::{Corpus, Filter, Record, RecordId, RecordKey, TenantScope};
use atlas_retrieval::{Leg, Legs, Matches, Passage, Retrieval, SearchRequest, Syntax};

use super::api::{AskPassage, Widening};
use super::lookup;
use super::question::{Said, Term, TermKind};
use crate::error::FeatureError;
use crate::rca::quoting;

/// Hits that are looked through for the terms of a question.
const LOOKED_THROUGH: usize = 50;
/// Words of a question that say nothing about what is looked for.
const EMPTY_WORDS: [&str; 58] = [
    "a",
    "all",
    "and",
    "any",
    "anything",
    "are",
    "at",
    "can",
    "did",
    "do",
    "does",
    "everything",
    "find",
    "for",
    "from",
    "get",
    "give",
    "going",
    "had",
    "happened",
    "happening",
    "has",
    "have",
    "how",
    "i",
    "in",
    "is",
    "it",
    "latest",
    "list",
    "many",
    "me",
    "new",
    "newest",
    "of",
    "on",
    "or",
    "our",
    "please",
    "recent",
    "see",
    "show",
    "still",
    "tell",
    "that",
    "the",
    "there",
    "these",
    "those",
    "to",
    "was",
    "we",
    "were",
    "what",
    "whats",
    "which",
    "with",
    "you",
];

/// What is looked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) query: String,
    pub(super) corpora: Vec<Corpus>,
    pub(super) filter: Filter,
    pub(super) limit: usize,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) passages: Vec<AskPassage>,
    pub(super) matches: Matches,
    pub(super) confidence: f32,
    pub(super) degraded: Vec<Leg>,
    /// Whether it is a list of what the conditions leave.
    pub(super) is_list: bool,
}

/// The kinds of record in which a query without content (`the latest alerts`) is listed: those it
/// names, else all that are asked. `None`: it has content.
pub(super) fn listed(query: &str, corpora: &[Corpus]) -> Option<Vec<Corpus>> {
    let mut named = Vec::new();
    if !query.chars().any(char::is_alphanumeric) && !query.is_empty() {
        return None;
    }
    for word in query.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        match word.to_lowercase().as_str() {
            "alert" | "alerts" => named.push(Corpus::Alerts),
            "incident" | "incidents" => named.push(Corpus::Incidents),
            "log" | "logs" | "line" | "lines" | "entries" | "messages" => named.push(Corpus::Logs),
            "runbook" | "runbooks" => named.push(Corpus::Runbooks),
            "firing" | "fired" | "open" | "opened" => {}
            word if EMPTY_WORDS.contains(&word) || word.len() == 1 => {}
            _ => return None,
        }
    }
    named.retain(|corpus| corpora.contains(corpus));
    Some(if named.is_empty() { corpora.to_vec() } else { named })
}

pub(super) async fn find(
    retrieval: &Retrieval,
    scope: &TenantScope,
    wanted: &Wanted,
    terms: &[Said<Term>],
) -> Result<Found, FeatureError> {
    if let Some(corpora) = listed(&wanted.query, &wanted.corpora) {
        return list(retrieval, scope, &corpora, wanted).await;
    }
    let limit = if terms.is_empty() { wanted.limit } else { wanted.limit.max(LOOKED_THROUGH) };
    let request = SearchRequest {
        text: wanted.query.clone(),
        // A question is prose: `-word` and `field:value` in it are what somebody quoted.
        syntax: Syntax::Words,
        corpora: wanted.corpora.clone(),
        filter: wanted.filter.clone(),
        limit,
        legs: Legs::HYBRID,
        explain: false,
    };
    let answer = retrieval.search(scope, request).await?;
    let mut passages: Vec<AskPassage> = answer
        .hits
        .into_iter()
        .map(|hit| passage(hit.key, hit.title, hit.passage, hit.facets, Some(hit.score)))
        .collect();
    let (mut matches, mut confidence) = (answer.matches, answer.confidence);
    if !terms.is_empty() {
        let mut holding = holding(retrieval, scope, &passages, terms).await?;
        for passage in &mut passages {
            passage.contains = holding.remove(&passage.key).unwrap_or_default();
        }
        // Stable: among equals the search decides.
        passages.sort_by_key(|passage| std::cmp::Reverse(passage.contains.len()));
        (matches, confidence) = judged(&passages, terms, matches, confidence);
    }
    passages.truncate(wanted.limit);
    number(&mut passages);
    Ok(Found { passages, matches, confidence, degraded: answer.degraded, is_list: false })
}

/// An id or an address is looked for as it stands: a record without it is about something else,
/// and one with it is about the question however little the rest of the words have in common.
fn judged(
    passages: &[AskPassage],
    terms: &[Said<Term>],
    matches: Matches,
    confidence: f32,
) -> (Matches, f32) {
    let demanded = || terms.iter().filter(|said| matches!(said.meaning.kind, TermKind::Id | TermKind::Ip));
    if demanded().next().is_none() {
        return (matches, confidence);
    }
    let has_one =
        |passage: &AskPassage| demanded().any(|said| passage.contains.contains(&said.meaning.value));
    match (passages.iter().any(has_one), matches) {
        (false, _) => (Matches::None, 0.0),
        (true, Matches::None) => (Matches::Weak, confidence),
        (true, matches) => (matches, confidence),
    }
}

/// Whether a term stands in a text as a whole; both in lower case.
fn stands_in(term: &str, text: &str) -> bool {
    let starts_word = term.starts_with(char::is_alphanumeric);
    !term.is_empty()
        && text.match_indices(term).any(|(at, _)| {
            let goes_on = text[at + term.len()..].starts_with(char::is_alphanumeric);
            let began = starts_word && text[..at].ends_with(char::is_alphanumeric);
            !(began || (goes_on && term.ends_with(char::is_alphanumeric)))
        })
}

/// Which terms the records of the passages have, in letters of any size. Whole records are read
/// for it, so it is done where the store is read.
async fn holding(
    retrieval: &Retrieval,
    scope: &TenantScope,
    passages: &[AskPassage],
    terms: &[Said<Term>],
) -> Result<HashMap<RecordKey, Vec<String>>, FeatureError> {
    let mut ids: HashMap<Corpus, Vec<RecordId>> = HashMap::new();
    for passage in passages {
        ids.entry(passage.key.corpus).or_default().push(passage.key.id.clone());
    }
    let terms: Arc<[(String, String)]> =
        terms.iter().map(|said| (said.meaning.value.to_lowercase(), said.meaning.value.clone())).collect();
    let mut holding = HashMap::new();
    for (corpus, ids) in ids {
        let (scope, terms) = (scope.clone(), terms.clone());
        let found = retrieval.read(move |store| {
            let of_record = |record: Record| {
                let text = format!("{}\n{}", record.title, record.text).to_lowercase();
                let held = terms.iter().filter(|(lower, _)| stands_in(lower, &text));
                (record.key, held.map(|(_, term)| term.clone()).collect())
            };
            Ok(store.get_many(&scope, corpus, &ids)?.into_iter().map(of_record).collect::<Vec<_>>())
        });
        holding.extend(found.await?);
    }
    Ok(holding)
}

/// The newest records that the conditions leave.
async fn list(
    retrieval: &Retrieval,
    scope: &TenantScope,
    corpora: &[Corpus],
    wanted: &Wanted,
) -> Result<Found, FeatureError> {
    let mut records: Vec<Record> = Vec::new();
    for corpus in corpora {
        let newest = lookup::newest(retrieval, scope, *corpus, wanted.filter.clone(), wanted.limit).await?;
        records.extend(newest);
    }
    records.sort_by(|a, b| b.facets.at.cmp(&a.facets.at).then_with(|| a.key.cmp(&b.key)));
    records.truncate(wanted.limit);
    let mut passages: Vec<AskPassage> = records
        .into_iter()
        .map(|record| {
            let text = Passage {
                heading: String::new(),
                text: record.text.chars().take(LISTED_CHARACTERS).collect(),
            };
            passage(record.key, record.title, text, record.facets, None)
        })
        .collect();
    number(&mut passages);
    let (matches, confidence) = if passages.is_empty() { (Matches::None, 0.0) } else { (Matches::Good, 1.0) };
    Ok(Found { passages, matches, confidence, degraded: Vec::new(), is_list: true })
}

/// Of a record in a list; a runbook is as long as a book.
const LISTED_CHARACTERS: usize = 1_600;

fn passage(
    key: RecordKey,
    title: String,
    passage: Passage,
    facets: atlas_domain::Facets,
    score: Option<f32>,
) -> AskPassage {
    // Signs that nobody sees are taken out, so that no quotation can carry them either.
    let [title, heading, text] = [title, passage.heading, passage.text].map(|text| quoting::visible(&text));
    AskPassage { evidence_id: String::new(), key, title, heading, text, facets, score, contains: Vec::new() }
}

fn number(passages: &mut [AskPassage]) {
    passages.iter_mut().zip(1..).for_each(|(passage, number)| passage.evidence_id = format!("P{number}"));
}

/// Which conditions are why nothing matches: each is left out once, then all of them.
pub(super) async fn widen(
    retrieval: &Retrieval,
    scope: &TenantScope,
    wanted: &Wanted,
    terms: &[Said<Term>],
) -> Result<Vec<Widening>, FeatureError> {
    let mut widened = Vec::new();
    let mut ways = without_one(&wanted.filter);
    if ways.len() > 1 {
        ways.push(("all".to_owned(), Filter::default()));
    }
    for (without, filter) in ways {
        let wanted = Wanted { filter, limit: 1, ..wanted.clone() };
        let found = find(retrieval, scope, &wanted, terms).await?;
        if found.matches != Matches::None {
            widened.push(Widening { without, matches: found.matches });
        }
    }
    Ok(widened)
}

/// A filter without one of its conditions, with the condition's name. At most six and a label.
fn without_one(filter: &Filter) -> Vec<(String, Filter)> {
    let mut ways = Vec::new();
    let mut add = |name: String, change: &dyn Fn(&mut Filter)| {
        let mut without = filter.clone();
        change(&mut without);
        if without != *filter {
            ways.push((name, without));
        }
    };
    add("time".into(), &|filter| (filter.since, filter.until) = (None, None));
    add("service".into(), &|filter| filter.service.clear());
    add("severity".into(), &|filter| filter.severity.clear());
    add("source".into(), &|filter| filter.source.clear());
    add("status".into(), &|filter| filter.status.clear());
    add("link".into(), &|filter| filter.link.clear());
    for label in filter.labels.keys().take(4) {
        add(format!("label.{label}"), &|filter| {
            filter.labels.remove(label);
        });
    }
    ways
}
