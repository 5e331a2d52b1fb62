//! Tenants that nobody uses are closed, and come back.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;

fn open_tenants(bench: &Bench) -> usize {
    bench.retrieval.shared.open_tenants().len()
}

/// Lets time pass, which does so at once and only while nobody works.
async fn pass(minutes: u64) {
    tokio::time::sleep(Duration::from_mins(minutes)).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_nobody_uses_is_closed_and_a_later_search_finds_everything() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full")]).await;
    bench.settled().await;
    pass(10).await;
    assert_eq!(open_tenants(&bench), 1);
    pass(10).await;
    assert_eq!(open_tenants(&bench), 0);
    assert!(bench.retrieval.shared.cells().is_empty());
    bench.check_both_legs("full disk", &["disk"]).await;
    bench.write(vec![runbook("pod", "a pod crashes")]).await;
    bench.settled().await;
    bench.check_both_legs("crashes pod", &["pod"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_tenant_in_use_stays_open() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full")]).await;
    bench.settled().await;
    for _ in 0..8 {
        pass(10).await;
        bench.check_both_legs("full disk", &["disk"]).await;
        assert_eq!(open_tenants(&bench), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_whose_vectors_cannot_be_made_stays_open_until_they_are() {
    let bench = Bench::new();
    bench.engine.failing.store(true, Ordering::Relaxed);
    bench.write(vec![runbook("disk", "the disk is full")]).await;
    pass(60).await;
    assert_eq!(open_tenants(&bench), 1);
    bench.engine.failing.store(false, Ordering::Relaxed);
    pass(60).await;
    assert_eq!(open_tenants(&bench), 0);
    bench.check_both_legs("full disk", &["disk"]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_written_into_a_closed_store_is_there() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full")]).await;
    bench.settled().await;
    bench.store.rest(acme().tenant()).expect("closed");
    bench.write(vec![runbook("pod", "a pod crashes")]).await;
    bench.settled().await;
    bench.check_both_legs("crashes pod", &["pod"]).await;
    bench.check_both_legs("full disk", &["disk"]).await;
}
