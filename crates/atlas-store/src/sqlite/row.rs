//! How values become columns and back.

use atlas_domain::{Corpus, Facets, Record, RecordId, RecordKey, SpaceId, TextHash, Timestamp};
use rusqlite::Row;
use rusqlite::types::Type;

use crate::columns::read_labels;
pub(super) use crate::columns::{content_hash, label, labels, micros, micros_from};
use crate::{Chunk, VectorRow};

/// The columns [`facets`] reads, first in every list.
pub(super) const FACETS: &str =
    "r.corpus, r.id, r.at_us, r.service, r.severity, r.source, r.status, r.link, r.labels";
/// The columns [`record`] reads.
pub(super) const RECORD: &str = "r.corpus, r.id, r.at_us, r.service, r.severity, r.source, r.status, r.link, \
    r.labels, r.title, r.text, r.body, r.seq, r.created_us, r.updated_us";
/// The columns [`chunk`] reads.
pub(super) const CHUNK: &str = "c.id, r.corpus, r.id, c.ordinal, c.heading, c.text";

pub(super) fn vector_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|component| component.to_le_bytes()).collect()
}

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let body: String = row.get(11)?;
    Ok(Record {
        key: key(row, 0)?,
        facets: facets(row)?,
        title: row.get(9)?,
        text: row.get(10)?,
        body: serde_json::from_str(&body).map_err(|_| odd(11, Type::Text))?,
        seq: row.get(12)?,
        created: timestamp(row, 13)?,
        updated: timestamp(row, 14)?,
    })
}

pub(super) fn chunk(row: &Row<'_>) -> rusqlite::Result<Chunk> {
    Ok(Chunk {
        id: row.get(0)?,
        key: key(row, 1)?,
        ordinal: row.get(3)?,
        heading: row.get(4)?,
        text: row.get(5)?,
    })
}

/// Reads [`FACETS`], then the chunk's number, then the components.
pub(super) fn vector(row: &Row<'_>) -> rusqlite::Result<VectorRow> {
    let (components, rest) = row.get_ref(10)?.as_blob()?.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(odd(10, Type::Blob));
    }
    Ok(VectorRow {
        chunk: row.get(9)?,
        id: key(row, 0)?.id,
        facets: facets(row)?,
        vector: components.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
    })
}

pub(super) fn record_id(row: &Row<'_>, column: usize) -> rusqlite::Result<RecordId> {
    RecordId::new(row.get::<_, String>(column)?).map_err(|_| odd(column, Type::Text))
}

pub(super) fn space(row: &Row<'_>, column: usize) -> rusqlite::Result<SpaceId> {
    row.get::<_, String>(column)?.parse().map_err(|_| odd(column, Type::Text))
}

pub(super) fn text_hash(row: &Row<'_>, column: usize) -> rusqlite::Result<TextHash> {
    row.get(column).map(TextHash)
}

fn key(row: &Row<'_>, first: usize) -> rusqlite::Result<RecordKey> {
    let corpus = Corpus::from_code(row.get(first)?).ok_or_else(|| odd(first, Type::Integer))?;
    Ok(RecordKey::new(corpus, record_id(row, first + 1)?))
}

fn facets(row: &Row<'_>) -> rusqlite::Result<Facets> {
    Ok(Facets {
        at: timestamp(row, 2)?,
        service: row.get(3)?,
        severity: row.get(4)?,
        source: row.get(5)?,
        status: row.get(6)?,
        link: row.get(7)?,
        labels: read_labels(row.get_ref(8)?.as_blob()?).ok_or_else(|| odd(8, Type::Blob))?,
    })
}

fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?).map_err(|_| odd(column, Type::Integer))
}

fn odd(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, "not what the store writes".into())
}
