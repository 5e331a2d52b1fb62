//! What a store is.

use atlas_domain::{
    Corpus, Facets, Filter, Record, RecordDraft, RecordId, RecordKey, Seq, SpaceId, TenantId, TenantScope,
    TextHash, Timestamp,
};

use crate::{Others, StoreError, VectorSearch};

/// The number of a chunk inside its tenant. Never reused; a changed record gets new chunks.
pub type ChunkId = u64;

/// A piece of a record's text, small enough for the embedding model.
#[derive(Debug, Clone, PartialEq)]
pub struct ChunkDraft {
    /// Headings from the document's title down, joined by ` > `: the citation anchor.
    pub heading: String,
    /// The piece as it stands in the document.
    pub text: String,
    /// Hash of the text that is embedded for this chunk (heading and piece).
    pub hash: TextHash,
    /// Its vector in the batch's space; `None`: to be embedded later.
    pub vector: Option<Vec<f32>>,
}

/// A stored chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Its number.
    pub id: ChunkId,
    /// The record it belongs to.
    pub key: RecordKey,
    /// Position in the record, from 0.
    pub ordinal: u32,
    /// The citation anchor.
    pub heading: String,
    /// The piece.
    pub text: String,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "batches are nearly all writes; a box each would only cost")]
pub enum Change {
    /// Writes a record and replaces all its chunks.
    Put {
        /// The record.
        record: RecordDraft,
        /// Its chunks, in order.
        chunks: Vec<ChunkDraft>,
    },
    /// Removes a record with its chunks and vectors.
    Delete(RecordKey),
}

/// Changes that happen together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The space of every vector in the batch.
    pub space: Option<SpaceId>,
    /// The changes, applied in order.
    pub changes: Vec<Change>,
}

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The record is new.
    Created,
    /// The record was replaced.
    Updated,
    /// Record and chunks were already exactly so; nothing was written.
    Unchanged,
    /// The record was removed.
    Deleted,
    /// There was no such record to remove.
    Missing,
}

/// A commit that is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The tenant's last change number after the commit.
    pub seq: Seq,
    /// One per change, in order.
    pub outcomes: Vec<Outcome>,
}

/// One entry of the change log, newest state only: a record that changed five times has one.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeEntry {
    /// The change.
    pub seq: Seq,
    /// Which record.
    pub key: RecordKey,
    /// Its state.
    pub entry: Entry,
}

/// The state of a record in the change log.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// It exists, with this content.
    Present(Box<Record>),
    /// It was removed.
    Removed,
}

/// A vector with what the vector leg needs to admit or refuse it.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorRow {
    /// The chunk.
    pub chunk: ChunkId,
    /// The record it belongs to.
    pub id: RecordId,
    /// The record's facets.
    pub facets: Facets,
    /// The components.
    pub vector: Vec<f32>,
}

/// How far the vectors of a space are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorCount {
    /// All chunks.
    pub chunks: u64,
    /// Those that have a vector.
    pub vectors: u64,
}

/// Which records, in which page. Order: newest `at` first, then id.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Conditions.
    pub filter: Filter,
    /// Most records in the page.
    pub limit: usize,
    /// Where the previous page ended, as [`Page::next`] gave it.
    pub cursor: Option<String>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The records.
    pub records: Vec<Record>,
    /// Pass it as the cursor to go on; `None` at the end.
    pub next: Option<String>,
}

/// The durable truth of all tenants. Calls block: make them off the async workers.
///
/// Implementers owe: `commit` returns only after the transaction would survive power loss;
/// batches of one tenant are serialised, their sequence numbers grow without gaps becoming
/// visible out of order; readers see whole batches; a tenant's functions never touch another's
/// rows.
pub trait Store: Send + Sync {
    /// Every tenant, by name.
    fn tenants(&self) -> Result<Vec<TenantId>, StoreError>;

    /// Whether the tenant exists.
    fn has_tenant(&self, tenant: &TenantId) -> Result<bool, StoreError>;

    /// Creates a tenant; `false` when it was there.
    fn create_tenant(&self, tenant: &TenantId) -> Result<bool, StoreError>;

    /// Applies a batch in one durable transaction.
    fn commit(&self, scope: &TenantScope, batch: Batch) -> Result<Committed, StoreError>;

    /// One record.
    fn get(&self, scope: &TenantScope, key: &RecordKey) -> Result<Option<Record>, StoreError>;

