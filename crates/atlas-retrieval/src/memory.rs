//! The vector leg of one corpus: filled from the store or from its file, and kept in step.
//!
//! The file spares a large tenant the reading of all its vectors and the building of a graph. It is
//! written again when a quarter of the rows is new. What is wrong with it shows when it is opened or
//! when a vector is read from it; it is then set aside and the leg filled from the store.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use atlas_domain::{Corpus, Filter, Seq, SpaceId, TenantScope};
use atlas_index::{IndexError, SpaceVector, VectorHit, VectorIndex, VectorKind, VectorLeg};
use atlas_store::{ChangeEntry, Entry, Store, VectorRow};
use tokio_util::sync::CancellationToken;

use crate::engine::{Vectors, chain};

/// Vectors read at once when the leg is filled from the store.
const ROWS: usize = 4_000;
/// The part of its rows that a leg changes by before its file is written again: what is written in
/// the life of a tenant is then five times what it holds at the end.
const CHANGED: u64 = 4;

/// Where the files of a tenant's vector legs are, and from how many rows on there are any: what a
/// small leg holds is read from the store in a moment.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) dir: PathBuf,
    pub(crate) from: u64,
}

/// The vector leg.
pub(crate) struct Vector {
    space: SpaceId,
    kind: VectorKind,
    dimension: usize,
    files: Option<Files>,
    leg: RwLock<VectorIndex>,
    mark: Mutex<Option<Seq>>,
    /// What a file may say that it covers: the mark of the last round that changed something, as
    /// the lexical leg does, so that one shows as well as the other when the store was put back.
    changed_at: AtomicU64,
    whole: AtomicBool,
    building: AtomicBool,
    /// The file is damaged; the next round sets it aside.
    damaged: AtomicBool,
    /// Unsaved rows up to which a file is not tried again after it could not be written.
    not_before: AtomicU64,
}

/// Says that nobody builds any more, also when building panics.
struct Building<'a>(&'a AtomicBool);

impl Drop for Building<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Vector {
    pub(crate) fn new(vectors: &Vectors, corpus: Corpus, kind: VectorKind, files: Option<&Files>) -> Self {
        let (space, dimension) = (vectors.space().clone(), vectors.dimension());
        let files = files.map(|files| Files { dir: files.dir.join(corpus.as_str()), from: files.from });
        Self {
            leg: RwLock::new(VectorIndex::new(space.clone(), dimension, kind)),
            space,
            kind,
            dimension,
            files,
            mark: Mutex::default(),
            changed_at: AtomicU64::new(0),
            whole: AtomicBool::new(false),
            building: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
            not_before: AtomicU64::new(0),
        }
    }

    fn leg(&self) -> RwLockReadGuard<'_, VectorIndex> {
        self.leg.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn leg_mut(&self) -> RwLockWriteGuard<'_, VectorIndex> {
        self.leg.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it covers everything up to the last round.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// A round brought it up to date.
    pub(crate) fn complete(&self) {
        self.whole.store(!self.damaged.load(Ordering::Acquire), Ordering::Release);
    }

    /// The last change it covers; 0 while the stored vectors are being loaded.
    pub(crate) fn covered(&self) -> Seq {
        // Loading holds the lock for as long as it takes.
        self.mark.try_lock().ok().and_then(|mark| *mark).unwrap_or(0)
    }

    /// Whether it is being built or saved.
    pub(crate) fn is_building(&self) -> bool {
        self.building.load(Ordering::Acquire)
    }

    /// Whether there is something to build or to save, and nobody does.
    pub(crate) fn wants_build(&self) -> bool {
        let wants = || {
            let leg = self.leg();
            leg.next_build().is_some() || self.is_save_due(&leg)
        };
        !self.is_building() && !self.damaged.load(Ordering::Acquire) && wants()
    }

    /// Builds and saves what the leg wants, beside searches and writes. Takes minutes where there is
    /// much. `false` when the leg turned out to be damaged.
    pub(crate) fn build(&self, stop: &CancellationToken) -> bool {
        if self.building.swap(true, Ordering::AcqRel) {
            return true;
        }
        let _building = Building(&self.building);
        let go_on = || !stop.is_cancelled();
        let built = (|| {
            loop {
                let next = self.leg().next_build();
                let Some(next) = next else { break };
                let Some(built) = next.run(&go_on)? else { break };
                self.leg_mut().install(built)?;
            }
            self.save(&go_on)
        })();
        built.inspect_err(|error| self.distrust(error)).is_ok()
    }

    fn is_save_due(&self, leg: &VectorIndex) -> bool {
        let Some(files) = &self.files else { return false };
        let (rows, unsaved) = (leg.len() as u64, leg.unsaved());
        rows >= files.from
            && unsaved > 0
            && unsaved.saturating_mul(CHANGED) >= rows
            && unsaved > self.not_before.load(Ordering::Acquire)
    }

    fn file(&self) -> Option<PathBuf> {
        self.files.as_ref().map(|files| files.dir.join(VectorIndex::file_name(&self.space)))
    }

    fn save(&self, go_on: &dyn Fn() -> bool) -> Result<(), IndexError> {
        // Before the rows are looked at, which may be newer then: that is replayed, and does no harm.
        let covers = self.changed_at.load(Ordering::Acquire);
        let Some(file) = self.file().filter(|_| covers > 0) else { return Ok(()) };
        let (snapshot, unsaved) = {
            let leg = self.leg();
            if !self.is_save_due(&leg) {
                return Ok(());
            }
            (leg.snapshot(), leg.unsaved())
        };
        let made = file.parent().map_or(Ok(()), fs::create_dir_all);
        let made = made.map_err(|source| IndexError::File { action: "written", source });
        match made.and_then(|()| snapshot.write(&file, covers, go_on)) {
            Ok(Some(saved)) => {
                self.not_before.store(0, Ordering::Release);
                self.leg_mut().rest_on(saved);
            }
            Ok(None) => {}
            Err(error @ IndexError::Corrupt { .. }) => return Err(error),
            Err(error) => {
                tracing::warn!(reason = %chain(&error), "a vector leg is not saved; the next start reads it from the store");
                self.not_before.store(unsaved.saturating_mul(2), Ordering::Release);
            }
        }
        Ok(())
    }

