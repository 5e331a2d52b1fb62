//! Measuring the search path on labelled data, through the same code that serves searches.
//!
//! A set has the BEIR layout: `corpus.jsonl` (`_id`, `title`, `text`), a file of queries (`_id`,
//! `text`) and `qrels/test.tsv` (query, document, grade). The documents are written as runbooks
//! into a store of their own in a temporary directory, which is removed afterwards.

mod read;
mod score;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use atlas_domain::{Corpus, Facets, Filter, RecordDraft, RecordId, RecordKey, TenantScope, Timestamp};
use atlas_embed::{Embedding, Priority, Purpose};
use atlas_guard::Guard;
use atlas_store::{SqliteStore, Store};
use serde::Serialize;

use crate::api::{
    Document, EmbeddingState, Hit, Leg, LegRank, Legs, Options, Passages, RetrievalError, SearchRequest,
    Syntax, Write,
};
use crate::retrieval::Retrieval;

/// Documents per write: small enough that a write's time for vectors is not used up.
const DOCUMENTS_PER_WRITE: usize = 128;
/// Pairs of sentences embedded at once.
const PAIRS_PER_CALL: usize = 64;

/// Documents, queries and which belong together.
#[derive(Debug, Clone)]
pub struct EvalSet {
    documents: Vec<EvalDocument>,
    /// Queries that have grades, in the order of the file.
    queries: Vec<(String, String)>,
    grades: HashMap<String, BTreeMap<String, u32>>,
}

#[derive(Debug, Clone)]
struct EvalDocument {
    /// The document's place in its file, then its own id. Equal scores are ordered by id; this way
    /// that is the order of the file, as in every other tool that reads such sets.
    id: RecordId,
    title: String,
    text: String,
}

impl EvalDocument {
    fn new(place: usize, id: &str, title: String, text: String) -> Result<Self, atlas_domain::InvalidId> {
        Ok(Self { id: RecordId::new(format!("{place:08}/{id}"))?, title, text })
    }

    /// The document's own id.
    fn own_id(id: &RecordId) -> &str {
        id.as_str().split_once('/').map_or(id.as_str(), |(_, own)| own)
    }
}

/// Why a set could not be read or measured.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A file is not there or cannot be read.
    #[error("{} cannot be read", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{}:{line}: {reason}", file.display())]
    Line {
        /// Which file.
        file: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// There is nothing to measure.
    #[error("{}: {reason}", place.display())]
    Empty {
        /// Which file or directory.
        place: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// The temporary directory could not be made.
    #[error("a temporary directory cannot be made")]
    Temporary(#[source] std::io::Error),
    /// The measurement needs vectors and there is no engine, or it failed.
    #[error("the measurement needs vectors: {reason}")]
    NoVectors {
        /// Why there are none.
        reason: String,
    },
    /// The search path failed.
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
    /// What answers by a way of its own did not.
    #[error("a query was not answered: {reason}")]
    NotAnswered {
        /// Why.
        reason: String,
    },
}

/// How documents become passages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunking {
    /// As the product cuts runbooks.
    Product,
    /// Title and text as one input, cut at the model's limit: how published figures are made.
    None,
}

/// What a set measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvalReport {
    /// Normalised discounted cumulative gain of the first ten, averaged over queries.
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// One over the rank of the first relevant hit among ten.
    #[serde(rename = "mrr@10")]
    pub mrr_at_10: f64,
    /// Share of the queries with a relevant hit among the first ten.
    #[serde(rename = "hit@10")]
    pub hit_at_10: f64,
    /// The part of the relevant documents among the first hundred.
    #[serde(rename = "recall@100")]
    pub recall_at_100: f64,
    /// Queries that have grades.
    pub queries: usize,
    /// Documents.
    pub docs: usize,
    /// Median time of a search in milliseconds.
    pub p50_ms: f64,
}

/// What a measurement tells on its way.
#[derive(Debug)]
pub enum EvalStep<'a> {
    /// So many documents and queries are done.
    Done {
        /// How many.
        steps: usize,
        /// Of how many.
        of: usize,
    },
    /// A query was answered.
    Judged(JudgedQuery<'a>),
}

