//! Closing tenants that nobody has used for a while.
//!
//! An open tenant costs some megabytes: readers of its indexes, its vectors, the caches of its
//! database. Most tenants are idle most of the time, and opening one again takes milliseconds, or,
//! where there are many vectors, what reading their file takes.

use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep};

use crate::api::RetrievalError;
use crate::retrieval::{Cell, Shared};
use crate::tenant::Tenant;

/// Rounds in the time after which a tenant is idle, which is exceeded by one of them at most.
const ROUNDS: u32 = 8;

/// Closes idle tenants until the server stops.
pub(crate) async fn close_idle(shared: Arc<Shared>, after: Duration) {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = sleep(after / ROUNDS) => {}
        }
        let Some(since) = Instant::now().checked_sub(after) else { continue };
        for tenant in shared.open_tenants() {
            if tenant.is_idle(since) {
                close(&shared, &tenant, since).await;
            }
        }
    }
}

/// Closes a tenant unless it is used meanwhile. Who asks for it from here on waits until it is
/// closed, and opens it again.
async fn close(shared: &Arc<Shared>, tenant: &Arc<Tenant>, since: Instant) {
    let name = tenant.scope.tenant();
    let closed = Cell::default();
    // It stays empty: what is waited for is the end.
    let ended = closed.get_or_try_init(|| async {
        {
            let mut cells = shared.cells();
            // A use is noted under this lock.
            let is_ours =
                cells.get(name).and_then(|cell| cell.get()).is_some_and(|open| Arc::ptr_eq(open, tenant));
            if !is_ours || !tenant.is_idle(since) {
                return Err(RetrievalError::Stopped);
            }
            cells.insert(name.clone(), Cell::clone(&closed));
        }
        tenant.close().await;
        let scope = tenant.scope.clone();
        shared.blocking(move |store| store.rest(scope.tenant())).await?;
        tracing::debug!(tenant = %name, "an idle tenant was closed");
        Err(RetrievalError::Stopped)
    });
    let _ = ended.await;
    let mut cells = shared.cells();
    // Who waits for it holds it, and would open the tenant where nobody finds it.
    let is_unused = |cell: &Cell| Arc::ptr_eq(cell, &closed) && Arc::strong_count(cell) == 2;
    if cells.get(name).is_some_and(is_unused) && !closed.initialized() {
        cells.remove(name);
    }
}
