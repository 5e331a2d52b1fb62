//! Answering from the lexical index.

use std::collections::HashSet;

use atlas_domain::{Filter, RecordId};
use tantivy::collector::{DocSetCollector, TopDocs};
use tantivy::columnar::StrColumn;
use tantivy::query::{AllQuery, BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, Order, Searcher, Term};

use super::conditions::{Demands, ids_query, narrowed, phrase_query};
use super::query::{exact_candidates, query_terms};
use super::tokens::OperationsTokenizer;
use super::typos::{Correction, corrections};
use super::{LexicalAnswer, LexicalHit, LexicalIndex, LexicalQuery};

/// A pasted log or stack trace has thousands of terms; the rarest of them find what it is about.
const MOST_TERMS: usize = 256;
/// With fewer hits than this, unknown words are taken for misspelt ones.
const FEW_HITS: usize = 5;
/// Records from which on a search does not go over those that have nothing but common words of the
/// query: all lines of a service that writes the name of the service into each.
const MANY_RECORDS: u64 = if cfg!(test) { 400 } else { 100_000 };
/// One record in this many, or more, has a common word.
const COMMON: u64 = 8;
/// A correction is a guess.
const CORRECTION_WEIGHT: f32 = 0.5;

type Clauses = Vec<(Occur, Box<dyn Query>)>;

pub(super) fn by_words(
    index: &LexicalIndex,
    asked: LexicalQuery<'_>,
    depth: usize,
) -> tantivy::Result<LexicalAnswer> {
    let searcher = index.reader.searcher();
    let mut answer = LexicalAnswer::default();
    if depth == 0 {
        return Ok(answer);
    }
    let words = Words::of(index, &searcher, asked.text)?;
    if words.is_empty() && asked.text.trim().is_empty() {
        // Conditions alone: the newest records that fulfil them.
        if !(asked.filter.is_empty() && asked.demands.is_empty()) {
            let all = Box::new(AllQuery);
            answer.hits = newest(index, &searcher, all, asked.filter, asked.demands, depth)?;
            // Nothing but the order tells them apart, and whoever merges legs goes by scores.
            for (place, hit) in (1u16..).zip(&mut answer.hits) {
                hit.score = 1.0 / f32::from(place);
            }
        }
        return Ok(answer);
    }
    answer.best_possible = words.best_possible;
    if let Some(clauses) = words.clauses_of_rare(asked.phrases) {
        answer.hits = ranked(index, &searcher, clauses, asked, depth)?;
    }
    if answer.hits.is_empty() {
        answer.hits = ranked(index, &searcher, words.clauses(index, asked.phrases), asked, depth)?;
    }
    if answer.hits.len() < FEW_HITS && !words.unknown.is_empty() {
        answer.corrections = corrections(index, &searcher, &words.unknown)?;
        if !answer.corrections.is_empty() {
            let mut clauses = words.clauses(index, asked.phrases);
            clauses.extend(corrected(index, &answer.corrections));
            answer.hits = ranked(index, &searcher, clauses, asked, depth)?;
        }
    }
    Ok(answer)
}

/// The terms of a query that are in the index, and the words that are not.
struct Words {
    known: Vec<Word>,
    unknown: Vec<String>,
    /// The sum of what each can give to a score.
    best_possible: f32,
    /// Records in the index.
    n_all: u64,
}

struct Word {
    term: Term,
    n_records: u64,
    count: u32,
    is_identifier: bool,
}

impl Word {
    fn clause(&self) -> (Occur, Box<dyn Query>) {
        // A line with an address as source and as destination is no more about the address.
        let counting =
            if self.is_identifier { IndexRecordOption::Basic } else { IndexRecordOption::WithFreqs };
        let query = Box::new(TermQuery::new(self.term.clone(), counting));
        (Occur::Should, boosted(query, self.count as f32))
    }
}

