//! What a write promises, with and without a working engine.

use std::sync::atomic::Ordering;

use atlas_domain::{Corpus, Destination};
use atlas_store::{Outcome, Store};

use super::*;
use crate::api::{EmbeddingState, Leg, RetrievalError};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_found_by_both_legs() {
    let bench = Bench::new();
    let report =
        bench.write(vec![runbook("disk", "the disk is full"), runbook("pod", "a pod crashes")]).await;
    assert_eq!(report.outcomes, [Outcome::Created, Outcome::Created]);
    assert_eq!(report.pending_vectors, 0);
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_and_deletions_are_seen_by_both_legs() {
    let bench = Bench::new();
    bench.write(vec![runbook("a", "alpha beta"), runbook("b", "gamma delta")]).await;
    bench.settled().await;
    bench.write(vec![runbook("a", "gamma delta epsilon zeta")]).await;
    bench.settled().await;
    bench.check_both_legs("alpha beta", &[]).await;
    bench.check_both_legs("gamma delta", &["b", "a"]).await;
    bench.delete(Corpus::Runbooks, "b").await;
    bench.settled().await;
    for legs in [Legs::LEXICAL, Legs::VECTOR, Legs::HYBRID] {
        bench.check(&bench.search(legs, "gamma delta").await, &["a"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_section_is_not_embedded_again() {
    let bench = Bench::new();
    let section = |word: &str| format!("## {word}\n\n{}\n\n", format!("{word} ").repeat(40));
    let text = |words: &[&str]| words.iter().map(|word| section(word)).collect::<String>();
    bench.write(vec![runbook("r", &text(&["one", "two", "three"]))]).await;
    let first = bench.engine.n_embedded.load(Ordering::SeqCst);
    assert_eq!(first, 3);
    // A new process has an empty cache: what is not embedded came from the store.
    let engine = Words::new();
    let bench = bench.reopened(engine, |_| {}).await;
    bench.write(vec![runbook("r", &text(&["one", "changed", "three"]))]).await;
    assert_eq!(bench.engine.n_embedded.load(Ordering::SeqCst), 1);
    let report = bench.write(vec![runbook("r", &text(&["one", "changed", "three"]))]).await;
    assert_eq!(report.outcomes, [Outcome::Unchanged]);
    assert_eq!(bench.engine.n_embedded.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_engine_delays_vectors_and_loses_nothing() {
    let bench = Bench::new();
    bench.engine.failing.store(true, Ordering::SeqCst);
    let report = bench.write(vec![runbook("disk", "the disk is full")]).await;
    assert_eq!((report.outcomes.as_slice(), report.pending_vectors), ([Outcome::Created].as_slice(), 1));
    bench.settled().await;
    let answer = bench.search(Legs::HYBRID, "full disk").await;
    bench.check(&answer, &["disk"]);
    assert_eq!(answer.degraded, [Leg::Vector]);
    assert!(matches!(bench.retrieval.embedding(), EmbeddingState::Failing { .. }));

    bench.engine.failing.store(false, Ordering::SeqCst);
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk"]).await;
    assert!(matches!(bench.retrieval.embedding(), EmbeddingState::Ready { .. }));
}

#[tokio::test]
async fn an_engine_that_hangs_does_not_keep_a_write_or_a_search() {
    let bench = Bench::new();
    bench.engine.hanging.store(true, Ordering::SeqCst);
    tokio::time::pause();
    let report = bench.write(vec![runbook("disk", "the disk is full")]).await;
    assert_eq!(report.pending_vectors, 1);
    let answer = bench.search(Legs::HYBRID, "full disk").await;
    assert_eq!(answer.degraded, [Leg::Vector]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_wait_are_embedded_after_a_restart() {
    let bench = Bench::new();
    bench.engine.failing.store(true, Ordering::SeqCst);
    bench.write(vec![runbook("disk", "the disk is full")]).await;
    let bench = bench.reopened(Words::new(), |_| {}).await;
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_engine_embeds_everything_again() {
    let bench = Bench::new();
    bench.write((0..150).map(|n| runbook(&format!("r{n}"), &format!("text number{n}"))).collect()).await;
    let other = Words::of_model("another", Destination::in_process());
    let bench = bench.reopened(other, |_| {}).await;
    bench.settled().await;
    assert_eq!(bench.engine.n_embedded.load(Ordering::SeqCst), 150);
    bench.check_both_legs("number77", &["r77"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_cleared_for_an_engine_outside() {
    // The fake sees words only; that both spellings have one vector shows what it was given.
    let bench = Bench::with(Words::outside());
    let secret = |word: &str| format!("DB_PASSWORD={word}-horse");
    let made = bench.retrieval.embed(vec![secret("correct"), secret("wrong")]).await.expect("embedded");
    let made = made.expect("there is an engine");
    assert_eq!(made[0], made[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keywords_only_is_visible_and_has_nothing_pending() {
    let bench = Bench::keywords_only();
    let report = bench.write(vec![runbook("disk", "the disk is full")]).await;
    assert_eq!(report.pending_vectors, 0);
    bench.settled().await;
    let answer = bench.search(Legs::HYBRID, "full disk").await;
    bench.check(&answer, &["disk"]);
    assert_eq!(answer.degraded, [Leg::Vector]);
    assert!(matches!(bench.retrieval.embedding(), EmbeddingState::KeywordsOnly));
    assert_eq!(bench.retrieval.embed(vec!["x".into()]).await.expect("no engine is no failure"), None);
    let near =
        bench.retrieval.nearest(&acme(), Corpus::Runbooks, vec!["x".into()], &Filter::default(), 3).await;
    assert_eq!(near.expect("no engine is no failure"), [vec![]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_is_refused_by_name() {
    let bench = Bench::new();
    let long = runbook("long", &"x".repeat((4 << 20) + 1));
    let refused = bench.retrieval.write(&acme(), vec![Write::Put(long)]).await;
    assert!(matches!(refused, Err(RetrievalError::Request { field: "text", .. })), "{refused:?}");
    assert_eq!(bench.store.last_seq(&acme()).expect("read"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_tenant_and_a_stopped_server_are_errors() {
    let bench = Bench::new();
    let unknown = bench.retrieval.search(&scope("nobody"), request(Legs::HYBRID, "x")).await;
    assert!(matches!(unknown, Err(RetrievalError::Store(_))), "{unknown:?}");
    bench.retrieval.shutdown().await;
    let stopped = bench.retrieval.write(&acme(), vec![]).await;
    assert!(matches!(stopped, Err(RetrievalError::Stopped)), "{stopped:?}");
}
