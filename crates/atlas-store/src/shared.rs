//! What a store adds that several servers use: its own search by vectors, word of what others
//! wrote, and turns.

use atlas_domain::{Corpus, Filter, RecordId, Seq, SpaceId, TenantId, TenantScope};

use crate::{ChunkId, StoreError};

/// A question by a vector.
#[derive(Debug, Clone, Copy)]
pub struct NearQuery<'a> {
    /// The space of the vector and of everything that is compared with it.
    pub space: &'a SpaceId,
    /// The components; of any length above zero, cosine ignores it.
    pub vector: &'a [f32],
    /// Conditions.
    pub filter: &'a Filter,
    /// Most records.
    pub limit: usize,
}

/// A record that was found by its vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    /// The record's nearest chunk.
    pub chunk: ChunkId,
    /// Which record.
    pub id: RecordId,
    /// Cosine.
    pub score: f32,
}

/// A store that compares vectors itself. Implementers owe what a vector leg owes: at most one
/// answer per record, best first, ties by id; conditions inside the search, so that k matching
/// records give k answers; nothing that was removed, nothing of another space or tenant.
pub trait VectorSearch: Send + Sync {
    /// The nearest records of a corpus.
    fn nearest(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        query: NearQuery<'_>,
    ) -> Result<Vec<Near>, StoreError>;
}

/// A store that other processes write too.
pub trait Others: Send + Sync {
    /// The last change numbers of those of the tenants that exist. One cheap question for all of
    /// them: it is asked several times a second.
    fn last_seqs(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, Seq)>, StoreError>;

    /// Waits until nobody else has the turn of this name in the tenant, and takes it: for what is
    /// read, changed and written back. A turn that was lost all the same (this process stood still
    /// for a minute, the database was restarted) lets no write of the tenant through until it ends,
    /// so two who believe they have it cannot both write.
    fn take_turn(&self, scope: &TenantScope, what: &'static str) -> Result<Turn, StoreError>;
}

/// The right to read, change and write back. It ends when it is dropped, which does not block.
pub struct Turn(Box<dyn std::any::Any + Send + Sync>);

impl Turn {
    /// A turn that ends when `held` is dropped.
    pub fn until_dropped(held: impl std::any::Any + Send + Sync) -> Self {
        Self(Box::new(held))
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Turn").field(&self.0.type_id()).finish()
    }
}