impl Words {
    fn of(index: &LexicalIndex, searcher: &Searcher, text: &str) -> tantivy::Result<Self> {
        let n_all: u64 = searcher.segment_readers().iter().map(|segment| u64::from(segment.max_doc())).sum();
        let mut words = Self { known: Vec::new(), unknown: Vec::new(), best_possible: 0.0, n_all };
        let mut best = Vec::new();
        for (text, count) in query_terms(&mut OperationsTokenizer::default(), text) {
            let term = Term::from_field_text(index.fields.words, &text);
            let n_records = searcher.doc_freq(&term)?;
            best.push(count as f32 * most_for_one(n_records, n_all));
            if n_records == 0 {
                words.unknown.push(text);
            } else {
                words.known.push(Word { term, n_records, count, is_identifier: is_identifier(&text) });
            }
        }
        if words.known.len() > MOST_TERMS {
            words.known.sort_by_key(|word| word.n_records);
            words.known.truncate(MOST_TERMS);
            best.sort_by(|a, b| b.total_cmp(a));
            best.truncate(MOST_TERMS);
        }
        words.best_possible = best.into_iter().sum();
        Ok(words)
    }

    fn is_empty(&self) -> bool {
        self.known.is_empty() && self.unknown.is_empty()
    }

    /// Records with any of the words or phrases.
    fn clauses(&self, index: &LexicalIndex, phrases: &[String]) -> Clauses {
        let words = self.known.iter().map(Word::clause);
        let phrases = phrases.iter().filter_map(|phrase| Some((Occur::Should, phrase_query(index, phrase)?)));
        words.chain(phrases).collect()
    }

    /// Records with one of the rare words, where there are many records, and common words too: those
    /// count for the records that are found.
    fn clauses_of_rare(&self, phrases: &[String]) -> Option<Clauses> {
        let is_common = |word: &&Word| word.n_records.saturating_mul(COMMON) >= self.n_all;
        let (common, rare): (Vec<&Word>, Vec<&Word>) = self.known.iter().partition(is_common);
        if self.n_all < MANY_RECORDS || common.is_empty() || rare.is_empty() || !phrases.is_empty() {
            return None;
        }
        let rare: Clauses = rare.into_iter().map(Word::clause).collect();
        let rare: Box<dyn Query> = Box::new(BooleanQuery::new(rare));
        Some([(Occur::Must, rare)].into_iter().chain(common.into_iter().map(Word::clause)).collect())
    }
}

/// What BM25 gives at most for a word that `n_records` of `n_all` have: its rarity times the limit
/// that repetition goes to, with tantivy's constant of 1.2.
fn most_for_one(n_records: u64, n_all: u64) -> f32 {
    let (has, has_not) = (n_records as f32 + 0.5, n_all.saturating_sub(n_records) as f32 + 0.5);
    (1.0 + has_not / has).ln() * 2.2
}

/// Four digits or more: an address, a block, a trace, a moment.
fn is_identifier(term: &str) -> bool {
    term.chars().filter(char::is_ascii_digit).nth(3).is_some()
}

fn boosted(query: Box<dyn Query>, factor: f32) -> Box<dyn Query> {
    if factor == 1.0 { query } else { Box::new(BoostQuery::new(query, factor)) }
}

fn corrected(index: &LexicalIndex, corrections: &[Correction]) -> Clauses {
    let readings = corrections.iter().flat_map(|correction| &correction.readings);
    let clause = |reading: &String| {
        let term = Term::from_field_text(index.fields.words, reading);
        let word = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
        (Occur::Should, boosted(word, CORRECTION_WEIGHT))
    };
    readings.map(clause).collect()
}

fn ranked(
    index: &LexicalIndex,
    searcher: &Searcher,
    clauses: Clauses,
    asked: LexicalQuery<'_>,
    depth: usize,
) -> tantivy::Result<Vec<LexicalHit>> {
    if clauses.is_empty() {
        return Ok(Vec::new());
    }
    let query = narrowed(index, Box::new(BooleanQuery::new(clauses)), asked.filter, asked.demands);
    let (found, cut) = best_with_ties(searcher, &query, depth)?;
    let mut ids = Ids::of(searcher)?;
    let mut hits = Vec::with_capacity(depth.min(found.len()));
    for (score, at) in found.into_iter().take_while(|(score, _)| *score >= cut) {
        hits.push(LexicalHit { id: ids.at(at)?, score });
    }
    hits.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
    hits.truncate(depth);
    Ok(hits)
}

