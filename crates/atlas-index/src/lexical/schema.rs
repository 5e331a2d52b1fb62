//! The fields of a lexical index and how a record fills them.

use atlas_domain::{Facets, Filter, Timestamp};
use tantivy::TantivyDocument;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions,
};

use super::LexicalChange;

/// The name under which the tokenizer is registered. Its number is raised when terms change:
/// the schema then differs and old directories are rebuilt.
pub(super) const TOKENIZER: &str = "operations-1";

#[derive(Debug, Clone)]
pub(super) struct Fields {
    pub(super) schema: Schema,
    pub(super) id: Field,
    /// Title and text in one field: two fields would add two saturated scores for one word, and
    /// would give records without a title another scale.
    pub(super) words: Field,
    pub(super) exact: Field,
    pub(super) facet: Field,
    pub(super) at: Field,
}

impl Fields {
    pub(super) fn new() -> Self {
        let mut builder = Schema::builder();
        let words = TextFieldIndexing::default()
            .set_tokenizer(TOKENIZER)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let id = builder.add_text_field("id", STRING | FAST);
        let words = builder.add_text_field("words", TextOptions::default().set_indexing_options(words));
        // `STRING` keeps a value as one term, without lengths or frequencies.
        let exact = builder.add_text_field("exact", STRING);
        let facet = builder.add_text_field("facet", STRING);
        let at = builder.add_i64_field("at", INDEXED | FAST);
        Self { schema: builder.build(), id, words, exact, facet, at }
    }

    /// The document of a put; `None` for a removal.
    pub(super) fn document(&self, change: &LexicalChange) -> Option<TantivyDocument> {
        let LexicalChange::Put { id, title, text, facets, exact } = change else { return None };
        let mut document = TantivyDocument::new();
        document.add_text(self.id, id.as_str());
        document.add_i64(self.at, facets.at.as_microsecond());
        // A title is indexed twice: what a record is called says more than what it mentions.
        for words in [title, title, text] {
            if !words.is_empty() {
                document.add_text(self.words, words);
            }
        }
        // Id and title name a record whatever else its writer lists. An id that is found as it
        // stands is not written twice: a million log lines have a million of them.
        let mut names: Vec<String> =
            exact.iter().map(String::as_str).chain([id.as_str(), title]).map(normal).collect();
        names.sort_unstable();
        names.dedup();
        for name in names.iter().filter(|name| !name.is_empty() && name.as_str() != id.as_str()) {
            document.add_text(self.exact, name);
        }
        for facet in facet_terms(facets) {
            document.add_text(self.facet, facet);
        }
        Some(document)
    }
}

/// Exact names are compared without case and outer white space.
pub(super) fn normal(name: &str) -> String {
    name.trim().to_lowercase()
}

/// One term per facet value, as it is written: [`Filter::matches`] compares with case.
pub(super) fn facet_term(facet: &str, value: &str) -> String {
    format!("{facet}\u{1f}{value}")
}

/// A label's facet name cannot collide with the fixed ones, which hold no separator.
pub(super) fn label_term(name: &str, value: &str) -> String {
    format!("label\u{1f}{name}\u{1f}{value}")
}

fn facet_terms(facets: &Facets) -> Vec<String> {
    let fixed = [
        ("service", &facets.service),
        ("severity", &facets.severity),
        ("source", &facets.source),
        ("status", &facets.status),
        ("link", &facets.link),
    ];
    let fixed = fixed.into_iter().filter_map(|(facet, value)| Some(facet_term(facet, value.as_deref()?)));
    fixed.chain(facets.labels.iter().map(|(name, value)| label_term(name, value))).collect()
}

/// Each inner list: at least one of its terms must be there.
pub(super) fn wanted_facets(filter: &Filter) -> Vec<Vec<String>> {
    let fixed = [
        ("service", &filter.service),
        ("severity", &filter.severity),
        ("source", &filter.source),
        ("status", &filter.status),
        ("link", &filter.link),
    ];
    let fixed = fixed
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(facet, values)| values.iter().map(|value| facet_term(facet, value)).collect());
    fixed.chain(filter.labels.iter().map(|(name, value)| vec![label_term(name, value)])).collect()
}

/// The least whole microsecond that is not before `time`: records are kept to the microsecond, so
/// a bound between two of them means the later one.
pub(super) fn ceil_microsecond(time: Timestamp) -> i64 {
    let micros =
        time.as_nanosecond().div_euclid(1000) + i128::from(time.as_nanosecond().rem_euclid(1000) != 0);
    i64::try_from(micros).expect("a timestamp of jiff ends in the year 9999")
}
