//! The search path over a real store, with an engine the tests command.

mod files;
mod following;
mod rebuilding;
mod replacing;
mod resting;
mod searching;
mod writing;

use atlas_testkit::fake_embedder::Words;
use std::path::Path;
use std::sync::Arc;

use atlas_domain::{Corpus, Facets, Filter, RecordDraft, RecordId, RecordKey, TenantScope, Timestamp};
use atlas_embed::Embedding;
use atlas_guard::Guard;
use atlas_store::{SqliteStore, Store};

use crate::api::{
    Document, Hit, Legs, Options, Passages, PutReport, SearchAnswer, SearchRequest, Syntax, Write,
};
use crate::retrieval::Retrieval;

/// A search path over a directory of its own.
struct Bench {
    retrieval: Arc<Retrieval>,
    engine: Arc<Words>,
    store: Arc<SqliteStore>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(Words::new())
    }

    fn with(engine: Arc<Words>) -> Self {
        let embedding = Embedding::Vectors(engine.clone());
        Self::open(tempfile::tempdir().expect("a temporary directory"), engine, embedding)
    }

    fn keywords_only() -> Self {
        Self::open(tempfile::tempdir().expect("a temporary directory"), Words::new(), Embedding::KeywordsOnly)
    }

    fn open(dir: tempfile::TempDir, engine: Arc<Words>, embedding: Embedding) -> Self {
        let store = Arc::new(SqliteStore::open(&dir.path().join("data")).expect("opened"));
        for tenant in ["acme", "globex"] {
            store.create_tenant(scope(tenant).tenant()).expect("created");
        }
        let index_dir = Some(dir.path().join("index"));
        // So that what these tests find after an opening came out of a file.
        let options = Options { index_dir, vector_files_from: 1, ..Options::default() };
        let retrieval = Retrieval::open(store.clone(), embedding, Arc::new(Guard::new()), options);
        Self { retrieval, engine, store, dir }
    }

    /// Shuts down, lets `meanwhile` change the directory, and opens again with `engine`.
    async fn reopened(self, engine: Arc<Words>, meanwhile: impl FnOnce(&Path)) -> Self {
        self.retrieval.shutdown().await;
        let Self { retrieval, store, dir, .. } = self;
        drop(retrieval);
        store.close();
        drop(store);
        meanwhile(dir.path());
        Self::open(dir, engine.clone(), Embedding::Vectors(engine))
    }

    async fn write(&self, documents: Vec<Document>) -> PutReport {
        let writes = documents.into_iter().map(Write::Put).collect();
        self.retrieval.write(&acme(), writes).await.expect("written")
    }

    async fn delete(&self, corpus: Corpus, name: &str) {
        let key = RecordKey::new(corpus, id(name));
        self.retrieval.write(&acme(), vec![Write::Delete(key)]).await.expect("deleted");
    }

    async fn settled(&self) {
        self.retrieval.settled(&acme()).await.expect("settled");
    }

    async fn search(&self, legs: Legs, text: &str) -> SearchAnswer {
        self.ask(request(legs, text)).await
    }

    async fn ask(&self, request: SearchRequest) -> SearchAnswer {
        self.retrieval.search(&acme(), request).await.expect("answered")
    }

    #[track_caller]
    fn check(&self, answer: &SearchAnswer, expect: &[&str]) {
        assert_eq!(ids(&answer.hits), expect);
    }

    /// What each leg finds alone; both must cover everything.
    async fn check_both_legs(&self, text: &str, expect: &[&str]) {
        for legs in [Legs::LEXICAL, Legs::VECTOR] {
            let answer = self.search(legs, text).await;
            assert_eq!(answer.degraded, [], "{legs:?}");
            assert_eq!(
                ids(&answer.hits).into_iter().take(expect.len()).collect::<Vec<_>>(),
                expect,
                "{legs:?}"
            );
            if expect.is_empty() && legs == Legs::LEXICAL {
                assert!(answer.hits.is_empty());
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests say who the caller is")]
fn scope(tenant: &str) -> TenantScope {
    TenantScope::grant(tenant.parse().expect("a plain name"))
}

fn acme() -> TenantScope {
    scope("acme")
}

fn id(name: &str) -> RecordId {
    RecordId::new(name).expect("a plain id")
}

fn ids(hits: &[Hit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.key.id.as_str()).collect()
}

fn request(legs: Legs, text: &str) -> SearchRequest {
    SearchRequest {
        text: text.into(),
        syntax: Syntax::Query,
        corpora: vec![Corpus::Runbooks],
        filter: Filter::default(),
        limit: 10,
        legs,
        explain: false,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a small number")
}

fn document(corpus: Corpus, name: &str, title: &str, text: &str) -> Document {
    let record = RecordDraft {
        key: RecordKey::new(corpus, id(name)),
        title: title.into(),
        facets: Facets::at(at(1_000)),
        text: text.into(),
        body: serde_json::json!({ "name": title }),
    };
    Document { record, passages: Passages::Markdown(text.into()) }
}

fn runbook(name: &str, text: &str) -> Document {
    document(Corpus::Runbooks, name, name, text)
}
