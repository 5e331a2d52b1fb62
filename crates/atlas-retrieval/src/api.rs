//! What the search path offers.

use std::path::PathBuf;
use std::time::Duration;

use atlas_domain::{Corpus, Facets, Fault, Filter, RecordDraft, RecordId, RecordKey, Retry, Seq};
use atlas_embed::{EmbedError, EmbeddingSpace};
use atlas_guard::GuardError;
use atlas_index::VectorKind;
use atlas_store::{Outcome, StoreError};
use serde::Serialize;

pub use crate::question::Note;

/// A record to write and how it is cut into passages.
#[derive(Debug, Clone)]
pub struct Document {
    /// The record.
    pub record: RecordDraft,
    /// Its passages.
    pub passages: Passages,
}

/// How a document's text becomes chunks.
#[derive(Debug, Clone)]
pub enum Passages {
    /// No chunks, no vectors: found by keywords, or through its template.
    None,
    /// One chunk, cut at the model's limit by the engine.
    Whole(String),
    /// CommonMark: split at headings, then at a token budget; code blocks stay whole.
    Markdown(String),
}

/// One write of a batch.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "nearly every write is a put; boxing them would save nothing")]
pub enum Write {
    /// Writes a document.
    Put(Document),
    /// Removes a record.
    Delete(RecordKey),
}

/// What a batch of writes did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutReport {
    /// The tenant's change number after it.
    pub seq: Seq,
    /// One per write, in order.
    pub outcomes: Vec<Outcome>,
    /// Chunks that were stored without a vector and will be embedded in the background.
    pub pending_vectors: usize,
}

/// Settings of the search path.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where derived lexical indexes live, one folder per tenant; `None`: in memory.
    pub index_dir: Option<PathBuf>,
    /// What finds the nearest vectors.
    pub vector_index: VectorKind,
    /// Rows from which a vector leg has a file in `index_dir`, so that a start reads it instead of
    /// the store. Default 16,384, which the store gives in a tenth of a second.
    pub vector_files_from: u64,
    /// How long nobody asks for a tenant until its indexes and database are closed; `None`: they
    /// stay open. Default 15 minutes.
    pub idle_after: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            index_dir: None,
            vector_index: VectorKind::default(),
            vector_files_from: 16 * 1024,
            idle_after: Some(Duration::from_mins(15)),
        }
    }
}

/// A way to find things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Leg {
    /// An id, alert name, fingerprint or runbook link, as written.
    Exact,
    /// Words (BM25).
    Lexical,
    /// Meaning (embedding).
    Vector,
}

/// Which legs to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legs {
    /// Exact names.
    pub exact: bool,
    /// Words.
    pub lexical: bool,
    /// Meaning.
    pub vector: bool,
}

impl Legs {
    /// All of them.
    pub const HYBRID: Self = Self { exact: true, lexical: true, vector: true };
    /// Words only.
    pub const LEXICAL: Self = Self { exact: false, lexical: true, vector: false };
    /// Meaning only.
    pub const VECTOR: Self = Self { exact: false, lexical: false, vector: true };
}

/// How the text of a search is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// As words: for the text of a record, or of anybody who did not mean to ask in a language.
    Words,
    /// As a person's query, with phrases, fields, times and exclusions.
    Query,
}

/// A search.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// What is looked for.
    pub text: String,
    /// How `text` is read.
    pub syntax: Syntax,
    /// Where; at least one of [`Corpus::SEARCHABLE`].
    pub corpora: Vec<Corpus>,
    /// Conditions.
    pub filter: Filter,
    /// Most hits.
    pub limit: usize,
    /// Which legs.
    pub legs: Legs,
    /// Whether every hit says how its score came about.
    pub explain: bool,
}

