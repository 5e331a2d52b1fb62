//! What happens inside a write transaction.

use std::collections::{HashMap, HashSet};

use atlas_domain::{Record, RecordDraft, RecordId, RecordKey, Seq, SpaceId, TextHash, Timestamp};
use rusqlite::{OptionalExtension, Transaction, params};

use super::failure::Failure;
use super::{lines, row};
use crate::work::Work;
use crate::{Change, ChunkDraft, ChunkId, Committed, Outcome, StoreError};

/// Applies one caller's work.
pub(super) fn apply(transaction: &Transaction<'_>, work: &Work) -> Result<Committed, Failure> {
    let before = transaction.prepare_cached("SELECT seq FROM state")?.query_row([], |row| row.get(0))?;
    let mut writer =
        Writer { transaction, seq: before, now_us: row::micros(Timestamp::now()), space: work.space() };
    writer.check_dimension(work)?;
    let outcomes = match work {
        Work::Batch(batch) => writer.changes(&batch.changes)?,
        Work::Vectors { vectors, .. } => {
            writer.add_vectors(vectors)?;
            Vec::new()
        }
        Work::Times(times) => {
            writer.restore_times(times)?;
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

/// A line on its way into a block.
struct WaitingLine<'a> {
    place: usize,
    draft: &'a RecordDraft,
    kind: lines::Kind,
    line: lines::Line,
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

    /// Applies changes in order. Lines of a log that follow each other are written together.
    fn changes(&mut self, changes: &[Change]) -> rusqlite::Result<Vec<Outcome>> {
        let mut outcomes = vec![Outcome::Unchanged; changes.len()];
        let mut waiting: Vec<WaitingLine<'_>> = Vec::new();
        let mut waiting_ids = HashSet::new();
        for (place, change) in changes.iter().enumerate() {
            let (Change::Put { record: RecordDraft { key, .. }, .. } | Change::Delete(key)) = change;
            if let Change::Put { record, chunks } = change
                && !waiting_ids.contains(&key.id)
                && let Some((kind, line)) = lines::line(record, chunks)
            {
                waiting_ids.insert(&key.id);
                waiting.push(WaitingLine { place, draft: record, kind, line });
                continue;
            }
            if lines::is_line(key) {
                self.put_lines(std::mem::take(&mut waiting), &mut outcomes)?;
                waiting_ids.clear();
            }
            outcomes[place] = self.change(change)?;
        }
        self.put_lines(waiting, &mut outcomes)?;
        Ok(outcomes)
    }

    /// Writes lines of different ids. Those that are there already go the way of every record.
    fn put_lines(&mut self, waiting: Vec<WaitingLine<'_>>, outcomes: &mut [Outcome]) -> rusqlite::Result<()> {
        if waiting.is_empty() {
            return Ok(());
        }
        let ids: Vec<&RecordId> = waiting.iter().map(|line| &line.draft.key.id).collect();
        let mut known = lines::known(self.transaction, &ids)?;
        for table in ["records", "tombstones"] {
            known.extend(lines::rows_between(self.transaction, table, &ids)?);
        }
        let mut new = Vec::with_capacity(waiting.len());
        for WaitingLine { place, draft, kind, line } in waiting {
            if known.contains(&draft.key.id) {
                outcomes[place] = self.put(draft, &[])?;
            } else {
                outcomes[place] = Outcome::Created;
                new.push((kind, line));
            }
        }
        self.seq = lines::put(self.transaction, new, self.seq, self.now_us)?;
        Ok(())
    }

    fn change(&mut self, change: &Change) -> rusqlite::Result<Outcome> {
        match change {
            Change::Put { record, chunks } => self.put(record, chunks),
            Change::Delete(key) => self.delete(key),
        }
    }

    fn put(&mut self, draft: &RecordDraft, chunks: &[ChunkDraft]) -> rusqlite::Result<Outcome> {
        let line = match lines::is_line(&draft.key) {
            true => lines::find(self.transaction, &[&draft.key.id])?.remove(&draft.key.id),
            false => None,
        };
        match line {
            None => self.put_row(draft, chunks),
            Some(line) if lines::is_same(&line, draft, chunks) => Ok(Outcome::Unchanged),
            // Changed, it is a line no longer that looks like others.
            Some(line) => {
                lines::remove(self.transaction, &draft.key.id)?;
                self.put_row(draft, chunks)?;
                self.transaction
                    .prepare_cached("UPDATE records SET created_us = ? WHERE corpus = ? AND id = ?")?
                    .execute(params![
                        row::micros(line.created),
                        draft.key.corpus.code(),
                        draft.key.id.as_str()
                    ])?;
                Ok(Outcome::Updated)
            }
        }
    }

    fn put_row(&mut self, draft: &RecordDraft, chunks: &[ChunkDraft]) -> rusqlite::Result<Outcome> {
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
        if removed == 0 && !(lines::is_line(key) && lines::remove(self.transaction, &key.id)?.is_some()) {
            return Ok(Outcome::Missing);
        }
        self.seq += 1;
        self.transaction
            .prepare_cached("INSERT INTO tombstones (corpus, id, seq) VALUES (?, ?, ?)")?
            .execute(params![key.corpus.code(), key.id.as_str(), self.seq])?;
        Ok(Outcome::Deleted)
    }

    /// Gives records the times of creation and change that they had elsewhere.
    fn restore_times(&mut self, times: &[(RecordKey, Timestamp, Timestamp)]) -> rusqlite::Result<()> {
        let mut lines_by_id = HashMap::new();
        for (key, created, updated) in times {
            if !self.set_row_times(key, *created, *updated)? && lines::is_line(key) {
                lines_by_id.insert(&key.id, (*created, *updated));
            }
        }
        let is_plain = |(created, updated): &(Timestamp, Timestamp)| created == updated;
        let plain = lines_by_id.iter().filter(|(_, times)| is_plain(times));
        let mut apart = lines::set_times(
            self.transaction,
            &plain.map(|(id, (at, _))| (*id, row::micros(*at))).collect(),
        )?;
        let changed = lines_by_id.iter().filter(|(_, times)| !is_plain(times));
        apart.extend(changed.map(|(id, _)| (*id).clone()));
        for id in apart {
            let Some(record) = lines::remove(self.transaction, &id)? else { continue };
            let Record { key, title, facets, text, body, seq, .. } = record;
            // It keeps its change number: nothing changes that a derived structure knows.
            let last = std::mem::replace(&mut self.seq, seq - 1);
            self.put_row(&RecordDraft { key: key.clone(), title, facets, text, body }, &[])?;
            self.seq = last;
            let (created, updated) = lines_by_id[&id];
            self.set_row_times(&key, created, updated)?;
        }
        Ok(())
    }

    /// `false` when there is no such row.
    fn set_row_times(
        &self,
        key: &RecordKey,
        created: Timestamp,
        updated: Timestamp,
    ) -> rusqlite::Result<bool> {
        let changed = self
            .transaction
            .prepare_cached("UPDATE records SET created_us = ?, updated_us = ? WHERE corpus = ? AND id = ?")?
            .execute(params![
                row::micros(created),
                row::micros(updated),
                key.corpus.code(),
                key.id.as_str()
            ])?;
        Ok(changed > 0)
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
