//! Opening a tenant anew over an empty index directory.
//!
//! The order makes it safe against a power cut: what is derived goes first and for good, then the
//! records may be replaced. A derived file can be older than the records, which replays what is
//! missing; it can never be of records that are gone.

use std::fs::{self, File};
use std::io;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;

use atlas_domain::TenantScope;
use atlas_store::StoreError;

use crate::api::RetrievalError;
use crate::retrieval::{Cell, Shared};
use crate::tenant::Tenant;

/// Closes a tenant, throws away its derived files, runs `between`, and opens the tenant again.
/// Goes on when the caller gives up.
pub(crate) async fn rebuild<T: Send + 'static>(
    shared: &Arc<Shared>,
    scope: &TenantScope,
    between: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, RetrievalError> {
    if shared.stop.is_cancelled() {
        return Err(RetrievalError::Stopped);
    }
    let task = shared.tasks.spawn(alone(shared.clone(), scope.clone(), between));
    match task.await {
        Ok(outcome) => outcome,
        // Nobody aborts the task, so it panicked, and the panic belongs to the caller.
        Err(error) => resume_unwind(error.into_panic()),
    }
}

async fn alone<T: Send + 'static>(
    shared: Arc<Shared>,
    scope: TenantScope,
    between: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, RetrievalError> {
    let cell = Cell::default();
    let mut done = None;
    // Who asks for the tenant from here on waits until this cell is filled.
    let opened = cell
        .get_or_try_init(|| async {
            let before = shared.cells().insert(scope.tenant().clone(), cell.clone());
            if let Some(before) = before
                // One that is being opened is waited for, or its tasks would outlive this.
                && let Ok(tenant) = before.get_or_try_init(|| Tenant::open(&shared, &scope)).await
            {
                tenant.close().await;
            }
            let dir = shared.index_dir(scope.tenant());
            let outcome = shared
                .blocking(move |_| {
                    if let Some(dir) = &dir {
                        throw_away(dir).map_err(|error| StoreError::Io {
                            place: dir.display().to_string(),
                            action: "written",
                            source: error.into(),
                        })?;
                    }
                    between()
                })
                .await?;
            done = Some(outcome);
            Tenant::open(&shared, &scope).await
        })
        .await
        .map(|_| ());
    match (done, opened) {
        // A tenant that could not be opened now is opened by who needs it.
        (Some(done), _) => Ok(done),
        (None, opened) => opened.and(Err(RetrievalError::Stopped)),
    }
}

/// Removes a directory so that no power cut brings it back.
fn throw_away(dir: &Path) -> io::Result<()> {
    let Some((parent, name)) = dir.parent().zip(dir.file_name()) else { return Ok(()) };
    let mut gone = std::ffi::OsString::from(".gone-");
    gone.push(name);
    let gone = parent.join(gone);
    let absent = |outcome: io::Result<()>| match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    };
    absent(fs::remove_dir_all(&gone))?;
    absent(fs::rename(dir, &gone))?;
    absent(File::open(parent).and_then(|parent| parent.sync_all()))?;
    absent(fs::remove_dir_all(&gone))
}