    /// The records of a corpus that exist among `ids`, in the order of `ids`.
    fn get_many(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        ids: &[RecordId],
    ) -> Result<Vec<Record>, StoreError>;

    /// A page of a corpus.
    fn list(&self, scope: &TenantScope, corpus: Corpus, query: &ListQuery) -> Result<Page, StoreError>;

    /// How many records of a corpus match.
    fn count(&self, scope: &TenantScope, corpus: Corpus, filter: &Filter) -> Result<u64, StoreError>;

    /// The chunks of one record, in order.
    fn chunks_of(&self, scope: &TenantScope, key: &RecordKey) -> Result<Vec<Chunk>, StoreError>;

    /// The chunks that exist among `ids`, in the order of `ids`.
    fn chunks(&self, scope: &TenantScope, ids: &[ChunkId]) -> Result<Vec<Chunk>, StoreError>;

    /// The tenant's last change number; 0 for an untouched tenant.
    fn last_seq(&self, scope: &TenantScope) -> Result<Seq, StoreError>;

    /// Changes of a corpus after `seq`, oldest first, at most `limit`. A removed record stays in
    /// the log as [`Entry::Removed`].
    fn changes_after(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        seq: Seq,
        limit: usize,
    ) -> Result<Vec<ChangeEntry>, StoreError>;

    /// The vectors of one record in a space, by ordinal.
    fn vectors_of(
        &self,
        scope: &TenantScope,
        key: &RecordKey,
        space: &SpaceId,
    ) -> Result<Vec<VectorRow>, StoreError>;

    /// The vectors of a corpus in a space with a chunk number above `after`, ascending, at most
    /// `limit`. Used to build the vector leg.
    fn vectors_after(
        &self,
        scope: &TenantScope,
        corpus: Corpus,
        space: &SpaceId,
        after: ChunkId,
        limit: usize,
    ) -> Result<Vec<VectorRow>, StoreError>;

    /// Chunks that have no vector in a space, oldest first, at most `limit`. Used to embed what
    /// was written while the engine was down, or after the engine changed.
    fn chunks_without_vector(
        &self,
        scope: &TenantScope,
        space: &SpaceId,
        limit: usize,
    ) -> Result<Vec<Chunk>, StoreError>;

    /// Adds vectors for existing chunks. A chunk that has gone meanwhile is skipped; the record's
    /// change number is advanced, so that derived structures notice.
    fn put_vectors(
        &self,
        scope: &TenantScope,
        space: &SpaceId,
        vectors: Vec<(ChunkId, Vec<f32>)>,
    ) -> Result<Seq, StoreError>;

    /// The spaces that a tenant has vectors of. More than one: the engine was changed, and the
    /// vectors of the new one are still being made.
    fn spaces(&self, scope: &TenantScope) -> Result<Vec<SpaceId>, StoreError>;

    /// Gives records the times of creation and change that they had in another store. Records that
    /// are not there are left out; the change log does not advance. Used to move a tenant.
    fn restore_times(
        &self,
        scope: &TenantScope,
        times: &[(RecordKey, Timestamp, Timestamp)],
    ) -> Result<(), StoreError>;

    /// How many chunks a tenant has, and how many of them have a vector in a space.
    fn vector_count(&self, scope: &TenantScope, space: &SpaceId) -> Result<VectorCount, StoreError>;

    /// Removes at most `limit` vectors of a space, and says how many there were. No change number
    /// advances: who follows another space has nothing to do.
    fn drop_vectors(&self, scope: &TenantScope, space: &SpaceId, limit: usize) -> Result<u64, StoreError>;

    /// Checks that the store can be written: used by readiness.
    fn check(&self) -> Result<(), StoreError>;

    /// The store's own search by vectors, where it has one: a leg in memory is not needed then, and
    /// every server finds what any of them wrote.
    fn vector_search(&self) -> Option<&dyn VectorSearch> {
        None
    }

    /// Where other processes may write here too: how to notice that one did. `None`: this process
    /// is alone, and what it did not write has not changed.
    fn others(&self) -> Option<&dyn Others> {
        None
    }

    /// Closes what is open for a tenant that nobody has used for a while; a later call opens it
    /// again. May block as long as a commit.
    fn rest(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let _ = tenant;
        Ok(())
    }

    /// Brings what is open to rest at the end of the process. Best effort: what was acknowledged
    /// is durable either way, and later calls work.
    fn close(&self) {}
}
