//! A vector leg that comes out of its file, and what happens when the file is not what it was.

use std::fs;
use std::path::PathBuf;

use super::*;

/// Where the legs of the runbooks have their file.
fn folder(dir: &Path) -> PathBuf {
    dir.join("index/acme/vectors/runbooks")
}

/// The file, as soon as it is there; renaming makes it whole at once.
async fn file(dir: &Path) -> PathBuf {
    loop {
        let entries = fs::read_dir(folder(dir)).into_iter().flatten().flatten();
        let file =
            entries.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "vectors"));
        if let Some(file) = file {
            return file;
        }
        tokio::task::yield_now().await;
    }
}

async fn saved() -> Bench {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full"), runbook("pod", "a pod crashes")]).await;
    bench.settled().await;
    file(bench.dir.path()).await;
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_after_a_leg_was_saved_is_replayed() {
    let bench = saved().await;
    let before = fs::read(file(bench.dir.path()).await).expect("readable");
    bench.delete(Corpus::Runbooks, "pod").await;
    bench.write(vec![runbook("net", "the network is down")]).await;
    bench.settled().await;
    let bench = bench
        .reopened(Words::new(), |dir| {
            let old = folder(dir);
            let file = fs::read_dir(&old).expect("there").flatten().map(|entry| entry.path());
            let file = file.into_iter().find(|path| path.extension().is_some_and(|e| e == "vectors"));
            fs::write(file.expect("saved"), &before).expect("ours");
        })
        .await;
    bench.settled().await;
    bench.check_both_legs("full disk", &["disk"]).await;
    bench.check_both_legs("network", &["net"]).await;
    assert!(!ids(&bench.search(Legs::VECTOR, "pod").await.hits).contains(&"pod"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_set_aside_and_the_leg_filled_from_the_store() {
    // In the header, which opening looks at, and in the last vector, which only a search does.
    for from_end in [false, true] {
        let bench = saved().await;
        let path = file(bench.dir.path()).await;
        let bench = bench
            .reopened(Words::new(), |_| {
                let mut bytes = fs::read(&path).expect("readable");
                let place = if from_end { bytes.len() - 6 } else { 20 };
                bytes[place] ^= 1;
                fs::write(&path, bytes).expect("ours");
            })
            .await;
        bench.settled().await;
        // The first to ask may be the one who notices.
        bench.search(Legs::VECTOR, "full disk").await;
        bench.settled().await;
        bench.check_both_legs("full disk", &["disk"]).await;
        bench.check_both_legs("pod", &["pod"]).await;
        assert!(path.with_extension("damaged").exists(), "it is kept for a look");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_knows_more_than_the_store_is_not_believed() {
    let bench = saved().await;
    let path = file(bench.dir.path()).await;
    let newer = fs::read(&path).expect("readable");
    // A tenant of the same name whose records are fewer changes old.
    let other = Bench::new();
    other.write(vec![runbook("cpu", "the cpu is busy")]).await;
    other.settled().await;
    let theirs = file(other.dir.path()).await;
    let other = other.reopened(Words::new(), |_| fs::write(&theirs, &newer).expect("ours")).await;
    other.settled().await;
    let found = other.search(Legs::VECTOR, "full disk pod cpu").await;
    assert_eq!(ids(&found.hits), ["cpu"]);
}
