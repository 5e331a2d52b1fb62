//! The lexical leg: whole records by their words, names and facets, on tantivy.
//!
//! One index per tenant and corpus: a shared one would leak term statistics across tenants. The
//! directory is derived data. Its commit carries the change number it covers, so that the caller
//! knows what to replay, and a directory that cannot be trusted is set aside, never repaired.
//!
//! The writer lives for one [`LexicalIndex::apply`] only: its threads and buffers are the larger
//! part of an open index's memory, and most tenants are idle most of the time.

mod conditions;
mod open;
mod query;
mod schema;
mod search;
mod tokens;
mod typos;

#[cfg(test)]
mod asking_tests;
#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

use atlas_domain::{Facets, Filter, RecordId, Seq};
use tantivy::indexer::LogMergePolicy;
use tantivy::{Index, IndexReader, IndexWriter, TantivyDocument, Term};

use crate::IndexError;
pub use conditions::Demands;
pub use query::matched_words;
use schema::Fields;
pub use typos::Correction;

/// Room for ten thousand log lines in one segment; a batch that needs more is cut into several,
/// which are merged. Taken as it is filled, and only while a batch is applied.
const WRITER_BYTES: usize = 64_000_000;

/// Segments above this many documents are merged with nothing: a merge runs inside `apply`, and
/// must not hold up the next batch for long.
const LARGEST_MERGED_SEGMENT: usize = 200_000;

/// One change of a record, as the lexical leg sees it.
#[expect(
    clippy::large_enum_variant,
    reason = "removals are few among puts, and a box per put would cost more"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum LexicalChange {
    /// Adds or replaces a record.
    Put {
        /// Which record.
        id: RecordId,
        /// Its title.
        title: String,
        /// Its text.
        text: String,
        /// What it is filtered by.
        facets: Facets,
        /// Names by which it is found exactly, besides its id and title.
        exact: Vec<String>,
    },
    /// Removes a record.
    Remove {
        /// Which record.
        id: RecordId,
    },
}

/// What the lexical leg is asked.
#[derive(Debug, Clone, Copy)]
pub struct LexicalQuery<'a> {
    /// Words to look for. Without any, the newest records that fulfil the conditions are found.
    pub text: &'a str,
    /// Phrases that count beside the words.
    pub phrases: &'a [String],
    /// Facets of every answer.
    pub filter: &'a Filter,
    /// What else an answer has, or has not.
    pub demands: &'a Demands,
}

impl<'a> LexicalQuery<'a> {
    /// Words and facets, and nothing else.
    pub fn words(text: &'a str, filter: &'a Filter) -> Self {
        static NONE: Demands = Demands::NONE;
        Self { text, phrases: &[], filter, demands: &NONE }
    }
}

/// What the lexical leg found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LexicalAnswer {
    /// Best first, ties by id.
    pub hits: Vec<LexicalHit>,
    /// What a record would score that is about nothing but the words of the query, known or not.
    pub best_possible: f32,
    /// Words that are in no record, and what was searched in their place.
    pub corrections: Vec<Correction>,
}

/// A record that the lexical leg found.
#[derive(Debug, Clone, PartialEq)]
pub struct LexicalHit {
    /// Which record.
    pub id: RecordId,
    /// BM25, or 1 for an exact match.
    pub score: f32,
}

/// An opened index and what the caller has to do about it.
#[derive(Debug)]
pub struct Opened {
    /// The index.
    pub index: LexicalIndex,
    /// The last change it covers; replay what came after.
    pub seq: Seq,
    /// Why an old directory was set aside, if one was; `seq` is 0 then.
    pub rebuilt: Option<String>,
}

/// Words, names and facets of one tenant's corpus. Searches run beside each other and beside one
/// `apply`; calls block, so make them off the async workers.
pub struct LexicalIndex {
    index: Index,
    reader: IndexReader,
    fields: Fields,
    /// Held during `apply`: tantivy refuses a second writer.
    writing: Mutex<()>,
}

impl std::fmt::Debug for LexicalIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LexicalIndex").field("records", &self.len()).finish_non_exhaustive()
    }
}

impl LexicalIndex {
    /// Opens or creates the index in `dir`, or one in memory.
    ///
    /// A directory that is damaged, unreadable or of another version is renamed to
    /// `<name>.damaged-<n>` (the newest two are kept) and an empty index takes its place; see
    /// [`Opened::rebuilt`].
    pub fn open(dir: Option<&Path>) -> Result<Opened, IndexError> {
        match dir {
            Some(dir) => open::in_dir(dir),
            None => open::in_memory(),
        }
    }

    /// Applies changes in order in one durable commit that covers everything up to `seq`. They
    /// are searchable when it returns.
    pub fn apply(&self, changes: &[LexicalChange], seq: Seq) -> Result<(), IndexError> {
        // The guarded value is the right to write; a panic of an earlier holder took nothing.
        let _writing = self.writing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        guarded("written", || self.write(changes, seq))
    }

    fn write(&self, changes: &[LexicalChange], seq: Seq) -> tantivy::Result<()> {
        let mut writer: IndexWriter<TantivyDocument> = self.index.writer_with_num_threads(1, WRITER_BYTES)?;
        let mut policy = LogMergePolicy::default();
        policy.set_max_docs_before_merge(LARGEST_MERGED_SEGMENT);
        policy.set_del_docs_ratio_before_merge(0.2);
        writer.set_merge_policy(Box::new(policy));
        for change in changes {
            let (LexicalChange::Put { id, .. } | LexicalChange::Remove { id }) = change;
            writer.delete_term(Term::from_field_text(self.fields.id, id.as_str()));
            if let Some(document) = self.fields.document(change) {
                writer.add_document(document)?;
            }
        }
        let mut commit = writer.prepare_commit()?;
        commit.set_payload(&open::payload(seq));
        commit.commit()?;
        self.reader.reload()?;
        // Dropping the writer would abandon its merges, and segments would pile up.
        writer.wait_merging_threads()?;
        self.reader.reload()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        usize::try_from(self.reader.searcher().num_docs()).unwrap_or(usize::MAX)
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Records by words, best first, ties by id. Any text is a query.
    pub fn search(&self, asked: LexicalQuery<'_>, depth: usize) -> Result<LexicalAnswer, IndexError> {
        guarded("searched", || search::by_words(self, asked, depth))
    }

    /// Records one of whose names is the whole query or an identifier in it, newest first, ties
    /// by id.
    pub fn exact(&self, asked: LexicalQuery<'_>, depth: usize) -> Result<Vec<LexicalHit>, IndexError> {
        guarded("searched", || search::by_name(self, asked, depth))
    }

    /// Those of `ids` that fulfil the demands: how another leg keeps to them.
    pub fn admitted(&self, ids: &[RecordId], demands: &Demands) -> Result<HashSet<RecordId>, IndexError> {
        guarded("searched", || search::admitted(self, ids, demands))
    }
}

/// Runs tantivy code and turns its failures into ours. Checksums catch damage at the opening; what
/// happens to the files later shows up as a failed assertion inside tantivy, which must cost one
/// answer and not the process.
fn guarded<T>(action: &'static str, call: impl FnOnce() -> tantivy::Result<T>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(tantivy::TantivyError::DataCorruption(damage))) => {
            Err(IndexError::Damaged { detail: format!("{damage:?}") })
        }
        Ok(Err(source)) => Err(IndexError::Lexical { action, source: Box::new(source) }),
        Err(_) => Err(IndexError::Damaged {
            detail: format!("it could not be {action} without a failed assertion"),
        }),
    }
}
