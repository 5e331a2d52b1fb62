//! The engine is replaced while the search path runs.

use std::sync::atomic::Ordering;

use atlas_domain::{Destination, SpaceId};
use atlas_embed::Embedder;

use super::*;
use crate::api::{EmbeddingState, Leg};

impl Bench {
    async fn replace(&self, engine: Arc<Words>) {
        self.retrieval.replace_embedder(Embedding::Vectors(engine)).await.expect("replaced");
    }

    async fn turn_off(&self) {
        self.retrieval.replace_embedder(Embedding::KeywordsOnly).await.expect("turned off");
    }

    fn spaces(&self) -> Vec<SpaceId> {
        self.store.spaces(&acme()).expect("spaces")
    }

    async fn is_changing(&self) -> bool {
        !self.retrieval.changing_engine().await.expect("counted").is_empty()
    }
}

/// An engine of another space that does not work yet.
fn another() -> Arc<Words> {
    let engine = Words::of_model("another", Destination::in_process());
    engine.failing.store(true, Ordering::SeqCst);
    engine
}

fn repair(engine: &Words) {
    engine.failing.store(false, Ordering::SeqCst);
}

fn n_embedded(engine: &Words) -> usize {
    engine.n_embedded.load(Ordering::SeqCst)
}

#[tokio::test]
async fn a_new_key_takes_over_where_the_old_one_failed() {
    let bench = Bench::new();
    bench.engine.failing.store(true, Ordering::SeqCst);
    let report = bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    assert_eq!(report.pending_vectors, 1);
    assert!(matches!(bench.retrieval.embedding(), EmbeddingState::Failing { .. }));

    let next = Words::new();
    bench.replace(next.clone()).await;
    assert!(matches!(bench.retrieval.embedding(), EmbeddingState::Ready { .. }));
    bench.settled().await;
    bench.check_both_legs("disk full", &["disk-full"]).await;
    assert!(n_embedded(&next) > 0);
    assert_eq!(n_embedded(&bench.engine), 0);
}

#[tokio::test]
async fn what_the_old_engine_embedded_is_remembered() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    bench.settled().await;
    let before = bench.search(Legs::VECTOR, "disk").await;
    let next = Words::new();
    bench.replace(next.clone()).await;
    let after = bench.search(Legs::VECTOR, "disk").await;
    assert_eq!(ids(&after.hits), ids(&before.hits));
    assert_eq!(n_embedded(&next), 0);
}

#[tokio::test]
async fn the_old_engine_answers_until_the_vectors_of_the_new_one_are_complete() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk-full", "The disk is full."), runbook("pod", "A pod crashes.")]).await;
    bench.settled().await;
    let next = another();
    bench.replace(next.clone()).await;
    bench.settled().await;
    assert!(bench.is_changing().await);
    bench.check_both_legs("disk full", &["disk-full"]).await;
    assert_eq!(n_embedded(&next), 0);

    repair(&next);
    bench.settled().await;
    assert!(!bench.is_changing().await);
    let asked_before = n_embedded(&bench.engine);
    bench.check_both_legs("crashes", &["pod"]).await;
    assert_eq!(n_embedded(&bench.engine), asked_before, "the new engine is asked");
    assert_eq!(bench.spaces(), [next.space().id()], "the old vectors are gone");
}

#[tokio::test]
async fn what_is_written_during_a_change_is_found_at_once_and_afterwards() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    bench.settled().await;
    let next = another();
    bench.replace(next.clone()).await;
    bench.write(vec![runbook("certificate", "A certificate expires.")]).await;
    bench.delete(Corpus::Runbooks, "disk-full").await;
    bench.settled().await;
    bench.check_both_legs("certificate expires", &["certificate"]).await;
    bench.check(&bench.search(Legs::VECTOR, "disk").await, &["certificate"]);

    repair(&next);
    bench.settled().await;
    assert!(!bench.is_changing().await);
    bench.check_both_legs("certificate expires", &["certificate"]).await;
    bench.check(&bench.search(Legs::VECTOR, "disk").await, &["certificate"]);
}

#[tokio::test]
async fn a_change_that_a_restart_interrupted_goes_on_and_words_answer_meanwhile() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    bench.settled().await;
    let old = bench.spaces();
    let next = another();
    let bench = bench.reopened(next.clone(), |_| {}).await;
    bench.settled().await;
    let answer = bench.search(Legs::HYBRID, "disk").await;
    assert_eq!((ids(&answer.hits), &answer.degraded[..]), (vec!["disk-full"], &[Leg::Vector][..]));
    assert_eq!(bench.spaces(), old, "nothing is dropped before the new vectors are complete");

    repair(&next);
    bench.settled().await;
    bench.check_both_legs("disk full", &["disk-full"]).await;
    assert_eq!(bench.spaces(), [next.space().id()]);
}

#[tokio::test]
async fn a_tenant_that_is_opened_during_a_change_asks_the_old_engine_too() {
    let bench = Bench::new();
    let globex = scope("globex");
    let theirs = vec![Write::Put(runbook("theirs", "The disk is full."))];
    bench.retrieval.write(&globex, theirs).await.expect("written");
    bench.retrieval.settled(&globex).await.expect("settled");
    let bench = bench.reopened(Words::new(), |_| {}).await;
    bench.write(vec![runbook("ours", "The disk is full.")]).await;
    bench.settled().await;
    let next = another();
    bench.replace(next.clone()).await;
    let answer = bench.retrieval.search(&globex, request(Legs::VECTOR, "disk")).await.expect("answered");
    assert_eq!(ids(&answer.hits), ["theirs"]);
}

#[tokio::test]
async fn a_change_that_is_taken_back_leaves_no_trace() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    bench.settled().await;
    let before = bench.spaces();
    bench.replace(another()).await;
    bench.settled().await;
    let back = Words::new();
    bench.replace(back.clone()).await;
    bench.settled().await;
    assert!(!bench.is_changing().await);
    bench.check_both_legs("disk full", &["disk-full"]).await;
    assert_eq!(bench.spaces(), before);
    bench.write(vec![runbook("pod", "A pod crashes.")]).await;
    assert!(n_embedded(&back) > 0, "the engine that came back embeds");
}

#[tokio::test]
async fn turning_vectors_off_keeps_them_for_the_day_they_are_turned_on() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    bench.settled().await;
    bench.turn_off().await;
    let answer = bench.search(Legs::HYBRID, "disk").await;
    assert_eq!((ids(&answer.hits), &answer.degraded[..]), (vec!["disk-full"], &[Leg::Vector][..]));
    assert!(matches!(bench.retrieval.embedding(), EmbeddingState::KeywordsOnly));

    let again = Words::new();
    bench.replace(again.clone()).await;
    bench.settled().await;
    bench.check(&bench.search(Legs::VECTOR, "disk").await, &["disk-full"]);
    assert_eq!(n_embedded(&again), 1, "the question, and no passage");
}

#[tokio::test]
async fn an_engine_that_comes_later_embeds_what_was_written_before() {
    let bench = Bench::keywords_only();
    bench.write(vec![runbook("disk-full", "The disk is full.")]).await;
    bench.settled().await;
    assert_eq!(bench.search(Legs::HYBRID, "disk").await.degraded, [Leg::Vector]);

    bench.turn_off().await;
    bench.replace(Words::new()).await;
    bench.settled().await;
    bench.check_both_legs("disk full", &["disk-full"]).await;
}
