//! What is derived is made again, and a tenant is put back to another state.

use std::fs;

use atlas_store::BackupName;

use super::*;

fn name() -> BackupName {
    "before".parse().expect("a name")
}

impl Bench {
    fn back_up(&self) {
        self.store.back_up(&name(), &[acme()]).expect("backed up");
    }

    async fn restore(&self) {
        let prepared = self.store.prepare_restore(&name(), &acme()).expect("prepared");
        let store = self.store.clone();
        self.retrieval.replace(&acme(), move || store.swap_in(prepared)).await.expect("restored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_made_again_finds_the_same_and_says_how_far_it_is() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full"), runbook("pod", "a pod crashes")]).await;
    bench.settled().await;
    bench.retrieval.reindex(&acme()).await.expect("begun");
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk"]).await;
    let progress = bench.retrieval.progress(&acme()).await.expect("counted");
    assert!(progress.complete, "{progress:?}");
    let vectors = progress.vectors.expect("there is an engine");
    assert_eq!((progress.seq, vectors.chunks, vectors.made), (2, 2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_tenant_finds_what_was_there_then_and_nothing_of_later() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full"), runbook("pod", "a pod crashes")]).await;
    bench.settled().await;
    bench.back_up();
    bench.write(vec![runbook("later", "the disk is full")]).await;
    bench.delete(Corpus::Runbooks, "pod").await;
    bench.write(vec![runbook("disk", "the network is down")]).await;
    bench.settled().await;
    bench.restore().await;
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk"]).await;
    bench.check(&bench.search(Legs::LEXICAL, "pod").await, &["pod"]);
    bench.check(&bench.search(Legs::LEXICAL, "network").await, &[]);
    // The change numbers are used a second time: nothing of the first may shine through.
    for n in 0..6 {
        bench.write(vec![runbook(&format!("new{n}"), "another story")]).await;
    }
    let bench = bench.reopened(Words::new(), |_| {}).await;
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk"]).await;
    bench.check(&bench.search(Legs::LEXICAL, "later").await, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_and_searches_during_a_restore_wait_and_are_not_lost() {
    let bench = Arc::new(Bench::new());
    bench.write(vec![runbook("disk", "the disk is full")]).await;
    bench.settled().await;
    bench.back_up();
    let prepared = bench.store.prepare_restore(&name(), &acme()).expect("prepared");
    let (store, dir) = (bench.store.clone(), bench.dir.path().join("index/acme"));
    let (swap, wait) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let restoring = tokio::spawn({
        let bench = bench.clone();
        async move {
            let swap_in = move || {
                assert!(!dir.exists(), "nothing derived is left when the records are replaced");
                begun.send(()).expect("somebody waits");
                wait.recv().expect("the word to go on");
                store.swap_in(prepared)
            };
            bench.retrieval.replace(&acme(), swap_in).await
        }
    });
    has_begun.await.expect("begun");
    let writing = tokio::spawn({
        let bench = bench.clone();
        async move { bench.write(vec![runbook("meanwhile", "the disk is full")]).await }
    });
    tokio::task::yield_now().await;
    swap.send(()).expect("the restore waits");
    restoring.await.expect("no panic").expect("restored");
    writing.await.expect("no panic");
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk", "meanwhile"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_database_is_damaged_can_be_restored() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full")]).await;
    bench.settled().await;
    bench.back_up();
    let bench = bench
        .reopened(Words::new(), |dir| {
            fs::write(dir.join("data/tenants/acme/atlas.db"), "nonsense".repeat(5_000)).expect("overwritten");
        })
        .await;
    assert!(bench.retrieval.search(&acme(), request(Legs::HYBRID, "disk")).await.is_err());
    bench.restore().await;
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk"]).await;
}