/// An answer beside what people say of it.
#[derive(Debug, Serialize)]
pub struct JudgedQuery<'a> {
    /// The query's id.
    pub query: &'a str,
    /// The query.
    pub text: &'a str,
    /// See [`EvalReport::ndcg_at_10`].
    #[serde(rename = "ndcg@10")]
    pub ndcg_at_10: f64,
    /// Documents that people call relevant, with their grades.
    pub grades: &'a BTreeMap<String, u32>,
    /// What was found, best first.
    pub hits: Vec<JudgedHit<'a>>,
}

/// A document that was found.
#[derive(Debug, Serialize)]
pub struct JudgedHit<'a> {
    /// The document's id.
    pub id: &'a str,
    /// What people say of it; 0 where they say nothing.
    pub grade: u32,
    /// Its fused score.
    pub score: f32,
    /// Its ranks and scores.
    pub legs: &'a [LegRank],
}

impl<'a> JudgedHit<'a> {
    fn new(hit: &'a Hit, grades: &BTreeMap<String, u32>) -> Self {
        let id = EvalDocument::own_id(&hit.key.id);
        let grade = grades.get(id).copied().unwrap_or(0);
        Self { id, grade, score: hit.score, legs: &hit.legs }
    }
}

/// How well cosines agree with people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StsReport {
    /// Spearman's rank correlation.
    pub spearman: f64,
    /// Pairs of sentences.
    pub pairs: usize,
}

impl EvalSet {
    /// Reads a set; `queries` is a file of queries to use instead of `queries.jsonl` in `dir`.
    pub fn load(dir: &Path, queries: Option<&Path>) -> Result<Self, EvalError> {
        match queries {
            Some(queries) => read::set(dir, queries),
            None => read::set(dir, &dir.join("queries.jsonl")),
        }
    }

    /// Steps of a measurement: documents to write and queries to ask.
    pub fn len(&self) -> usize {
        self.documents.len() + self.queries.len()
    }

