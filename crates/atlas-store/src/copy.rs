//! Moving a tenant from one store to another.
//!
//! Everything is copied that the tenant's callers can see: records with their times, chunks,
//! vectors of every space. Numbers are not: each store counts for itself, and what is derived from
//! a store belongs to it. A copy that was interrupted is taken up by beginning again: what is there
//! already is recognised and not written. In the end both sides are read and compared.

use std::collections::{BTreeMap, HashMap};

use atlas_domain::{Corpus, Filter, Record, RecordDraft, RecordKey, SpaceId, TenantScope, TextHash};

use crate::{Batch, Change, Chunk, ChunkDraft, ListQuery, Outcome, Store, StoreError};

/// Records per transaction.
const RECORDS: usize = 500;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Records that are in both stores now.
    pub records: u64,
    /// Of these, those that were written by this run.
    pub written: u64,
    /// Chunks that were compared.
    pub chunks: u64,
    /// Vectors that were compared.
    pub vectors: u64,
}

/// Why a tenant was not moved. The source is as it was in any case.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the stores could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The two sides are not the same after the copy.
    #[error("{what} of {} {} is not the same in both stores; was it written meanwhile?", .key.corpus, .key.id)]
    Different {
        /// What differs.
        what: &'static str,
        /// Which record.
        key: RecordKey,
    },
    /// The target has records that the source has not.
    #[error("the target has {extra} {corpus} that the source has not; move into an empty tenant")]
    Foreign {
        /// Of which corpus.
        corpus: Corpus,
        /// How many.
        extra: u64,
    },
}

/// Copies a tenant and compares both sides. `hash` gives the hash of a chunk's text, as whoever
/// wrote the chunk made it. `progress` is told how many records are done.
pub fn copy_tenant(
    from: &dyn Store,
    to: &dyn Store,
    scope: &TenantScope,
    hash: impl Fn(&Chunk) -> TextHash,
    progress: impl Fn(u64),
) -> Result<Copied, CopyError> {
    to.create_tenant(scope.tenant())?;
    let spaces = from.spaces(scope)?;
    let mut copied = Copied::default();
    for corpus in Corpus::ALL {
        each_page(from, scope, corpus, |records| {
            for together in written_together(records) {
                copied.written += write(from, to, scope, &spaces, &hash, &together)?;
            }
            copied.records += records.len() as u64;
            progress(copied.records);
            Ok(())
        })?;
        let everything = Filter::default();
        let (source, target) =
            (from.count(scope, corpus, &everything)?, to.count(scope, corpus, &everything)?);
        if target > source {
            return Err(CopyError::Foreign { corpus, extra: target - source });
        }
        each_page(from, scope, corpus, |records| compare(from, to, scope, &spaces, records, &mut copied))?;
    }
    Ok(copied)
}

fn each_page(
    store: &dyn Store,
    scope: &TenantScope,
    corpus: Corpus,
    mut work: impl FnMut(&[Record]) -> Result<(), CopyError>,
) -> Result<(), CopyError> {
    let mut query = ListQuery { limit: RECORDS, ..ListQuery::default() };
    loop {
        let page = store.list(scope, corpus, &query)?;
        if !page.records.is_empty() {
            work(&page.records)?;
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return Ok(()),
        }
    }
}

/// Log lines apart by the time they were written at: a store may keep what was written together in
/// one piece, with one time.
fn written_together(records: &[Record]) -> Vec<Vec<Record>> {
    if records.first().is_none_or(|record| record.key.corpus != Corpus::Logs) {
        return vec![records.to_vec()];
    }
    let mut by_time: BTreeMap<_, Vec<Record>> = BTreeMap::new();
    for record in records {
        by_time.entry((record.created, record.updated)).or_default().push(record.clone());
    }
    by_time.into_values().collect()
}

/// Writes a page of records; gives how many were not there as they are.
fn write(
    from: &dyn Store,
    to: &dyn Store,
    scope: &TenantScope,
    spaces: &[SpaceId],
    hash: &impl Fn(&Chunk) -> TextHash,
    records: &[Record],
) -> Result<u64, CopyError> {
    let mut changes = Vec::with_capacity(records.len());
    let mut times = Vec::with_capacity(records.len());
    for record in records {
        let chunks = from.chunks_of(scope, &record.key)?;
        let chunks = chunks.into_iter().map(|chunk| ChunkDraft {
            hash: hash(&chunk),
            heading: chunk.heading,
            text: chunk.text,
            vector: None,
        });
        changes.push(Change::Put { record: draft(record), chunks: chunks.collect() });
        times.push((record.key.clone(), record.created, record.updated));
    }
    let committed = to.commit(scope, Batch { space: None, changes })?;
    to.restore_times(scope, &times)?;
    for space in spaces {
        let mut vectors = Vec::new();
        for record in records {
            let rows = from.vectors_of(scope, &record.key, space)?;
            if rows.is_empty() {
                continue;
            }
            let places: HashMap<_, _> = from
                .chunks_of(scope, &record.key)?
                .into_iter()
                .map(|chunk| (chunk.id, chunk.ordinal))
                .collect();
            let targets: HashMap<_, _> = to
                .chunks_of(scope, &record.key)?
                .into_iter()
                .map(|chunk| (chunk.ordinal, chunk.id))
                .collect();
            vectors.extend(rows.into_iter().filter_map(|row| {
                let target = targets.get(places.get(&row.chunk)?)?;
                Some((*target, row.vector))
            }));
        }
        if !vectors.is_empty() {
            to.put_vectors(scope, space, vectors)?;
        }
    }
    Ok(committed.outcomes.iter().filter(|outcome| **outcome != Outcome::Unchanged).count() as u64)
}

fn draft(record: &Record) -> RecordDraft {
    RecordDraft {
        key: record.key.clone(),
        title: record.title.clone(),
        facets: record.facets.clone(),
        text: record.text.clone(),
        body: record.body.clone(),
    }
}

fn compare(
    from: &dyn Store,
    to: &dyn Store,
    scope: &TenantScope,
    spaces: &[SpaceId],
    records: &[Record],
    copied: &mut Copied,
) -> Result<(), CopyError> {
    for record in records {
        let key = &record.key;
        let different = |what| CopyError::Different { what, key: key.clone() };
        let target = to.get(scope, key)?.ok_or_else(|| different("the record"))?;
        if draft(&target) != draft(record) {
            return Err(different("the content"));
        }
        if (target.created, target.updated) != (record.created, record.updated) {
            return Err(different("the time"));
        }
        let (source, target) = (from.chunks_of(scope, key)?, to.chunks_of(scope, key)?);
        let same =
            |(a, b): (&Chunk, &Chunk)| (a.ordinal, &a.heading, &a.text) == (b.ordinal, &b.heading, &b.text);
        if source.len() != target.len() || !source.iter().zip(&target).all(same) {
            return Err(different("a chunk"));
        }
        copied.chunks += source.len() as u64;
        for space in spaces {
            let (source, target) = (from.vectors_of(scope, key, space)?, to.vectors_of(scope, key, space)?);
            if source.len() != target.len() || source.iter().zip(&target).any(|(a, b)| a.vector != b.vector) {
                return Err(different("a vector"));
            }
            copied.vectors += source.len() as u64;
        }
    }
    Ok(())
}
