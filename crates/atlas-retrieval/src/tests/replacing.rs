//! The engine is replaced while the search path runs.

use std::sync::atomic::Ordering;

use atlas_domain::Destination;

use super::*;
use crate::api::{EmbeddingState, Leg};

impl Bench {
    fn replace(&self, engine: Arc<Words>) -> Result<(), String> {
        self.retrieval.replace_embedder(Embedding::Vectors(engine)).map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn a_new_key_takes_over_where_the_old_one_failed() {
    let bench = Bench::new();
    bench.engine.failing.store(true, Ordering::SeqCst);
    let report = bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    assert_eq!(report.pending_vectors, 1);
    assert!(matches!(bench.retrieval.embedding(), EmbeddingState::Failing { .. }));

    let next = Words::new();
    bench.replace(next.clone()).expect("the same space");
    assert!(matches!(bench.retrieval.embedding(), EmbeddingState::Ready { .. }));
    bench.settled().await;
    bench.check_both_legs("disk full", &["disk-full"]).await;
    assert!(next.n_embedded.load(Ordering::SeqCst) > 0);
    assert_eq!(bench.engine.n_embedded.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_the_old_engine_embedded_is_remembered() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    bench.settled().await;
    let before = bench.search(Legs::VECTOR, "disk").await;
    let next = Words::new();
    bench.replace(next.clone()).expect("the same space");
    let after = bench.search(Legs::VECTOR, "disk").await;
    assert_eq!(ids(&after.hits), ids(&before.hits));
    assert_eq!(next.n_embedded.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn vectors_of_another_space_are_refused_and_the_old_engine_goes_on() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    bench.settled().await;
    let other = Words::of_model("another", Destination::in_process());
    let error = bench.replace(other.clone()).expect_err("another space");
    for part in ["bag-of-words", "another", "restart"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(bench.retrieval.replace_embedder(Embedding::KeywordsOnly).is_err());
    bench.check_both_legs("disk full", &["disk-full"]).await;
    assert_eq!(other.n_embedded.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_engine_that_comes_later_embeds_what_was_written_before() {
    let bench = Bench::keywords_only();
    bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    bench.settled().await;
    assert_eq!(bench.search(Legs::HYBRID, "disk").await.degraded, [Leg::Vector]);

    bench.retrieval.replace_embedder(Embedding::KeywordsOnly).expect("nothing changes");
    bench.replace(Words::new()).expect("the first");
    bench.settled().await;
    bench.check_both_legs("disk full", &["disk-full"]).await;
    assert!(bench.replace(Words::of_model("another", Destination::in_process())).is_err());
}
