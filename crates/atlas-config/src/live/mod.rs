//! Settings that change while the server runs.
//!
//! A change is one new [`Snapshot`], swapped whole. What can fail comes before the swap: reading,
//! checking, and the consumer's own preparation. So a bad change leaves the last good snapshot
//! running, and [`Live::status`] says what is wrong with the new one.
//!
//! Changes are found by two means. The directory watch is quick and misses much: network file
//! systems, some overlay mounts, a directory that was removed and made again. The comparison of
//! content every second misses nothing.

mod status;
mod turn;
mod watcher;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use atlas_domain::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{SettingErrors, Settings, Sources};
pub use status::{Outcome, Refusal, Rejected, SettingsStatus};
use turn::Turn;
use watcher::Watcher;

/// Half of the time within which a change takes effect; the other half is for reading and
/// preparing.
const POLL: Duration = Duration::from_secs(1);

/// Editors and copying tools touch a file several times within a few milliseconds.
const SETTLE: Duration = Duration::from_millis(50);

/// All settings at one moment. Who works with one keeps it to the end of the work.
#[derive(Debug)]
pub struct Snapshot {
    /// The settings. Those that wait for a restart have the value that the server runs with.
    pub settings: Settings,
    /// Counts the snapshots of this process, from 1.
    pub generation: u64,
    /// When it was read.
    pub read_at: Timestamp,
}

/// What the command line says; it comes before all sources, also in later readings.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
}

impl Overrides {
    /// Puts them over the settings.
    pub fn apply(&self, settings: &mut Settings) {
        if let Some(listen) = self.listen {
            settings.override_listen(listen);
        }
        if let Some(data_dir) = &self.data_dir {
            settings.override_data_dir(data_dir.clone());
        }
    }
}

type Prepare =
    Arc<dyn Fn(Arc<Snapshot>) -> Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>> + Send + Sync>;

/// The settings of a running server. Clones share them; when the last one is dropped, the watch
/// ends.
#[derive(Clone)]
pub struct Live {
    shared: Arc<Shared>,
    alive: Arc<DropGuard>,
}

/// What the watch and all clones share.
struct Shared {
    /// `None`: settings that were given and never change.
    sources: Option<Sources>,
    overrides: Overrides,
    snapshot: ArcSwap<Snapshot>,
    status: watch::Sender<SettingsStatus>,
    prepare: Mutex<Option<Prepare>>,
    /// One reading at a time.
    turn: tokio::sync::Mutex<Turn>,
}

impl Live {
    /// Reads the first snapshot. What is wrong with it is wrong with the start.
    pub fn start(sources: Sources, overrides: Overrides) -> Result<Self, SettingErrors> {
        let gathered = sources.read();
        let mut settings = Settings::read_all(&gathered)?;
        overrides.apply(&mut settings);
        let turn = Turn::new(&gathered, settings.clone());
        Ok(Self::with(Some(sources), overrides, settings, gathered.sources().to_vec(), turn))
    }

    /// Settings that never change, for tests and for commands that end.
    pub fn fixed(settings: Settings) -> Self {
        let turn = Turn::new(&Default::default(), settings.clone());
        Self::with(None, Overrides::default(), settings, Vec::new(), turn)
    }

    fn with(
        sources: Option<Sources>,
        overrides: Overrides,
        settings: Settings,
        places: Vec<crate::SourceStatus>,
        turn: Turn,
    ) -> Self {
        let snapshot = Snapshot { settings, generation: 1, read_at: Timestamp::now() };
        let status = watch::Sender::new(SettingsStatus::of(&snapshot, places, Vec::new()));
        let shared = Shared {
            sources,
            overrides,
            snapshot: ArcSwap::from_pointee(snapshot),
            status,
            prepare: Mutex::new(None),
            turn: tokio::sync::Mutex::new(turn),
        };
        Self { shared: Arc::new(shared), alive: Arc::new(CancellationToken::new().drop_guard()) }
    }

    /// The settings now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// What is in effect, what was refused and what waits for a restart.
    pub fn status(&self) -> SettingsStatus {
        self.shared.status.borrow().clone()
    }

    /// Hears of every change of the status: a snapshot that took effect, or one that was refused.
    pub fn subscribe(&self) -> watch::Receiver<SettingsStatus> {
        self.shared.status.subscribe()
    }

    /// Reads now, whether something changed or not, and also what was refused before.
    pub async fn reload(&self) -> Outcome {
        self.shared.step(true).await
    }

    /// Follows the sources until `stop`, or until the last clone is dropped.
    ///
    /// `prepare` is given each candidate before it takes effect, and may refuse it; it is called
    /// for one candidate at a time, not for the first snapshot, and not again for a candidate
    /// that it refused unless somebody asks by [`Self::reload`]. After its `Ok` nothing can fail,
    /// so its last step may be to put into effect what it prepared.
    pub fn watch<F, P>(&self, prepare: F, stop: CancellationToken) -> JoinHandle<()>
    where
        F: Fn(Arc<Snapshot>) -> P + Send + Sync + 'static,
        P: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.watch_every(POLL, prepare, stop)
    }

    fn watch_every<F, P>(&self, period: Duration, prepare: F, stop: CancellationToken) -> JoinHandle<()>
    where
        F: Fn(Arc<Snapshot>) -> P + Send + Sync + 'static,
        P: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let prepare: Prepare = Arc::new(move |candidate| Box::pin(prepare(candidate)));
        *self.shared.prepare.lock().unwrap_or_else(PoisonError::into_inner) = Some(prepare);
        // Before the first reading of the task: what changes after it is seen by the watcher,
        // what changed before it by the reading.
        let mut watcher = Watcher::new();
        if let Ok(turn) = self.shared.turn.try_lock() {
            watcher.follow(&turn.directories);
        }
        let shared = Arc::clone(&self.shared);
        let dropped = self.alive.token().clone();
        let follow = async move {
            let mut poll = interval(period);
            poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = poll.tick() => {}
                    () = watcher.changed() => sleep(SETTLE).await,
                }
                shared.step(false).await;
                watcher.follow(&shared.turn.lock().await.directories);
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = dropped.cancelled() => {}
                () = follow => {}
            }
        })
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("status", &*self.shared.status.borrow()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
