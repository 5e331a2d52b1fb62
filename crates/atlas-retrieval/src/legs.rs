//! The lexical and the vector leg of one corpus, and how they follow the change log.
//!
//! Each leg has its own high-water mark. Both read the same changes, so a leg that failed or was
//! rebuilt falls back alone and the other goes on answering.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use atlas_domain::{Corpus, Filter, Seq, SpaceId, TenantScope};
use atlas_index::{
    IndexError, LexicalHit, LexicalIndex, SpaceVector, VectorHit, VectorIndex, VectorKind, VectorLeg,
};
use atlas_store::{ChangeEntry, Entry, Store, VectorRow};
use tokio_util::sync::CancellationToken;

use crate::engine::{Vectors, chain};
use crate::names;

/// Changes that are applied at once. A large import does not hold up the changes after it, nor
/// fill the memory.
const CHANGES: usize = 2_000;
/// Vectors read at once when the leg is loaded.
const ROWS: usize = 4_000;

pub(crate) struct CorpusLegs {
    pub(crate) corpus: Corpus,
    pub(crate) lexical: Option<Lexical>,
    vector: OnceLock<Vector>,
}

impl CorpusLegs {
    pub(crate) fn new(corpus: Corpus, dir: Option<PathBuf>) -> Self {
        let lexical = Corpus::SEARCHABLE.contains(&corpus).then(|| Lexical::new(dir));
        Self { corpus, lexical, vector: OnceLock::new() }
    }

    /// Adds the vector leg; the next round fills it.
    pub(crate) fn adopt(&self, vectors: &Vectors, kind: VectorKind) {
        // Log lines are compared through their templates.
        if self.corpus != Corpus::Logs {
            self.vector.get_or_init(|| Vector::new(vectors, kind));
        }
    }

    /// The vector leg, if there is an engine and the corpus has vectors.
    pub(crate) fn vector(&self) -> Option<&Vector> {
        self.vector.get()
    }

