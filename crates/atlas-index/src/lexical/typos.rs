//! Words that are in no record, and the words they were probably meant to be.
//!
//! Looked for only where a query would otherwise find little: a word that is rare is more often
//! right than misspelt, and a walk over the vocabulary costs more than a look into it.

use std::collections::BTreeMap;

use tantivy::query::FuzzyTermQuery;
use tantivy::{Searcher, Term};

use super::LexicalIndex;

/// Words of a query that are corrected; a text with more unknown words is in another language.
const MOST_WORDS: usize = 4;
/// Readings of one word.
const MOST_READINGS: usize = 3;
/// A shorter word has too many neighbours.
const SHORTEST_WORD: usize = 4;

/// A word of the query and what was searched in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// As the index cuts it: without its ending.
    pub word: String,
    /// The most frequent first.
    pub readings: Vec<String>,
}

/// The words of the index that are one insertion, removal, replacement or exchange of neighbours
/// away from `unknown`, and begin with the same letter: the first is seldom mistyped, and a fixed
/// one makes the walk short.
pub(super) fn corrections(
    index: &LexicalIndex,
    searcher: &Searcher,
    unknown: &[String],
) -> tantivy::Result<Vec<Correction>> {
    let mut corrections = Vec::new();
    let words = unknown
        .iter()
        .filter(|word| word.chars().count() >= SHORTEST_WORD && word.chars().all(char::is_alphabetic));
    for word in words.take(MOST_WORDS) {
        let term = Term::from_field_text(index.fields.words, word);
        let automaton = FuzzyTermQuery::new(term, 1, true).automaton()?;
        let first = &word[..word.chars().next().map_or(0, char::len_utf8)];
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for segment in searcher.segment_readers() {
            let inverted = segment.inverted_index(index.fields.words)?;
            let mut stream = inverted.terms().search(&automaton).ge(first).into_stream()?;
            while stream.advance() {
                let Ok(reading) = std::str::from_utf8(stream.key()) else { continue };
                if !reading.starts_with(first) {
                    break;
                }
                *found.entry(reading.to_owned()).or_default() += u64::from(stream.value().doc_freq);
            }
        }
        let mut readings: Vec<(String, u64)> =
            found.into_iter().filter(|(reading, _)| reading.chars().all(char::is_alphabetic)).collect();
        readings.sort_by(|(a, a_records), (b, b_records)| b_records.cmp(a_records).then_with(|| a.cmp(b)));
        readings.truncate(MOST_READINGS);
        if !readings.is_empty() {
            let readings = readings.into_iter().map(|(reading, _)| reading).collect();
            corrections.push(Correction { word: word.clone(), readings });
        }
    }
    Ok(corrections)
}
