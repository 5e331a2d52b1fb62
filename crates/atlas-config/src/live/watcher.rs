//! Hears of changed files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Watches directories, not files: a file that is replaced by renaming is another file, and the
/// watch on the old one would say nothing.
pub(super) struct Watcher {
    /// `None`: the system gives no watch, so polling is all there is.
    inner: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
}

impl Watcher {
    pub(super) fn new() -> Self {
        let changed = Arc::new(Notify::new());
        let heard = Arc::clone(&changed);
        let inner = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                heard.notify_one();
            }
        });
        if let Err(error) = &inner {
            tracing::warn!(%error, "files cannot be watched; their content is compared every second");
        }
        Self { inner: inner.ok(), watched: BTreeSet::new(), changed }
    }

    /// Completes when something changed since the last time it did.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Watches these directories and no others. One that cannot be watched now is tried again
    /// at the next call.
    pub(super) fn follow(&mut self, directories: &BTreeSet<PathBuf>) {
        let Some(inner) = &mut self.inner else { return };
        for gone in self.watched.difference(directories) {
            // It may be gone from the disk as well, and its watch with it.
            let _ = inner.unwatch(gone);
        }
        self.watched.retain(|directory| directories.contains(directory));
        for directory in directories {
            if !self.watched.contains(directory)
                && inner.watch(directory, RecursiveMode::NonRecursive).is_ok()
            {
                self.watched.insert(directory.clone());
            }
        }
    }
}

/// Reading is no change; without this, our own reading would be the reason for the next.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}
