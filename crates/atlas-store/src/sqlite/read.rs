//! The questions, each inside a read transaction.

use atlas_domain::{Corpus, Filter, Record, RecordId, RecordKey, Seq, SpaceId};
use rusqlite::{OptionalExtension, Transaction, params, params_from_iter};

use super::failure::Failure;
use super::select::select;
use super::{lines, row};
use crate::cursor::Cursor;
use crate::{ChangeEntry, Chunk, ChunkId, Entry, ListQuery, Page, VectorCount, VectorRow};

/// Most records in a page, however many are asked for.
const MAX_PAGE: usize = 1000;

pub(super) fn get(tx: &Transaction<'_>, key: &RecordKey) -> rusqlite::Result<Option<Record>> {
    let sql = format!("SELECT {} FROM records r WHERE r.corpus = ? AND r.id = ?", row::RECORD);
    let found = tx
        .prepare_cached(&sql)?
        .query_row(params![key.corpus.code(), key.id.as_str()], row::record)
        .optional()?;
    if found.is_some() || !lines::is_line(key) {
        return Ok(found);
    }
    Ok(lines::find(tx, &[&key.id])?.remove(&key.id))
}

pub(super) fn get_many(
    tx: &Transaction<'_>,
    corpus: Corpus,
    ids: &[RecordId],
) -> rusqlite::Result<Vec<Record>> {
    let sql = format!("SELECT {} FROM records r WHERE r.corpus = ? AND r.id = ?", row::RECORD);
    let mut statement = tx.prepare_cached(&sql)?;
    let mut records = Vec::with_capacity(ids.len());
    let mut row =
        |id: &RecordId| statement.query_row(params![corpus.code(), id.as_str()], row::record).optional();
    if corpus != Corpus::Logs {
        for id in ids {
            records.extend(row(id)?);
        }
        return Ok(records);
    }
    let all: Vec<&RecordId> = ids.iter().collect();
    let (in_blocks, rows) = (lines::find(tx, &all)?, lines::rows_between(tx, "records", &all)?);
    for id in ids {
        let record = if rows.contains(id) { row(id)? } else { in_blocks.get(id).cloned() };
        records.extend(record);
    }
    Ok(records)
}

pub(super) fn list(tx: &Transaction<'_>, corpus: Corpus, query: &ListQuery) -> Result<Page, Failure> {
    let cursor = query.cursor.as_deref().map(|text| Cursor::read(text, corpus)).transpose()?;
    let limit = query.limit.clamp(1, MAX_PAGE);
    let mut selection = select(corpus, &query.filter, cursor.as_ref())?;
    selection.values.push((limit as i64 + 1).into());
    let sql = format!(
        "SELECT {} FROM records r WHERE {} ORDER BY r.at_us DESC, r.id LIMIT ?",
        row::RECORD,
        selection.condition
    );
    let mut records = tx
        .prepare_cached(&sql)?
        .query_map(params_from_iter(selection.values), row::record)?
        .collect::<Result<Vec<_>, _>>()?;
    if corpus == Corpus::Logs {
        records.extend(lines::list(tx, &query.filter, cursor.as_ref(), limit + 1)?);
        records.sort_by(|a, b| {
            b.facets.at.cmp(&a.facets.at).then_with(|| a.key.id.as_str().cmp(b.key.id.as_str()))
        });
    }
    // The record beyond the page tells that there is one; it is the first of the next page.
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(|record| Cursor::after(record).write(corpus));
    Ok(Page { records, next })
}

pub(super) fn count(tx: &Transaction<'_>, corpus: Corpus, filter: &Filter) -> Result<u64, Failure> {
    let selection = select(corpus, filter, None)?;
    let sql = format!("SELECT count(*) FROM records r WHERE {}", selection.condition);
    let rows: u64 =
        tx.prepare_cached(&sql)?.query_row(params_from_iter(selection.values), |row| row.get(0))?;
    let in_blocks = if corpus == Corpus::Logs { lines::count(tx, filter)? } else { 0 };
    Ok(rows + in_blocks)
}

pub(super) fn chunks_of(tx: &Transaction<'_>, key: &RecordKey) -> rusqlite::Result<Vec<Chunk>> {
    let sql = format!(
        "SELECT {} FROM records r JOIN chunks c ON c.record = r.num
         WHERE r.corpus = ? AND r.id = ? ORDER BY c.ordinal",
        row::CHUNK
    );
    tx.prepare_cached(&sql)?.query_map(params![key.corpus.code(), key.id.as_str()], row::chunk)?.collect()
}

pub(super) fn chunks(tx: &Transaction<'_>, ids: &[ChunkId]) -> rusqlite::Result<Vec<Chunk>> {
    let sql =
        format!("SELECT {} FROM chunks c JOIN records r ON r.num = c.record WHERE c.id = ?", row::CHUNK);
    let mut statement = tx.prepare_cached(&sql)?;
    let mut chunks = Vec::with_capacity(ids.len());
    for id in ids {
        chunks.extend(statement.query_row([signed(*id)], row::chunk).optional()?);
    }
    Ok(chunks)
}

