//! The lexical and the vector legs of one corpus, and how they follow the change log.
//!
//! Each leg has its own high-water mark. All read the same changes, so a leg that failed or was
//! rebuilt falls back alone and the others go on answering. There are two vector legs while the
//! vectors of another engine are being made: one that answers and one that is filled.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use atlas_domain::{Corpus, RecordId, Seq, SpaceId, TenantScope};
use atlas_index::{Demands, IndexError, LexicalAnswer, LexicalHit, LexicalIndex, LexicalQuery, VectorKind};
use atlas_store::{ChangeEntry, Store};
use tokio_util::sync::CancellationToken;

use crate::engine::{Vectors, chain};
use crate::memory::{Files, Vector};
use crate::names;

/// Changes that are applied at once: a commit of the lexical leg costs tens of milliseconds and a
/// segment that is merged later, so a stream of log lines needs large ones. A large import does
/// not fill the memory.
const CHANGES: usize = 10_000;

pub(crate) struct CorpusLegs {
    pub(crate) corpus: Corpus,
    pub(crate) lexical: Option<Lexical>,
}

impl CorpusLegs {
    pub(crate) fn new(corpus: Corpus, dir: Option<PathBuf>) -> Self {
        let lexical = Corpus::SEARCHABLE.contains(&corpus).then(|| Lexical::new(dir));
        Self { corpus, lexical }
    }

    /// Applies what changed up to `target` to the lexical leg and to the vector legs of `spaces`.
    /// Called by one task at a time. `put_back` says that the store of the tenant was put back to an
    /// earlier state since its derived files were written, and is set when that is noticed here.
    pub(crate) fn catch_up(
        &self,
        store: &dyn Store,
        scope: &TenantScope,
        spaces: &[Arc<SpaceLegs>],
        target: Seq,
        put_back: &mut bool,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        let lexical = self.lexical.as_ref().map(|leg| leg.ready(target, put_back)).transpose();
        let mut failure = lexical.as_ref().err().cloned();
        let mut lexical = self.lexical.as_ref().zip(lexical.ok().flatten());
        let mut vectors = Vec::with_capacity(spaces.len());
        for leg in spaces.iter().filter_map(|space| space.leg(self.corpus)) {
            match leg.ready(store, scope, self.corpus, *put_back, stop) {
                Ok(mark) => vectors.push((leg, mark)),
                Err(reason) => failure = failure.or(Some(reason)),
            }
        }
        while !stop.is_cancelled() {
            let marks = lexical.iter().map(|(_, mark)| *mark).chain(vectors.iter().map(|(_, mark)| *mark));
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
            vectors.retain_mut(|(leg, mark)| match leg.apply(store, scope, &changes, *mark, to) {
                Ok(()) => {
                    *mark = to.max(*mark);
                    true
                }
                Err(reason) => {
                    failure = Some(reason);
                    false
                }
            });
        }
        if !stop.is_cancelled() {
            if let Some((leg, _)) = lexical {
                leg.whole.store(true, Ordering::Release);
            }
            for (leg, _) in vectors {
                leg.complete();
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The vector legs of one tenant in one space, with the engine that makes its vectors. A question
/// is embedded and answered by the same of these, so vectors of different spaces never meet.
pub(crate) struct SpaceLegs {
    pub(crate) vectors: Arc<Vectors>,
    legs: Vec<(Corpus, Vector)>,
}

impl SpaceLegs {
    /// Empty legs of these corpora; the next round fills them.
    pub(crate) fn new(
        vectors: Arc<Vectors>,
        corpora: &[Corpus],
        kind: VectorKind,
        files: Option<&Files>,
    ) -> Arc<Self> {
        // Log lines are compared through their templates.
        let with_vectors = corpora.iter().filter(|corpus| **corpus != Corpus::Logs);
        let leg = |corpus: &Corpus| (*corpus, Vector::new(&vectors, *corpus, kind, files));
        let legs = with_vectors.map(leg).collect();
        Arc::new(Self { vectors, legs })
    }

    /// The legs of all corpora.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Vector> {
        self.legs.iter().map(|(_, leg)| leg)
    }

    /// The leg of a corpus that has vectors.
    pub(crate) fn leg(&self, corpus: Corpus) -> Option<&Vector> {
        self.legs.iter().find(|(of, _)| *of == corpus).map(|(_, leg)| leg)
    }

    /// Whether these are the legs of a space.
    pub(crate) fn is_of(&self, space: &SpaceId) -> bool {
        self.vectors.space() == space
    }
}

/// The vector of a question, and the legs that it may be asked.
pub(crate) struct Meaning {
    pub(crate) legs: Arc<SpaceLegs>,
    pub(crate) vector: Vec<f32>,
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

    /// The last change it covers.
    pub(crate) fn covered(&self) -> Seq {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the index if it is not open, and says what it covers.
    fn ready(&self, target: Seq, put_back: &mut bool) -> Result<Seq, String> {
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if self.index().is_some() {
            return Ok(*mark);
        }
        let mut opened = LexicalIndex::open(self.dir.as_deref()).map_err(|error| chain(&error))?;
        if opened.seq > target
            && let Some(dir) = &self.dir
        {
            // What the index knows of later is untrue.
            *put_back = true;
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

    pub(crate) fn search(&self, asked: LexicalQuery<'_>, depth: usize) -> Result<LexicalAnswer, String> {
        self.ask(|index| index.search(asked, depth))
    }

    pub(crate) fn exact(&self, asked: LexicalQuery<'_>, depth: usize) -> Result<Vec<LexicalHit>, String> {
        self.ask(|index| index.exact(asked, depth))
    }

    pub(crate) fn admitted(&self, ids: &[RecordId], demands: &Demands) -> Result<HashSet<RecordId>, String> {
        self.ask(|index| index.admitted(ids, demands))
    }

    fn ask<T>(&self, question: impl FnOnce(&LexicalIndex) -> Result<T, IndexError>) -> Result<T, String> {
        let Some(index) = self.index() else { return Err("it is being opened".into()) };
        question(&index).map_err(|error| {
            self.distrust(&error);
            chain(&error)
        })
    }
}