    /// Never: a set without documents or queries is not read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Writes the documents, asks every query and compares with the grades. `observe` hears of every
/// step.
pub async fn evaluate(
    set: &EvalSet,
    embedding: Embedding,
    guard: Arc<Guard>,
    legs: Legs,
    chunking: Chunking,
    observe: &mut (dyn FnMut(EvalStep<'_>) + Send),
) -> Result<EvalReport, EvalError> {
    let embedding = if legs.vector { embedding } else { Embedding::KeywordsOnly };
    let search = async |retrieval: Arc<Retrieval>, scope: TenantScope, text: String| {
        let request = SearchRequest {
            text,
            syntax: Syntax::Query,
            corpora: vec![Corpus::Runbooks],
            filter: Filter::default(),
            limit: 100,
            legs,
            explain: false,
        };
        let answer = retrieval.search(&scope, request).await?;
        if answer.degraded.contains(&Leg::Vector) {
            return Err(EvalError::NoVectors { reason: reason(&retrieval) });
        }
        Ok(answer.hits)
    };
    evaluate_by(set, embedding, guard, chunking, search, observe).await
}

/// The same for what answers queries in a way of its own, on the search path that it is given.
pub async fn evaluate_by(
    set: &EvalSet,
    embedding: Embedding,
    guard: Arc<Guard>,
    chunking: Chunking,
    answer: impl AsyncFn(Arc<Retrieval>, TenantScope, String) -> Result<Vec<Hit>, EvalError>,
    observe: &mut (dyn FnMut(EvalStep<'_>) + Send),
) -> Result<EvalReport, EvalError> {
    let dir = tempfile::Builder::new().prefix("atlas-eval-").tempdir().map_err(EvalError::Temporary)?;
    let path = dir.path().to_owned();
    let store = tokio::task::spawn_blocking(move || SqliteStore::open(&path));
    let store: Arc<dyn Store> = match store.await {
        Ok(store) => Arc::new(store.map_err(RetrievalError::Store)?),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    let options = Options { index_dir: Some(dir.path().join("index")), ..Options::default() };
    let retrieval = Retrieval::open(store, embedding, guard, options);
    let measured = measure(&retrieval, set, chunking, answer, observe).await;
    // Closed before the directory goes, whatever came out.
    retrieval.shutdown().await;
    measured
}

async fn measure(
    retrieval: &Arc<Retrieval>,
    set: &EvalSet,
    chunking: Chunking,
    answer: impl AsyncFn(Arc<Retrieval>, TenantScope, String) -> Result<Vec<Hit>, EvalError>,
    observe: &mut (dyn FnMut(EvalStep<'_>) + Send),
) -> Result<EvalReport, EvalError> {
    let total = set.len();
    let scope = own_scope();
    let tenant = scope.tenant().clone();
    retrieval.read(move |store| store.create_tenant(&tenant)).await?;
    let mut done = 0;
    for slice in set.documents.chunks(DOCUMENTS_PER_WRITE) {
        let writes = slice.iter().map(|document| Write::Put(written(document, chunking))).collect();
        retrieval.write(&scope, writes).await?;
        done += slice.len();
        observe(EvalStep::Done { steps: done, of: total });
    }
    retrieval.settled(&scope).await?;

    let mut scores = score::Scores::default();
    for (id, text) in &set.queries {
        let began = Instant::now();
        let hits = answer(Arc::clone(retrieval), scope.clone(), text.clone()).await?;
        let took = began.elapsed();
        let grades = &set.grades[id];
        // Where the queries are documents of the set, a document is no answer to itself.
        let judged = hits.iter().map(|hit| JudgedHit::new(hit, grades));
        let hits: Vec<JudgedHit<'_>> = judged.filter(|hit| hit.id != id).collect();
        let found: Vec<u32> = hits.iter().map(|hit| hit.grade).collect();
        let ndcg_at_10 = scores.add(&found, grades, took);
        observe(EvalStep::Judged(JudgedQuery { query: id, text, ndcg_at_10, grades, hits }));
        done += 1;
        observe(EvalStep::Done { steps: done, of: total });
    }
    Ok(scores.report(set.documents.len()))
}

fn reason(retrieval: &Retrieval) -> String {
    match retrieval.embedding() {
        EmbeddingState::Failing { reason, .. } => reason,
        EmbeddingState::KeywordsOnly => "no embedding engine is configured".into(),
        EmbeddingState::Ready { .. } => "the vector leg was not complete".into(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one tenant of a store that nobody else can reach")]
fn own_scope() -> TenantScope {
    TenantScope::grant("evaluation".parse().expect("a constant that is a tenant id"))
}

fn written(document: &EvalDocument, chunking: Chunking) -> Document {
    let EvalDocument { id, title, text } = document;
    let passages = match chunking {
        Chunking::Product => Passages::Markdown(text.clone()),
        Chunking::None => Passages::Whole(format!("{title} {text}")),
    };
    let record = RecordDraft {
        key: RecordKey::new(Corpus::Runbooks, id.clone()),
        title: title.clone(),
        facets: Facets::at(Timestamp::UNIX_EPOCH),
        text: text.clone(),
        body: serde_json::json!({}),
    };
    Document { record, passages }
}

/// Spearman's correlation between cosines and people's scores over a JSONL file of pairs (`s1`,
/// `s2`, `score`).
pub async fn sts(file: &Path, embedding: &Embedding, guard: &Guard) -> Result<StsReport, EvalError> {
    let pairs = read::pairs(file)?;
    let Embedding::Vectors(embedder) = embedding else {
        return Err(EvalError::NoVectors { reason: "no embedding engine is configured".into() });
    };
    let mut cosines = Vec::with_capacity(pairs.len());
    for slice in pairs.chunks(PAIRS_PER_CALL) {
        let texts: Vec<String> = slice.iter().flat_map(|pair| [pair.s1.clone(), pair.s2.clone()]).collect();
        let cleared = guard.clear(texts, embedder.destination()).map_err(RetrievalError::Guard)?;
        let made =
            embedder.embed(cleared, Purpose::Passage, Priority::Bulk).await.map_err(RetrievalError::Embed)?;
        let cosine =
            |pair: &[Vec<f32>]| pair[0].iter().zip(&pair[1]).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        cosines.extend(made.chunks_exact(2).map(cosine));
    }
    if cosines.len() != pairs.len() {
        return Err(EvalError::NoVectors {
            reason: "the engine made more or fewer vectors than texts".into(),
        });
    }
    let people: Vec<f64> = pairs.iter().map(|pair| pair.score).collect();
    Ok(StsReport { spearman: score::spearman(&cosines, &people), pairs: pairs.len() })
}