    /// Applies what changed up to `target`. Called by one task at a time.
    pub(crate) fn catch_up(
        &self,
        store: &dyn Store,
        scope: &TenantScope,
        target: Seq,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let lexical = self.lexical.as_ref().map(|leg| leg.ready(target)).transpose();
        // Looked up once: a leg that is added meanwhile belongs to the next round.
        let vector_leg = self.vector();
        let vector = vector_leg.map(|leg| leg.ready(store, scope, self.corpus, stop)).transpose();
        let mut failure = lexical.as_ref().err().or(vector.as_ref().err()).cloned();
        let mut lexical = self.lexical.as_ref().zip(lexical.ok().flatten());
        let mut vector = vector_leg.zip(vector.ok().flatten());
        while !stop.is_cancelled() {
            let marks = lexical.iter().map(|(_, mark)| *mark).chain(vector.iter().map(|(_, mark)| *mark));
            let Some(from) = marks.min().filter(|mark| *mark < target) else { break };
            let changes =
                store.changes_after(scope, self.corpus, from, CHANGES).map_err(|error| chain(&error))?;
            let last = changes.len() < CHANGES;
            let to = changes
                .last()
                .map_or(target, |change| if last { change.seq.max(target) } else { change.seq });
            if let Some((leg, mark)) = &mut lexical {
                match leg.apply(&changes, *mark, to) {
                    Ok(()) => *mark = to.max(*mark),
                    Err(error) => {
                        failure = Some(chain(&error));
                        lexical = None;
                    }
                }
            }
            if let Some((leg, mark)) = &mut vector {
                match leg.apply(store, scope, &changes, *mark, to) {
                    Ok(()) => *mark = to.max(*mark),
                    Err(reason) => {
                        failure = Some(reason);
                        vector = None;
                    }
                }
            }
        }
        if !stop.is_cancelled() {
            if let Some((leg, _)) = lexical {
                leg.whole.store(true, Ordering::Release);
            }
            if let Some((leg, _)) = vector {
                leg.whole.store(true, Ordering::Release);
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The lexical leg.
pub(crate) struct Lexical {
    dir: Option<PathBuf>,
    open: RwLock<Option<Arc<LexicalIndex>>>,
    mark: Mutex<Seq>,
    whole: AtomicBool,
}

impl Lexical {
    fn new(dir: Option<PathBuf>) -> Self {
        Self { dir, open: RwLock::default(), mark: Mutex::default(), whole: AtomicBool::new(false) }
    }

    /// Whether it covers everything up to the last round.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// Opens the index if it is not open, and says what it covers.
    fn ready(&self, target: Seq) -> Result<Seq, String> {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if self.index().is_some() {
            return Ok(*mark);
        }
        let mut opened = LexicalIndex::open(self.dir.as_deref()).map_err(|error| chain(&error))?;
        if opened.seq > target
            && let Some(dir) = &self.dir
        {
            // The store was put back to an earlier state; what the index knows of later is untrue.
            tracing::warn!("a lexical index is ahead of the store and is rebuilt");
            drop(opened);
            std::fs::remove_dir_all(dir).map_err(|error| chain(&error))?;
            opened = LexicalIndex::open(Some(dir)).map_err(|error| chain(&error))?;
        }
        *mark = opened.seq;
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(opened.index));
        Ok(*mark)
    }

    fn index(&self) -> Option<Arc<LexicalIndex>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn apply(&self, changes: &[ChangeEntry], mark: Seq, to: Seq) -> Result<(), IndexError> {
        let changes: Vec<_> =
            changes.iter().filter(|change| change.seq > mark).map(names::lexical_change).collect();
        // An empty commit would cost milliseconds for every corpus that did not change.
        if let Some(index) = self.index().filter(|_| !changes.is_empty()) {
            index.apply(&changes, to).inspect_err(|error| {
                self.whole.store(false, Ordering::Release);
                self.distrust(error);
            })?;
        }
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        *mark = to.max(*mark);
        Ok(())
    }

    /// Closes an index that tripped over its own files; the next round opens it again, which sets
    /// the directory aside and rebuilds it.
    fn distrust(&self, error: &IndexError) {
        if matches!(error, IndexError::Damaged { .. }) {
            self.whole.store(false, Ordering::Release);
            *self.open.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    pub(crate) fn search(
        &self,
        text: &str,
        filter: &Filter,
        depth: usize,
    ) -> Result<Vec<LexicalHit>, String> {
        self.ask(|index| index.search(text, filter, depth))
    }

    pub(crate) fn exact(&self, text: &str, filter: &Filter, depth: usize) -> Result<Vec<LexicalHit>, String> {
        self.ask(|index| index.exact(text, filter, depth))
    }

    fn ask(
        &self,
        question: impl FnOnce(&LexicalIndex) -> Result<Vec<LexicalHit>, IndexError>,
    ) -> Result<Vec<LexicalHit>, String> {
        let Some(index) = self.index() else { return Err("it is being opened".into()) };
        question(&index).map_err(|error| {
            self.distrust(&error);
            chain(&error)
        })
    }
}

/// The vector leg.
pub(crate) struct Vector {
    space: SpaceId,
    leg: RwLock<VectorIndex>,
    mark: Mutex<Option<Seq>>,
    whole: AtomicBool,
    building: AtomicBool,
}

impl Vector {
    fn new(vectors: &Vectors, kind: VectorKind) -> Self {
        let index = VectorIndex::new(vectors.space().clone(), vectors.dimension(), kind);
        Self {
            space: vectors.space().clone(),
            leg: RwLock::new(index),
            mark: Mutex::default(),
            whole: AtomicBool::new(false),
            building: AtomicBool::new(false),
        }
    }

    /// Whether it covers everything up to the last round.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// Whether there is something to build and nobody builds.
    pub(crate) fn wants_build(&self) -> bool {
        let next = || self.leg.read().unwrap_or_else(PoisonError::into_inner).next_build();
        !self.building.load(Ordering::Acquire) && next().is_some()
    }

    /// Builds what the leg wants, beside searches and writes. Takes minutes where there is much.
    pub(crate) fn build(&self, stop: &CancellationToken) {
        if self.building.swap(true, Ordering::AcqRel) {
            return;
        }
        loop {
            let next = self.leg.read().unwrap_or_else(PoisonError::into_inner).next_build();
            let Some(built) = next.and_then(|build| build.run(&|| !stop.is_cancelled())) else { break };
            self.leg.write().unwrap_or_else(PoisonError::into_inner).install(built);
        }
        self.building.store(false, Ordering::Release);
    }

    /// Loads the stored vectors at the first call, and says what they cover.
    fn ready(
        &self,
        store: &dyn Store,
        scope: &TenantScope,
        corpus: Corpus,
        stop: &CancellationToken,
    ) -> Result<Seq, String> {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mark) = *mark {
            return Ok(mark);
        }
        // Taken before the first row: what changes while rows are read is replayed afterwards.
        let covered = store.last_seq(scope).map_err(|error| chain(&error))?;
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
        Ok(covered)
    }

    fn apply(
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
            let mut leg = self.leg.write().unwrap_or_else(PoisonError::into_inner);
            // Removing and adding under one lock: a search sees the record before or after.
            leg.remove(&change.key.id);
            self.put_into(&mut leg, rows)?;
        }
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        *mark = (*mark).max(Some(to));
        Ok(())
    }

    fn put(&self, rows: Vec<VectorRow>) -> Result<(), String> {
        self.put_into(&mut self.leg.write().unwrap_or_else(PoisonError::into_inner), rows)
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
        let leg = self.leg.read().unwrap_or_else(PoisonError::into_inner);
        leg.search(SpaceVector { space: &self.space, components: query }, filter, depth)
            .map_err(|error| chain(&error))
    }
}
