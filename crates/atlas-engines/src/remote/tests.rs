//! What engines outside this process have in common, against a scripted provider.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use atlas_domain::{Check, Destination, DestinationClass, ProviderError, ProviderErrorKind as Kind};
use atlas_embed::{Embedder, Priority, Purpose};
use atlas_vendor::EmbeddingFacts;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{Known, RemoteEmbedder, Wire};
use crate::testing::embed;

type Outcome = Result<(), ProviderError>;

/// Answers with a vector per text, after what the script says first. Holds at most `most_texts`.
struct Scripted {
    destination: Destination,
    script: Mutex<VecDeque<Outcome>>,
    most_texts: usize,
    hangs: bool,
    asked: Mutex<Vec<Vec<String>>>,
    busy: AtomicUsize,
    busiest: AtomicUsize,
}

impl Scripted {
    fn new(script: impl IntoIterator<Item = Outcome>) -> Self {
        Self {
            destination: Destination::host(DestinationClass::Private, "embed.internal"),
            script: Mutex::new(script.into_iter().collect()),
            most_texts: usize::MAX,
            hangs: false,
            asked: Mutex::default(),
            busy: AtomicUsize::new(0),
            busiest: AtomicUsize::new(0),
        }
    }

    fn n_asked(&self) -> usize {
        self.asked.lock().expect("no test panicked with it").len()
    }

    fn sizes(&self) -> Vec<usize> {
        self.asked.lock().expect("no test panicked with it").iter().map(Vec::len).collect()
    }
}

impl Wire for Scripted {
    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn ask<'a>(
        &'a self,
        texts: &'a [String],
        _: Purpose,
    ) -> BoxFuture<'a, Result<Vec<Vec<f32>>, ProviderError>> {
        async move {
            self.asked.lock().expect("no test panicked with it").push(texts.to_vec());
            self.busiest.fetch_max(self.busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if self.hangs {
                std::future::pending::<()>().await;
            }
            self.busy.fetch_sub(1, Ordering::SeqCst);
            if let Some(Err(error)) = self.script.lock().expect("no test panicked with it").pop_front() {
                return Err(error);
            }
            if texts.len() > self.most_texts {
                let detail = format!("batch size {} > maximum allowed batch size", texts.len());
                return Err(ProviderError::new(Kind::BadRequest, detail).with_status(422));
            }
            Ok(vec![vec![3.0, 4.0]; texts.len()])
        }
        .boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Option<Check>> {
        async { None }.boxed()
    }
}

fn embedder(wire: Scripted, facts: &EmbeddingFacts) -> (Arc<Scripted>, RemoteEmbedder) {
    let wire = Arc::new(wire);
    let known = Known::new("scripted", "m", Some(2), facts).expect("usable");
    (wire.clone(), RemoteEmbedder::new(&known, 2, wire))
}

fn plain(wire: Scripted) -> (Arc<Scripted>, RemoteEmbedder) {
    embedder(wire, &EmbeddingFacts::default())
}

fn failed(kind: Kind) -> Outcome {
    Err(ProviderError::new(kind, ""))
}

#[tokio::test(start_paused = true)]
async fn bulk_work_outlives_two_failures_and_a_question_one() {
    for (priority, n_failures, works) in [
        (Priority::Bulk, 2, true),
        (Priority::Bulk, 3, false),
        (Priority::Interactive, 1, true),
        (Priority::Interactive, 2, false),
    ] {
        let script = (0..n_failures).map(|_| failed(Kind::Overloaded));
        let (wire, embedder) = plain(Scripted::new(script));
        let made = embed(&embedder, &["a"], Purpose::Passage, priority).await;
        assert_eq!(made.is_ok(), works, "{priority:?} after {n_failures} failures");
        assert_eq!(wire.n_asked(), if works { n_failures + 1 } else { n_failures }, "{priority:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_answers_for_a_few_seconds_in_place_of_the_provider() {
    let (wire, embedder) = plain(Scripted::new([failed(Kind::Credentials)]));
    let ask = || embed(&embedder, &["a"], Purpose::Query, Priority::Interactive);
    assert_eq!(ask().await.expect_err("refused").kind(), Kind::Credentials);
    assert_eq!(ask().await.expect_err("remembered").kind(), Kind::Credentials);
    assert_eq!(wire.n_asked(), 1);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(ask().await, Ok(vec![vec![0.6, 0.8]]));
}

#[tokio::test(start_paused = true)]
async fn a_silent_provider_costs_one_question_and_not_every_one() {
    let (wire, embedder) = plain(Scripted { hangs: true, ..Scripted::new([]) });
    let began = Instant::now();
    for _ in 0..5 {
        let asked = embed(&embedder, &["a"], Purpose::Query, Priority::Interactive).await;
        assert_eq!(asked.expect_err("silence").kind(), Kind::Timeout);
    }
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(wire.n_asked(), 1);
}

#[tokio::test]
async fn a_test_asks_whatever_failed_before() {
    let (wire, embedder) = plain(Scripted::new([failed(Kind::Quota)]));
    embed(&embedder, &["a"], Purpose::Query, Priority::Interactive).await.expect_err("refused");
    let checks = embedder.check().await;
    assert_eq!(checks[0].code, None, "{checks:?}");
    assert_eq!(wire.n_asked(), 3);
}

#[tokio::test]
async fn a_server_that_wants_less_gets_less_from_then_on() {
    let (wire, embedder) = plain(Scripted { most_texts: 10, ..Scripted::new([]) });
    let texts = vec!["a"; 32];
    let vectors = embed(&embedder, &texts, Purpose::Passage, Priority::Bulk).await.expect("embedded");
    assert_eq!(vectors.len(), 32);
    assert_eq!(wire.sizes(), [32, 16, 8, 8, 16, 8, 8]);
    embed(&embedder, &texts, Purpose::Passage, Priority::Bulk).await.expect("embedded");
    assert_eq!(wire.sizes()[7..], [8, 8, 8, 8]);
}

#[tokio::test]
async fn bulk_work_leaves_one_request_free() {
    let facts = EmbeddingFacts { max_batch: Some(1), ..EmbeddingFacts::default() };
    let (wire, embedder) = embedder(Scripted::new([]), &facts);
    let texts = vec!["a"; 20];
    embed(&embedder, &texts, Purpose::Passage, Priority::Bulk).await.expect("embedded");
    assert_eq!(wire.busiest.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn texts_are_prefixed_by_purpose_and_cut_to_what_the_model_reads() {
    let facts = EmbeddingFacts {
        passage_prefix: Some("search_document: ".into()),
        query_prefix: Some("search_query: ".into()),
        max_input_tokens: Some(14),
        ..EmbeddingFacts::default()
    };
    let (wire, embedder) = embedder(Scripted::new([]), &facts);
    for purpose in [Purpose::Passage, Purpose::Query] {
        embed(&embedder, &["the disk is full again"], purpose, Priority::Bulk).await.expect("embedded");
    }
    let asked = wire.asked.lock().expect("no test panicked with it");
    assert_eq!(*asked, [["search_document: the disk is f"], ["search_query: the disk is full"]]);
    let (_, without) = plain(Scripted::new([]));
    assert_ne!(embedder.space(), without.space());
}
