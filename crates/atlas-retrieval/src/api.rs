//! What the search path offers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{Corpus, Facets, Filter, Noun, RecordDraft, RecordId, RecordKey, Seq, TenantScope};
use atlas_embed::{EmbedError, Embedding, EmbeddingSpace};
use atlas_guard::{Guard, GuardError};
use atlas_store::{Outcome, Store, StoreError};
use serde::Serialize;

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

impl Document {
    /// The document of a noun. Runbooks and incidents are cut as Markdown, alerts are embedded by
    /// their wording, log templates by their shape; log lines and alert groups have no passages.
    pub fn of<N: Noun>(_noun: &N) -> Self {
        todo!()
    }
}

/// One write of a batch.
#[derive(Debug, Clone)]
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

/// A search.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// What is looked for.
    pub text: String,
    /// Where; at least one of [`Corpus::SEARCHABLE`].
    pub corpora: Vec<Corpus>,
    /// Conditions.
    pub filter: Filter,
    /// Most hits.
    pub limit: usize,
    /// Which legs.
    pub legs: Legs,
}

/// What a search found.
#[derive(Debug, Clone, Serialize)]
pub struct SearchAnswer {
    /// Best first; ties by corpus and id, so equal searches give equal answers.
    pub hits: Vec<Hit>,
    /// Legs that were asked and could not answer.
    pub degraded: Vec<Leg>,
    /// Time spent.
    #[serde(skip)]
    pub took: Duration,
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

/// The search path of all tenants. Cheap to share; every function is cancel-safe.
pub struct Retrieval {}

impl Retrieval {
    /// Opens the search path. Loads no tenant: each is opened at its first use. Must be called on a tokio runtime.
    pub fn open(_store: Arc<dyn Store>, _embedding: Embedding, _guard: Arc<Guard>, _options: Options) -> Arc<Self> {
        todo!()
    }

    /// Writes a batch: chunk, clear, embed, one commit. When it returns, the batch is on the disk.
    pub async fn write(&self, _scope: &TenantScope, _writes: Vec<Write>) -> Result<PutReport, RetrievalError> {
        todo!()
    }

    /// Searches.
    pub async fn search(&self, _scope: &TenantScope, _request: SearchRequest) -> Result<SearchAnswer, RetrievalError> {
        todo!()
    }

    /// Records of `corpus` that resemble the record `key`; itself left out. Answers by words when it has no vector.
    pub async fn similar(
        &self,
        _scope: &TenantScope,
        _key: &RecordKey,
        _corpus: Corpus,
        _filter: Filter,
        _limit: usize,
    ) -> Result<SearchAnswer, RetrievalError> {
        todo!()
    }

    /// For each text the nearest records of a corpus by cosine, best first; empty lists when there is no vector leg.
    pub async fn nearest(
        &self,
        _scope: &TenantScope,
        _corpus: Corpus,
        _texts: Vec<String>,
        _filter: &Filter,
        _limit: usize,
    ) -> Result<Vec<Vec<(RecordId, f32)>>, RetrievalError> {
        todo!()
    }

    /// Unit vectors of texts, for comparing texts that are not stored yet; `None` without a vector leg.
    pub async fn embed(&self, _texts: Vec<String>) -> Result<Option<Vec<Vec<f32>>>, RetrievalError> {
        todo!()
    }

    /// Reads from the store off the async workers.
    pub async fn read<T: Send + 'static>(
        &self,
        _read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, RetrievalError> {
        todo!()
    }

    /// Resolves when both legs of a tenant cover everything committed before the call.
    pub async fn settled(&self, _scope: &TenantScope) -> Result<(), RetrievalError> {
        todo!()
    }

    /// The state of the vector leg.
    pub fn embedding(&self) -> EmbeddingState {
        todo!()
    }

    /// Finishes background work and closes indexes.
    pub async fn shutdown(&self) {
        todo!()
    }
}