    /// Removes the files of other spaces.
    pub(crate) fn remove_others(&self) {
        let Some((file, files)) = self.file().zip(self.files.as_ref()) else { return };
        let others = fs::read_dir(&files.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        for other in others.filter(|other| other.file_stem() != file.file_stem()) {
            // A leftover costs space only; the next change of engine tries again.
            let _ = fs::remove_file(other);
        }
    }

    /// Notes that the leg tripped over its file, or did not.
    fn distrust(&self, error: &IndexError) {
        if matches!(error, IndexError::Corrupt { .. } | IndexError::File { .. }) {
            tracing::warn!(reason = %chain(error), "a vector leg is filled anew from the store");
            self.whole.store(false, Ordering::Release);
            self.damaged.store(true, Ordering::Release);
        }
    }

    /// Empties the leg and sets its file aside, where one that is damaged is kept for a look.
    fn begin_anew(&self) {
        if let Some(file) = self.file() {
            let aside = file.with_extension("damaged");
            let gone = fs::rename(&file, aside).or_else(|_| fs::remove_file(&file));
            // Where it cannot even be removed it is found damaged again at the next start.
            let _ = gone;
        }
        *self.leg_mut() = VectorIndex::new(self.space.clone(), self.dimension, self.kind);
    }

    /// Loads the leg from its file, if there is one that fits; what that covers.
    fn load(&self, last: Seq) -> Option<Seq> {
        let file = self.file()?;
        let reason = match VectorIndex::load(&file, &self.space, self.dimension, self.kind) {
            Ok(None) => return None,
            Ok(Some(loaded)) if loaded.covers <= last => {
                *self.leg_mut() = loaded.index;
                return Some(loaded.covers);
            }
            // The store was put back to an earlier state.
            Ok(Some(_)) => "it is ahead of the store".to_owned(),
            Err(error) => chain(&error),
        };
        tracing::warn!(reason, "the file of a vector leg is set aside");
        self.begin_anew();
        None
    }

    /// Loads the leg from its file or fills it from the store at the first call, and says what it
    /// covers.
    pub(crate) fn ready(
        &self,
        store: &dyn Store,
        scope: &TenantScope,
        corpus: Corpus,
        put_back: bool,
        stop: &CancellationToken,
    ) -> Result<Seq, String> {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if self.damaged.swap(false, Ordering::AcqRel) {
            self.begin_anew();
            *mark = None;
        }
        if let Some(mark) = *mark {
            return Ok(mark);
        }
        // Taken before the first row: what changes while rows are read is replayed afterwards.
        let covered = store.last_seq(scope).map_err(|error| chain(&error))?;
        if put_back {
            self.begin_anew();
        } else if let Some(covers) = self.load(covered) {
            *mark = Some(covers);
            self.changed_at.store(covers, Ordering::Release);
            return Ok(covers);
        }
        let mut after = 0;
        loop {
            let rows = store
                .vectors_after(scope, corpus, &self.space, after, ROWS)
                .map_err(|error| chain(&error))?;
            let Some(last) = rows.last() else { break };
            after = last.chunk;
            self.put(rows)?;
            if stop.is_cancelled() {
                return Err("the server is shutting down".into());
            }
        }
        *mark = Some(covered);
        self.changed_at.store(covered, Ordering::Release);
        Ok(covered)
    }

    pub(crate) fn apply(
        &self,
        store: &dyn Store,
        scope: &TenantScope,
        changes: &[ChangeEntry],
        mark: Seq,
        to: Seq,
    ) -> Result<(), String> {
        for change in changes.iter().filter(|change| change.seq > mark) {
            let rows = match &change.entry {
                Entry::Present(_) => {
                    store.vectors_of(scope, &change.key, &self.space).map_err(|error| chain(&error))?
                }
                Entry::Removed => Vec::new(),
            };
            let mut leg = self.leg_mut();
            // Removing and adding under one lock: a search sees the record before or after.
            leg.remove(&change.key.id);
            self.put_into(&mut leg, rows)?;
        }
        if changes.iter().any(|change| change.seq > mark) {
            self.changed_at.fetch_max(to, Ordering::AcqRel);
        }
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        *mark = (*mark).max(Some(to));
        Ok(())
    }

    fn put(&self, rows: Vec<VectorRow>) -> Result<(), String> {
        self.put_into(&mut self.leg_mut(), rows)
    }

    fn put_into(&self, leg: &mut VectorIndex, rows: Vec<VectorRow>) -> Result<(), String> {
        for row in rows {
            let vector = SpaceVector { space: &self.space, components: &row.vector };
            leg.put(row.chunk, &row.id, &row.facets, vector).map_err(|error| chain(&error))?;
        }
        Ok(())
    }

    pub(crate) fn search(
        &self,
        query: &[f32],
        filter: &Filter,
        depth: usize,
    ) -> Result<Vec<VectorHit>, String> {
        let query = SpaceVector { space: &self.space, components: query };
        let found = self.leg().search(query, filter, depth);
        found.inspect_err(|error| self.distrust(error)).map_err(|error| chain(&error))
    }
}
