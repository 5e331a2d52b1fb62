//! What happens inside a write transaction.

use std::collections::HashMap;

use atlas_domain::{RecordDraft, RecordKey, Seq, SpaceId, TextHash, Timestamp};
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;

use super::failure::Failure;
use super::row;
use crate::{Batch, Change, ChunkDraft, ChunkId, Committed, Outcome, StoreError};

/// serde_json reads at most 128 levels; what could not be read back must not be written.
const MAX_DEPTH: usize = 100;

/// What a caller wants written.
pub(super) enum Work {
    Batch(Batch),
    Vectors { space: SpaceId, vectors: Vec<(ChunkId, Vec<f32>)> },
}

impl Work {
    /// Refuses what must never be stored. It runs in the caller's thread before the queue, so one
    /// caller's mistake costs the others nothing.
    pub(super) fn validate(&self) -> Result<(), StoreError> {
        let mut dimension = None;
        for vector in self.vectors() {
            if matches!(self, Self::Batch(Batch { space: None, .. })) {
                return Err(StoreError::Vector { detail: "the batch names no space" });
            }
            if vector.is_empty() || *dimension.get_or_insert(vector.len()) != vector.len() {
                return Err(StoreError::Vector { detail: "vectors of one space have one length above zero" });
            }
            if !vector.iter().all(|component| component.is_finite()) {
                return Err(StoreError::Vector { detail: "a component is not a finite number" });
            }
        }
        let too_deep =
            |change: &Change| matches!(change, Change::Put { record, .. } if deeper(&record.body, MAX_DEPTH));
        if matches!(self, Self::Batch(batch) if batch.changes.iter().any(too_deep)) {
            return Err(StoreError::Limit { what: "nesting of a record's body", limit: MAX_DEPTH });
        }
        Ok(())
    }

    fn space(&self) -> Option<&SpaceId> {
        match self {
            Self::Batch(batch) => batch.space.as_ref(),
            Self::Vectors { space, .. } => Some(space),
        }
    }

    fn vectors(&self) -> Box<dyn Iterator<Item = &Vec<f32>> + '_> {
        match self {
            Self::Batch(batch) => Box::new(batch.changes.iter().flat_map(|change| {
                match change {
                    Change::Put { chunks, .. } => chunks.as_slice(),
                    Change::Delete(_) => &[],
                }
                .iter()
                .filter_map(|chunk| chunk.vector.as_ref())
            })),
            Self::Vectors { vectors, .. } => Box::new(vectors.iter().map(|(_, vector)| vector)),
        }
    }
}

