//! One reading, from the files to the swap.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use atlas_domain::Timestamp;

use super::status::{Outcome, Refusal, Rejected, SettingsStatus};
use super::{Shared, Snapshot};
use crate::{Gathered, Settings};

/// What readings leave for the next one.
pub(super) struct Turn {
    /// The settings at the start, which decide what waits for a restart.
    started_with: Settings,
    /// The content that is in effect.
    applied: [u8; 32],
    /// The content that was read last: the same, or one that was refused.
    seen: [u8; 32],
    /// Where changes would show.
    pub(super) directories: BTreeSet<PathBuf>,
}

impl Turn {
    pub(super) fn new(gathered: &Gathered, settings: Settings) -> Self {
        let hash = gathered.hash();
        let directories = gathered.directories().clone();
        Self { started_with: settings, applied: hash, seen: hash, directories }
    }
}

impl Shared {
    /// Reads, and puts into effect what is new. `again`: also what was refused before.
    pub(super) async fn step(&self, again: bool) -> Outcome {
        let Some(sources) = self.sources.clone() else { return Outcome::Unchanged };
        let mut turn = self.turn.lock().await;
        // Files may lie on a network, and reading waits until they come to rest.
        let Ok(gathered) = tokio::task::spawn_blocking(move || sources.read()).await else {
            return self.reject("the settings could not be read; the log says why".to_owned().into());
        };
        turn.directories.clone_from(gathered.directories());
        let hash = gathered.hash();
        if hash == turn.applied {
            turn.seen = hash;
            self.forget_rejection();
            return Outcome::Unchanged;
        }
        if hash == turn.seen && !again {
            return self.status.borrow().rejected.clone().map_or(Outcome::Unchanged, Outcome::Rejected);
        }
        turn.seen = hash;
        match self.candidate(&gathered, &turn.started_with).await {
            Ok((snapshot, needs_restart)) => {
                turn.applied = hash;
                self.apply(snapshot, &gathered, needs_restart)
            }
            Err(refusal) => self.reject(refusal),
        }
    }

    /// All that can fail.
    async fn candidate(
        &self,
        gathered: &Gathered,
        started_with: &Settings,
    ) -> Result<(Arc<Snapshot>, Vec<&'static str>), Refusal> {
        let mut settings = Settings::read_all(gathered)?;
        self.overrides.apply(&mut settings);
        let needs_restart = settings.keep_until_restart(started_with);
        let generation = self.snapshot.load().generation + 1;
        let snapshot = Arc::new(Snapshot { settings, generation, read_at: Timestamp::now() });
        let prepare = self.prepare.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(prepare) = prepare {
            // In a task of its own: a panic there is a refusal, and not the end of the watch.
            let prepared = tokio::spawn(prepare(Arc::clone(&snapshot))).await;
            prepared.map_err(|_| "preparing the new settings failed; the log says why".to_owned())??;
        }
        Ok((snapshot, needs_restart))
    }

    fn apply(
        &self,
        snapshot: Arc<Snapshot>,
        gathered: &Gathered,
        needs_restart: Vec<&'static str>,
    ) -> Outcome {
        let generation = snapshot.generation;
        let status = SettingsStatus::of(&snapshot, gathered.sources().to_vec(), needs_restart);
        let before = self.snapshot.swap(Arc::clone(&snapshot));
        let changed = snapshot.settings.changed_since(&before.settings);
        tracing::info!(generation, ?changed, needs_restart = ?status.needs_restart, "new settings are in effect");
        self.status.send_replace(status);
        Outcome::Applied { generation }
    }

    fn reject(&self, refusal: Refusal) -> Outcome {
        let Refusal { name, reason } = refusal;
        tracing::warn!(%reason, "new settings were refused; the last good ones stay in effect");
        let rejected = Rejected { at: Timestamp::now(), name, reason };
        self.status.send_modify(|status| status.rejected = Some(rejected.clone()));
        Outcome::Rejected(rejected)
    }

    fn forget_rejection(&self) {
        self.status.send_if_modified(|status| status.rejected.take().is_some());
    }
}