pub(super) fn last_seq(tx: &Transaction<'_>) -> rusqlite::Result<Seq> {
    tx.prepare_cached("SELECT seq FROM state")?.query_row([], |row| row.get(0))
}

pub(super) fn changes_after(
    tx: &Transaction<'_>,
    corpus: Corpus,
    seq: Seq,
    limit: usize,
) -> rusqlite::Result<Vec<ChangeEntry>> {
    let bounds = params![corpus.code(), signed(seq), signed(limit as u64)];
    let sql = format!(
        "SELECT {} FROM records r WHERE r.corpus = ? AND r.seq > ? ORDER BY r.seq LIMIT ?",
        row::RECORD
    );
    let mut entries = tx
        .prepare_cached(&sql)?
        .query_map(bounds, |row| {
            let record = row::record(row)?;
            Ok(ChangeEntry {
                seq: record.seq,
                key: record.key.clone(),
                entry: Entry::Present(Box::new(record)),
            })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    let removed = tx
        .prepare_cached("SELECT seq, id FROM tombstones WHERE corpus = ? AND seq > ? ORDER BY seq LIMIT ?")?
        .query_map(bounds, |row| {
            let key = RecordKey::new(corpus, row::record_id(row, 1)?);
            Ok(ChangeEntry { seq: row.get(0)?, key, entry: Entry::Removed })
        })?
        .collect::<Result<Vec<_>, _>>()?;
    entries.extend(removed);
    if corpus == Corpus::Logs {
        entries.extend(lines::changes_after(tx, seq, limit)?);
    }
    entries.sort_by_key(|entry| entry.seq);
    entries.truncate(limit);
    Ok(entries)
}

pub(super) fn vectors_of(
    tx: &Transaction<'_>,
    key: &RecordKey,
    space: &SpaceId,
) -> rusqlite::Result<Vec<VectorRow>> {
    let sql = format!(
        "SELECT {}, c.id, v.data FROM records r
         JOIN chunks c ON c.record = r.num
         JOIN vectors v ON v.chunk = c.id AND v.space = ?
         WHERE r.corpus = ? AND r.id = ? ORDER BY c.ordinal",
        row::FACETS
    );
    tx.prepare_cached(&sql)?
        .query_map(params![space.as_str(), key.corpus.code(), key.id.as_str()], row::vector)?
        .collect()
}

pub(super) fn vectors_after(
    tx: &Transaction<'_>,
    corpus: Corpus,
    space: &SpaceId,
    after: ChunkId,
    limit: usize,
) -> rusqlite::Result<Vec<VectorRow>> {
    // CROSS JOIN fixes the order of the loops: the vectors by their index, the rest looked up.
    let sql = format!(
        "SELECT {}, c.id, v.data FROM vectors v
         CROSS JOIN chunks c ON c.id = v.chunk
         CROSS JOIN records r ON r.num = c.record
         WHERE v.space = ? AND v.corpus = ? AND v.chunk > ? ORDER BY v.chunk LIMIT ?",
        row::FACETS
    );
    tx.prepare_cached(&sql)?
        .query_map(params![space.as_str(), corpus.code(), signed(after), signed(limit as u64)], row::vector)?
        .collect()
}

pub(super) fn chunks_without_vector(
    tx: &Transaction<'_>,
    space: &SpaceId,
    limit: usize,
) -> rusqlite::Result<Vec<Chunk>> {
    let sql = format!(
        "SELECT {} FROM chunks c CROSS JOIN records r ON r.num = c.record
         WHERE NOT EXISTS (SELECT 1 FROM vectors v WHERE v.chunk = c.id AND v.space = ?)
         ORDER BY c.id LIMIT ?",
        row::CHUNK
    );
    tx.prepare_cached(&sql)?.query_map(params![space.as_str(), signed(limit as u64)], row::chunk)?.collect()
}

/// Each step asks the index for the next larger name: as many look-ups as there are spaces, where
/// DISTINCT would read the entry of every vector.
pub(super) fn spaces(tx: &Transaction<'_>) -> rusqlite::Result<Vec<SpaceId>> {
    let sql = "WITH RECURSIVE named (space) AS (
                   SELECT min(space) FROM vectors
                   UNION ALL
                   SELECT (SELECT min(space) FROM vectors v WHERE v.space > named.space) FROM named
                   WHERE named.space IS NOT NULL
               )
               SELECT space FROM named WHERE space IS NOT NULL";
    tx.prepare_cached(sql)?.query_map([], |row| row::space(row, 0))?.collect()
}

pub(super) fn vector_count(tx: &Transaction<'_>, space: &SpaceId) -> rusqlite::Result<VectorCount> {
    let chunks = tx.prepare_cached("SELECT count(*) FROM chunks")?.query_row([], |row| row.get(0))?;
    let vectors = tx
        .prepare_cached("SELECT count(*) FROM vectors WHERE space = ?")?
        .query_row([space.as_str()], |row| row.get(0))?;
    Ok(VectorCount { chunks, vectors })
}

/// SQLite's integers are signed; no number of ours reaches the upper half.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
