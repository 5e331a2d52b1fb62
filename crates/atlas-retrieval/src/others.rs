//! Following what other servers write into a shared store.
//!
//! The change log says everything, so noticing that it grew is enough: the legs of the tenant then
//! make a round as after a write of one's own. One question for all open tenants is asked several
//! times a second. The database could send word instead, but a transaction that does takes a lock
//! that every other such transaction of the whole server waits for until it is on the disk.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{Seq, TenantId};
use tokio::time::{Instant, sleep};

use crate::retrieval::Shared;
use crate::signal::pause_after;

/// Between two questions. A write is found everywhere within 250 ms of its acknowledgement.
const ROUND: Duration = Duration::from_millis(100);
/// How long chunks without vectors are left to the server that wrote them before another looks.
const BACKLOG: Duration = Duration::from_secs(30);

/// Wakes the tenants that changed until the server stops.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let mut seen: HashMap<TenantId, Seq> = HashMap::new();
    let mut changed: HashSet<TenantId> = HashSet::new();
    let mut backlog_at = Instant::now() + BACKLOG;
    let mut failures = 0;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = sleep(pause_after(failures).unwrap_or(ROUND)) => {}
        }
        let open = shared.open_tenants();
        if open.is_empty() {
            continue;
        }
        let names: Vec<TenantId> = open.iter().map(|tenant| tenant.scope.tenant().clone()).collect();
        let asked = shared.blocking(move |store| match store.others() {
            Some(others) => others.last_seqs(&names),
            None => Ok(Vec::new()),
        });
        let heads: HashMap<TenantId, Seq> = match asked.await {
            Ok(heads) => heads.into_iter().collect(),
            Err(error) => {
                failures += 1;
                tracing::debug!(%error, "other servers' writes cannot be seen at the moment");
                continue;
            }
        };
        failures = 0;
        for tenant in &open {
            let name = tenant.scope.tenant();
            let Some(seq) = heads.get(name) else { continue };
            if seen.insert(name.clone(), *seq) != Some(*seq) {
                tenant.wake();
                changed.insert(name.clone());
            }
        }
        if Instant::now() >= backlog_at {
            open.iter()
                .filter(|tenant| changed.contains(tenant.scope.tenant()))
                .for_each(|t| t.wake_backlog());
            changed.clear();
            backlog_at = Instant::now() + BACKLOG;
        }
    }
}