/// What a search found.
#[derive(Debug, Clone, Serialize)]
pub struct SearchAnswer {
    /// Best first; ties by corpus and id, so equal searches give equal answers.
    pub hits: Vec<Hit>,
    /// Whether the best hit is an answer.
    pub matches: Matches,
    /// How likely that is, between 0 and 1.
    pub confidence: f32,
    /// How the query was read, where that is not simply as words.
    pub read_as: Option<ReadAs>,
    /// What of the query was not used as it was written.
    pub notes: Vec<Note>,
    /// Legs that were asked and could not answer.
    pub degraded: Vec<Leg>,
    /// Time spent.
    #[serde(skip)]
    pub took: Duration,
}

/// A query, part by part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadAs {
    /// What was looked for.
    pub words: String,
    /// Words that stand beside each other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phrases: Vec<String>,
    /// Words and phrases that no hit has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// The only records that may be hits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<RecordId>,
    /// Facets of every hit.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// Facets of no hit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Filter>,
}

/// One found record.
#[derive(Debug, Clone, Serialize)]
pub struct Hit {
    /// Which record.
    #[serde(flatten)]
    pub key: RecordKey,
    /// Its title.
    pub title: String,
    /// Fused score; comparable inside one answer only.
    pub score: f32,
    /// Which leg found it, at which rank (from 1) and with which own score.
    pub legs: Vec<LegRank>,
    /// The passage that answers best; the citation anchor.
    pub passage: Passage,
    /// What it can be filtered by.
    pub facets: Facets,
    /// How the score came about, if that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explanation>,
}

/// How the score of a hit came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// What each leg gave to the score; they add up to it. A leg that did not list the hit gives
    /// something too: no more than to the worst that it listed.
    pub parts: Vec<ScorePart>,
    /// Words of the query that the record has, without their endings.
    pub matched: Vec<String>,
}

/// One leg's part of a score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScorePart {
    /// Which leg.
    pub leg: Leg,
    /// How much.
    pub score: f32,
}

/// Whether the best hit is an answer at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Matches {
    /// Nothing that was found is about the query; the hits are what comes nearest.
    None,
    /// It may be.
    Weak,
    /// It is likely.
    Good,
}

/// One leg's view of a hit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LegRank {
    /// Which leg.
    pub leg: Leg,
    /// From 1.
    pub rank: usize,
    /// BM25, cosine, or 1 for an exact match.
    pub score: f32,
}

/// A piece of a record with its anchor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Passage {
    /// Headings from the title down, joined by ` > `.
    pub heading: String,
    /// The text.
    pub text: String,
}

/// The state of the vector leg.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum EmbeddingState {
    /// Vectors of this space are made and searched.
    Ready {
        /// The space.
        space: EmbeddingSpace,
    },
    /// Keywords only, by choice.
    KeywordsOnly,
    /// The engine failed on its last use.
    Failing {
        /// The space.
        space: EmbeddingSpace,
        /// Why.
        reason: String,
    },
}

/// Why a search or write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum RetrievalError {
    /// The store could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The guard refused the engine's destination.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The engine could not, and no other leg was asked.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The derived index could not be used, and no other leg was asked.
    #[error("the search index cannot be used: {detail}")]
    Index {
        /// What failed.
        detail: String,
    },
    /// There is no such record.
    #[error("there is no {} with id {}", .0.corpus, .0.id)]
    NotFound(RecordKey),
    /// The search itself is not possible.
    #[error("{field}: {reason}")]
    Request {
        /// Which field.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Stopped,
}

impl RetrievalError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Guard(error) => error.fault(),
            Self::Embed(error) => error.fault(),
            Self::Index { .. } => Fault::Ourselves,
            Self::NotFound(_) | Self::Request { .. } => Fault::Caller,
            Self::Stopped => Fault::Capacity,
        }
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Store(error) => error.retry(),
            Self::Guard(error) => error.retry(),
            Self::Embed(error) => error.retry(),
            // It is rebuilt in the meantime.
            Self::Index { .. } => Retry::Now,
            Self::NotFound(_) | Self::Request { .. } | Self::Stopped => Retry::Never,
        }
    }
}
