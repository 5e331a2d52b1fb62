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
mod columns;
mod contract;
mod copy;
mod cursor;
mod error;
mod postgres;
mod shared;
mod spread;
mod sqlite;
mod work;

pub use backup::{BackupName, BackupTenant, Manifest, NotABackupName};
pub use contract::{
    Batch, Change, ChangeEntry, Chunk, ChunkDraft, ChunkId, Committed, Entry, ListQuery, Outcome, Page,
    Store, VectorCount, VectorRow,
};
pub use copy::{Copied, CopyError, copy_tenant};
pub use error::StoreError;
pub use postgres::{
    Connect, Connecting, PostgresOptions, PostgresStore, Stream, TLS_AGREED, TLS_PROTOCOL, TLS_REQUEST,
};
pub use shared::{Near, NearQuery, Others, Turn, VectorSearch};
pub use spread::SpreadStore;
pub use sqlite::{DataDirectory, Restored, SqliteStore};