/// Whether `value` nests deeper than `levels`; looks no further than that.
fn deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| deeper(item, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|field| deeper(field, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Applies one caller's work.
pub(super) fn apply(transaction: &Transaction<'_>, work: &Work) -> Result<Committed, Failure> {
    let before = transaction.prepare_cached("SELECT seq FROM state")?.query_row([], |row| row.get(0))?;
    let mut writer =
        Writer { transaction, seq: before, now_us: row::micros(Timestamp::now()), space: work.space() };
    writer.check_dimension(work)?;
    let outcomes = match work {
        Work::Batch(batch) => {
            batch.changes.iter().map(|change| writer.change(change)).collect::<Result<_, _>>()?
        }
        Work::Vectors { vectors, .. } => {
            writer.add_vectors(vectors)?;
            Vec::new()
        }
    };
    if writer.seq != before {
        transaction.prepare_cached("UPDATE state SET seq = ?")?.execute([writer.seq])?;
    }
    Ok(Committed { seq: writer.seq, outcomes })
}

/// Removes vectors of a space, at most `limit`; how many.
pub(super) fn drop_vectors(
    transaction: &Transaction<'_>,
    space: &SpaceId,
    limit: usize,
) -> rusqlite::Result<u64> {
    let removed = transaction
        .prepare_cached(
            "DELETE FROM vectors WHERE rowid IN (SELECT rowid FROM vectors WHERE space = ? LIMIT ?)",
        )?
        .execute(params![space.as_str(), limit])?;
    Ok(removed as u64)
}

struct Writer<'a> {
    transaction: &'a Transaction<'a>,
    seq: Seq,
    now_us: i64,
    space: Option<&'a SpaceId>,
}

impl Writer<'_> {
    /// The lengths inside the work agree; they have to agree with what the space holds as well.
    fn check_dimension(&self, work: &Work) -> Result<(), Failure> {
        let (Some(space), Some(vector)) = (self.space, work.vectors().next()) else { return Ok(()) };
        let stored: Option<usize> = self
            .transaction
            .prepare_cached("SELECT length(data) FROM vectors WHERE space = ? LIMIT 1")?
            .query_row([space.as_str()], |row| row.get(0))
            .optional()?;
        if stored.is_some_and(|bytes| bytes != vector.len() * 4) {
            return Err(StoreError::Vector { detail: "the space holds vectors of another length" }.into());
        }
        Ok(())
    }

    fn change(&mut self, change: &Change) -> rusqlite::Result<Outcome> {
        match change {
            Change::Put { record, chunks } => self.put(record, chunks),
            Change::Delete(key) => self.delete(key),
        }
    }

    fn put(&mut self, draft: &RecordDraft, chunks: &[ChunkDraft]) -> rusqlite::Result<Outcome> {
        let body = draft.body.to_string();
        let labels = row::labels(&draft.facets.labels);
        let hash = row::content_hash(draft, &body, &labels, chunks);
        let RecordKey { corpus, id } = &draft.key;
        let stored: Option<(i64, [u8; 32])> = self
            .transaction
            .prepare_cached("SELECT num, hash FROM records WHERE corpus = ? AND id = ?")?
            .query_row(params![corpus.code(), id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((num, _)) = stored.filter(|(_, stored)| *stored == hash) {
            self.complete_vectors(draft, num, chunks)?;
            return Ok(Outcome::Unchanged);
        }

        let facets = &draft.facets;
        self.seq += 1;
        // One parameter order for both statements; the last is the row or the time of creation.
        let sql = match stored {
            None => {
                "INSERT INTO records (corpus, id, seq, at_us, service, severity, source, status, link, labels,
                     title, text, body, updated_us, hash, created_us)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            }
            Some(_) => {
                "UPDATE records SET corpus = ?, id = ?, seq = ?, at_us = ?, service = ?, severity = ?, source = ?,
                     status = ?, link = ?, labels = ?, title = ?, text = ?, body = ?, updated_us = ?, hash = ?
                 WHERE num = ?"
            }
        };
        self.transaction.prepare_cached(sql)?.execute(params![
            corpus.code(),
            id.as_str(),
            self.seq,
            row::micros(facets.at),
            facets.service,
            facets.severity,
            facets.source,
            facets.status,
            facets.link,
            labels,
            draft.title,
            draft.text,
            body,
            self.now_us,
            hash,
            stored.map_or(self.now_us, |(num, _)| num),
        ])?;
        match stored {
            Some((num, _)) => {
                self.replace_chunks(draft, num, chunks)?;
                Ok(Outcome::Updated)
            }
            None => {
                let num = self.transaction.last_insert_rowid();
                self.transaction
                    .prepare_cached("DELETE FROM tombstones WHERE corpus = ? AND id = ?")?
                    .execute(params![corpus.code(), id.as_str()])?;
                self.insert_chunks(draft, num, chunks)?;
                Ok(Outcome::Created)
            }
        }
    }

    fn delete(&mut self, key: &RecordKey) -> rusqlite::Result<Outcome> {
        // Chunks and vectors follow by their foreign keys.
        let removed = self
            .transaction
            .prepare_cached("DELETE FROM records WHERE corpus = ? AND id = ?")?
            .execute(params![key.corpus.code(), key.id.as_str()])?;
        if removed == 0 {
            return Ok(Outcome::Missing);
        }
        self.seq += 1;
        self.transaction
            .prepare_cached("INSERT INTO tombstones (corpus, id, seq) VALUES (?, ?, ?)")?
            .execute(params![key.corpus.code(), key.id.as_str(), self.seq])?;
        Ok(Outcome::Deleted)
    }

    /// Inserts chunks with their vectors; gives their numbers.
    fn insert_chunks(
        &self,
        draft: &RecordDraft,
        num: i64,
        chunks: &[ChunkDraft],
    ) -> rusqlite::Result<Vec<i64>> {
        let mut ids = Vec::with_capacity(chunks.len());
        for (ordinal, chunk) in chunks.iter().enumerate() {
            self.transaction
                .prepare_cached(
                    "INSERT INTO chunks (record, ordinal, heading, text, hash) VALUES (?, ?, ?, ?, ?)",
                )?
                .execute(params![num, ordinal, chunk.heading, chunk.text, chunk.hash.0])?;
            let id = self.transaction.last_insert_rowid();
            if let Some(vector) = &chunk.vector {
                self.insert_vector(draft, id, vector)?;
            }
            ids.push(id);
        }
        Ok(ids)
    }

    /// Replaces the chunks of a record. A piece whose text was embedded before keeps its vectors:
    /// moving a paragraph must not cost an embedding.
    fn replace_chunks(&self, draft: &RecordDraft, num: i64, chunks: &[ChunkDraft]) -> rusqlite::Result<()> {
        let mut old: HashMap<TextHash, Vec<i64>> = HashMap::new();
        let mut last_old = 0;
        for (id, hash) in self.chunks_of(num)? {
            old.entry(hash).or_default().push(id);
            last_old = last_old.max(id);
        }
        let ids = self.insert_chunks(draft, num, chunks)?;
        for (chunk, id) in chunks.iter().zip(ids) {
            for from in old.get(&chunk.hash).into_iter().flatten() {
                self.transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO vectors (chunk, space, corpus, data)
                         SELECT ?, space, corpus, data FROM vectors WHERE chunk = ?",
                    )?
                    .execute([id, *from])?;
            }
        }
        self.transaction
            .prepare_cached("DELETE FROM chunks WHERE record = ? AND id <= ?")?
            .execute([num, last_old])?;
        Ok(())
    }

    /// Adds the vectors of an unchanged record that are not there yet. Derived structures have to
    /// hear of them, so the record's change number advances then, as for `put_vectors`.
    fn complete_vectors(
        &mut self,
        draft: &RecordDraft,
        num: i64,
        chunks: &[ChunkDraft],
    ) -> rusqlite::Result<()> {
        if chunks.iter().all(|chunk| chunk.vector.is_none()) {
            return Ok(());
        }
        let mut added = 0;
        for (chunk, (id, _)) in chunks.iter().zip(self.chunks_of(num)?) {
            if let Some(vector) = &chunk.vector {
                added += self.insert_vector(draft, id, vector)?;
            }
        }
        if added > 0 { self.touch(num) } else { Ok(()) }
    }

    fn add_vectors(&mut self, vectors: &[(ChunkId, Vec<f32>)]) -> rusqlite::Result<()> {
        let mut touched = Vec::new();
        for (chunk, vector) in vectors {
            let Ok(chunk) = i64::try_from(*chunk) else { continue };
            let owner: Option<(i64, u8)> = self
                .transaction
                .prepare_cached(
                    "SELECT r.num, r.corpus FROM chunks c JOIN records r ON r.num = c.record WHERE c.id = ?",
                )?
                .query_row([chunk], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((num, corpus)) = owner else { continue };
            let changed = self
                .transaction
                .prepare_cached(
                    "INSERT INTO vectors (chunk, space, corpus, data) VALUES (?, ?, ?, ?)
                     ON CONFLICT (chunk, space) DO UPDATE SET data = excluded.data WHERE data <> excluded.data",
                )?
                .execute(params![chunk, self.space.map(SpaceId::as_str), corpus, row::vector_bytes(vector)])?;
            // Vectors arrive by chunk number, so those of one record stand together.
            if changed > 0 && touched.last() != Some(&num) {
                touched.push(num);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().try_for_each(|num| self.touch(num))
    }

    fn touch(&mut self, num: i64) -> rusqlite::Result<()> {
        self.seq += 1;
        self.transaction
            .prepare_cached("UPDATE records SET seq = ? WHERE num = ?")?
            .execute(params![self.seq, num])?;
        Ok(())
    }

    /// Number and hash of a record's chunks, in order.
    fn chunks_of(&self, num: i64) -> rusqlite::Result<Vec<(i64, TextHash)>> {
        self.transaction
            .prepare_cached("SELECT id, hash FROM chunks WHERE record = ? ORDER BY ordinal")?
            .query_map([num], |row| Ok((row.get(0)?, row::text_hash(row, 1)?)))?
            .collect()
    }

    fn insert_vector(&self, draft: &RecordDraft, chunk: i64, vector: &[f32]) -> rusqlite::Result<usize> {
        self.transaction
            .prepare_cached("INSERT OR IGNORE INTO vectors (chunk, space, corpus, data) VALUES (?, ?, ?, ?)")?
            .execute(params![
                chunk,
                self.space.map(SpaceId::as_str),
                draft.key.corpus.code(),
                row::vector_bytes(vector)
            ])
    }
}
