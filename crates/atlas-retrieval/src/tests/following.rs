//! How the legs follow the store: reopening, damage, concurrency.

use std::fs;
use std::path::Path;

use atlas_store::{Batch, Change, Store};

use super::*;

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn reopening_finds_what_was_there() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full"), runbook("pod", "a pod crashes")]).await;
    bench.settled().await;
    let bench = bench.reopened(Words::new(), |_| {}).await;
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_made_while_the_legs_were_closed_are_replayed() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full"), runbook("pod", "a pod crashes")]).await;
    bench.settled().await;
    let bench = bench.reopened(Words::new(), |_| {}).await;
    // Straight into the store, as after a crash between commit and indexing.
    let late = document(Corpus::Runbooks, "late", "late", "certificates expire").record;
    let changes = vec![
        Change::Put { record: late, chunks: vec![] },
        Change::Delete(RecordKey::new(Corpus::Runbooks, id("disk"))),
    ];
    bench.store.commit(&acme(), Batch { space: None, changes }).expect("committed");
    bench.settled().await;
    bench.check(&bench.search(Legs::LEXICAL, "certificates").await, &["late"]);
    bench.check(&bench.search(Legs::LEXICAL, "disk").await, &[]);
    bench.check(&bench.search(Legs::VECTOR, "disk").await, &["pod"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_lexical_index_is_rebuilt_from_the_store() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full"), runbook("pod", "a pod crashes")]).await;
    bench.settled().await;
    let bench = bench
        .reopened(Words::new(), |dir| {
            for file in files(&dir.join("index")) {
                fs::write(file, b"not an index").expect("overwritten");
            }
        })
        .await;
    bench.check(&bench.search(Legs::HYBRID, "full disk").await, &["disk", "pod"]);
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_ahead_of_the_store_is_rebuilt() {
    let bench = Bench::new();
    for n in 0..5 {
        bench.write(vec![runbook(&format!("old{n}"), "alpha beta")]).await;
    }
    bench.settled().await;
    // The data directory is put back to an earlier state, here to nothing.
    let bench =
        bench.reopened(Words::new(), |dir| fs::remove_dir_all(dir.join("data")).expect("removed")).await;
    bench.write(vec![runbook("new", "alpha beta")]).await;
    bench.settled().await;
    bench.check_both_legs("alpha beta", &["new"]).await;
    bench.check(&bench.search(Legs::LEXICAL, "alpha").await, &["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn legs_in_memory_need_no_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Arc::new(SqliteStore::open(dir.path()).expect("opened"));
    store.create_tenant(acme().tenant()).expect("created");
    let guard = Arc::new(Guard::new());
    let retrieval = Retrieval::open(store, Words::engine(), guard, Options::default());
    retrieval.write(&acme(), vec![Write::Put(runbook("disk", "full disk"))]).await.expect("written");
    retrieval.settled(&acme()).await.expect("settled");
    let answer = retrieval.search(&acme(), request(Legs::HYBRID, "disk")).await.expect("answered");
    assert_eq!((ids(&answer.hits), answer.degraded), (vec!["disk"], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_other() {
    let bench = Bench::new();
    let globex = scope("globex");
    bench.write(vec![runbook("ours", "the disk is full")]).await;
    let theirs = vec![Write::Put(runbook("theirs", "the disk is full"))];
    bench.retrieval.write(&globex, theirs).await.expect("written");
    bench.settled().await;
    bench.retrieval.settled(&globex).await.expect("settled");
    for legs in [Legs::LEXICAL, Legs::VECTOR, Legs::HYBRID] {
        bench.check(&bench.search(legs, "full disk").await, &["ours"]);
        let answer = bench.retrieval.search(&globex, request(legs, "full disk")).await.expect("answered");
        bench.check(&answer, &["theirs"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_and_searches_at_once_lose_nothing() {
    let bench = Arc::new(Bench::new());
    let writers = (0..4).map(|writer| {
        let bench = bench.clone();
        tokio::spawn(async move {
            for n in 0..10 {
                bench
                    .write(vec![runbook(&format!("w{writer}-{n}"), &format!("token{writer}x{n} shared"))])
                    .await;
                let answer = bench.search(Legs::HYBRID, "shared").await;
                assert!(answer.hits.len() <= 10);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no panic");
    }
    bench.settled().await;
    for writer in 0..4 {
        for n in 0..10 {
            bench.check_both_legs(&format!("token{writer}x{n}"), &[&format!("w{writer}-{n}")]).await;
        }
    }
}
