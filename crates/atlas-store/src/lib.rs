//! The durable truth: records, chunks and vectors, one change log per tenant.
//!
//! A [`Store`] commits a [`Batch`] in one transaction and returns after it is on the disk.
//! Everything by which things are found quickly (the lexical index, the vector legs) is derived
//! from the change log and may be thrown away.
//!
//! Every function takes a [`TenantScope`](atlas_domain::TenantScope).
//!
//! Not here: chunking, embedding, search.

mod backup;
mod contract;
mod sqlite;

pub use backup::{BackupName, BackupTenant, Manifest, NotABackupName};
pub use contract::{
    Batch, Change, ChangeEntry, Chunk, ChunkDraft, ChunkId, Committed, Entry, ListQuery, Outcome, Page,
    Store, StoreError, VectorCount, VectorRow,
};
pub use sqlite::{Restored, SqliteStore};
