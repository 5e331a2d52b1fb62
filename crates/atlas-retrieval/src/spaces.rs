//! Which engine answers for a tenant and which one is to take over.
//!
//! Another engine means other vectors, and those of a large tenant take a while. Until they are
//! all there the old ones go on answering, asked by the engine that made them; where that engine
//! is gone (the server was started again meanwhile) the words answer alone. What was made is in
//! the store, so a restart in the middle goes on where it was: as long as the store holds vectors
//! of another space, the change is not complete. The last act of a change is to drop them.

use std::sync::Arc;

use atlas_domain::{Corpus, SpaceId};
use atlas_index::VectorKind;

use crate::engine::Vectors;
use crate::legs::SpaceLegs;
use crate::memory::Files;

pub(crate) struct Spaces {
    /// What has vector legs here: nothing where the store compares vectors itself.
    corpora: &'static [Corpus],
    /// Which structure their legs search with.
    kind: VectorKind,
    /// Where their files are.
    files: Option<Files>,
    /// Answers, and follows the change log.
    pub(crate) serving: Option<Arc<SpaceLegs>>,
    /// Follows the change log, and answers as soon as no vector is missing.
    pub(crate) filling: Option<Arc<SpaceLegs>>,
}

impl Spaces {
    /// For a tenant whose vectors are of the spaces `stored`. `retired` is the engine before this
    /// one, if it can still be asked.
    pub(crate) fn open(
        engine: Option<Arc<Vectors>>,
        retired: Option<Arc<Vectors>>,
        stored: &[SpaceId],
        corpora: &'static [Corpus],
        kind: VectorKind,
        files: Option<Files>,
    ) -> Self {
        let mut spaces = Self { corpora, kind, files, serving: None, filling: None };
        let Some(engine) = engine else { return spaces };
        if let Some(retired) = retired.filter(|retired| retired.space() != engine.space())
            && stored.contains(retired.space())
        {
            spaces.serving = Some(SpaceLegs::new(retired, corpora, kind, spaces.files.as_ref()));
        }
        spaces.turn_to(Some(engine), stored);
        spaces
    }

    /// Turns to another engine, or to none.
    pub(crate) fn turn_to(&mut self, engine: Option<Arc<Vectors>>, stored: &[SpaceId]) {
        let Some(engine) = engine else {
            (self.serving, self.filling) = (None, None);
            return;
        };
        let space = engine.space().clone();
        if self.serving.as_ref().is_some_and(|legs| legs.is_of(&space)) {
            // Back again, or never away: what was begun for another is of no use.
            self.filling = None;
        } else if self.filling.as_ref().is_none_or(|legs| !legs.is_of(&space)) {
            let legs = SpaceLegs::new(engine, self.corpora, self.kind, self.files.as_ref());
            let is_first = self.serving.is_none() && stored.iter().all(|stored| *stored == space);
            // The first engine hides nothing by answering before it is complete.
            *(if is_first { &mut self.serving } else { &mut self.filling }) = Some(legs);
        }
    }

    /// Lets the legs that were filled answer; `false` when others are wanted meanwhile.
    pub(crate) fn switch_to(&mut self, filled: &Arc<SpaceLegs>) -> bool {
        let wanted = self.filling.as_ref().is_some_and(|legs| Arc::ptr_eq(legs, filled));
        if wanted {
            self.serving = self.filling.take();
        }
        wanted
    }

    /// Whether they have turned to this engine, or to none.
    pub(crate) fn follow(&self, engine: Option<&Vectors>) -> bool {
        match engine {
            None => !self.any(),
            // Back to the one that answers counts when nothing else is on its way.
            Some(engine) => {
                let last = self.filling.as_ref().or(self.serving.as_ref());
                last.is_some_and(|legs| legs.is_of(engine.space()))
            }
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.serving.is_some() || self.filling.is_some()
    }

    pub(crate) fn all(&self) -> Vec<Arc<SpaceLegs>> {
        self.serving.iter().chain(&self.filling).cloned().collect()
    }
}