/// The best documents, with those that score as much as the last one wanted, and what that one
/// scores. Equal scores straddling the cut would be chosen by segment order, which changes with every
/// merge; so ids decide, also among the hundreds of equal lines of a log.
fn best_with_ties(
    searcher: &Searcher,
    query: &dyn Query,
    depth: usize,
) -> tantivy::Result<(Vec<(f32, DocAddress)>, f32)> {
    // The fewer are asked for, the more is skipped, and mostly few are equal.
    let most = usize::try_from(searcher.num_docs()).unwrap_or(usize::MAX).max(1);
    let margins = [32, 1024 + depth].map(|margin| depth.saturating_add(margin).min(most));
    let mut best = (Vec::new(), f32::MIN);
    for limit in margins {
        let found = searcher.search(query, &TopDocs::with_limit(limit).order_by_score())?;
        let cut = found.get(depth.saturating_sub(1)).map_or(f32::MIN, |(score, _)| *score);
        let is_whole = found.len() < limit || found.last().is_none_or(|(score, _)| *score < cut);
        best = (found, cut);
        if is_whole {
            break;
        }
    }
    Ok(best)
}

pub(super) fn by_name(
    index: &LexicalIndex,
    asked: LexicalQuery<'_>,
    depth: usize,
) -> tantivy::Result<Vec<LexicalHit>> {
    let names = exact_candidates(asked.text);
    if names.is_empty() || depth == 0 {
        return Ok(Vec::new());
    }
    let fields = [index.fields.exact, index.fields.id];
    let terms = names.iter().take(MOST_TERMS);
    let terms = terms.flat_map(|name| fields.map(|field| Term::from_field_text(field, name)));
    let searcher = index.reader.searcher();
    // A set of terms as a query is an automaton, which costs a hundred times this.
    let mut named: Clauses = Vec::new();
    for term in terms {
        if searcher.doc_freq(&term)? > 0 {
            named.push((Occur::Should, Box::new(TermQuery::new(term, IndexRecordOption::Basic))));
        }
    }
    if named.is_empty() {
        return Ok(Vec::new());
    }
    newest(index, &searcher, Box::new(BooleanQuery::new(named)), asked.filter, asked.demands, depth)
}

/// Those of `ids` that fulfil the demands.
pub(super) fn admitted(
    index: &LexicalIndex,
    ids: &[RecordId],
    demands: &Demands,
) -> tantivy::Result<HashSet<RecordId>> {
    let searcher = index.reader.searcher();
    let query = narrowed(index, Box::new(ids_query(index, ids)), &Filter::default(), demands);
    let found = searcher.search(&query, &DocSetCollector)?;
    let mut ids = Ids::of(&searcher)?;
    found.into_iter().map(|at| ids.at(at)).collect()
}

fn newest(
    index: &LexicalIndex,
    searcher: &Searcher,
    query: Box<dyn Query>,
    filter: &Filter,
    demands: &Demands,
    depth: usize,
) -> tantivy::Result<Vec<LexicalHit>> {
    let query = narrowed(index, query, filter, demands);
    // Twice the depth for the same reason as above: equal times are ordered by id.
    let newest = TopDocs::with_limit(depth.saturating_mul(2).saturating_add(64).min(1 << 20));
    let found = searcher.search(&query, &newest.order_by_fast_field::<i64>("at", Order::Desc))?;
    let mut ids = Ids::of(searcher)?;
    let mut hits = Vec::with_capacity(found.len());
    for (at, address) in found {
        hits.push((at, ids.at(address)?));
    }
    hits.sort_by(|(a_at, a), (b_at, b)| b_at.cmp(a_at).then_with(|| a.cmp(b)));
    Ok(hits.into_iter().take(depth).map(|(_, id)| LexicalHit { id, score: 1.0 }).collect())
}

/// The ids of documents, from a column: the store of whole documents is compressed in blocks, and
/// a hundred hits lie in as many blocks.
struct Ids {
    columns: Vec<Option<StrColumn>>,
    text: String,
}

impl Ids {
    fn of(searcher: &Searcher) -> tantivy::Result<Self> {
        let column = |segment: &tantivy::SegmentReader| segment.fast_fields().str("id");
        let columns = searcher.segment_readers().iter().map(column).collect::<tantivy::Result<_>>()?;
        Ok(Self { columns, text: String::new() })
    }

    fn at(&mut self, at: DocAddress) -> tantivy::Result<RecordId> {
        self.text.clear();
        let column = self.columns.get(at.segment_ord as usize).and_then(Option::as_ref);
        if let Some(column) = column
            && let Some(ordinal) = column.term_ords(at.doc_id).next()
        {
            column.ord_to_str(ordinal, &mut self.text)?;
        }
        RecordId::new(self.text.as_str()).map_err(|_| {
            let damage = "a document has no id".to_owned();
            tantivy::error::DataCorruption::comment_only(damage).into()
        })
    }
}
