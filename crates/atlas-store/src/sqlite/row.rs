//! How values become columns and back.

use std::collections::BTreeMap;

use atlas_domain::{Corpus, Facets, Record, RecordDraft, RecordId, RecordKey, SpaceId, TextHash, Timestamp};
use rusqlite::Row;
use rusqlite::types::Type;
use sha2::{Digest, Sha256};

use crate::{Chunk, ChunkDraft, VectorRow};

/// The columns [`facets`] reads, first in every list.
pub(super) const FACETS: &str =
    "r.corpus, r.id, r.at_us, r.service, r.severity, r.source, r.status, r.link, r.labels";
/// The columns [`record`] reads.
pub(super) const RECORD: &str = "r.corpus, r.id, r.at_us, r.service, r.severity, r.source, r.status, r.link, \
    r.labels, r.title, r.text, r.body, r.seq, r.created_us, r.updated_us";
/// The columns [`chunk`] reads.
pub(super) const CHUNK: &str = "c.id, r.corpus, r.id, c.ordinal, c.heading, c.text";

// UTF-8 never contains these bytes, so a pair can be searched in the encoded labels as a byte
// string: the match is exact for every name and value.
const NAME: u8 = 0xff;
const VALUE: u8 = 0xfe;
const END: u8 = 0xfd;

/// Whole microseconds since the epoch, rounded down.
pub(super) fn micros(at: Timestamp) -> i64 {
    at.as_nanosecond().div_euclid(1000) as i64 // jiff's range is 23 bits short of i64
}

/// Whole microseconds since the epoch, rounded up: the first stored time that is not before `at`.
pub(super) fn micros_from(at: Timestamp) -> i64 {
    -(-at.as_nanosecond()).div_euclid(1000) as i64
}

/// One label as it stands in the encoded labels.
pub(super) fn label(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + value.len() + 3);
    push_label(&mut bytes, name, value);
    bytes
}

pub(super) fn labels(labels: &BTreeMap<String, String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in labels {
        push_label(&mut bytes, name, value);
    }
    bytes
}

fn push_label(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.push(NAME);
    bytes.extend_from_slice(name.as_bytes());
    bytes.push(VALUE);
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(END);
}

fn read_labels(bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for pair in bytes.split_inclusive(|byte| *byte == END) {
        let pair = pair.strip_prefix(&[NAME])?.strip_suffix(&[END])?;
        let middle = pair.iter().position(|byte| *byte == VALUE)?;
        let name = std::str::from_utf8(&pair[..middle]).ok()?;
        let value = std::str::from_utf8(&pair[middle + 1..]).ok()?;
        labels.insert(name.to_owned(), value.to_owned());
    }
    Some(labels)
}

pub(super) fn vector_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|component| component.to_le_bytes()).collect()
}

/// What decides whether a write changes anything. Vectors are not part of it: they follow from
/// the text and the space.
pub(super) fn content_hash(
    draft: &RecordDraft,
    body: &str,
    labels: &[u8],
    chunks: &[ChunkDraft],
) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(&micros(draft.facets.at).to_le_bytes());
    let Facets { at: _, service, severity, source, status, link, labels: _ } = &draft.facets;
    for facet in [service, severity, source, status, link] {
        part(&[u8::from(facet.is_some())]);
        part(facet.as_deref().unwrap_or_default().as_bytes());
    }
    part(labels);
    for text in [draft.title.as_str(), &draft.text, body] {
        part(text.as_bytes());
    }
    for chunk in chunks {
        part(chunk.heading.as_bytes());
        part(chunk.text.as_bytes());
        part(&chunk.hash.0);
    }
    hasher.finalize().into()
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
    SpaceId::read(&row.get::<_, String>(column)?).ok_or_else(|| odd(column, Type::Text))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn labels_survive_their_encoding(map in prop::collection::btree_map(".{0,6}", ".{0,6}", 0..4)) {
            prop_assert_eq!(read_labels(&labels(&map)), Some(map));
        }

        #[test]
        fn a_time_lies_between_its_roundings(ns in -1_000_000_000_000i64..1_000_000_000_000) {
            let at = Timestamp::from_nanosecond(ns.into()).expect("in range");
            let (down, up) = (micros(at), micros_from(at));
            prop_assert!(down * 1000 <= ns && ns <= up * 1000 && up - down == i64::from(ns % 1000 != 0));
        }
    }

    #[test]
    fn bytes_that_are_no_labels_are_noticed() {
        for bytes in
            [&b"a"[..], &[NAME], &[NAME, b'a', END], &[NAME, VALUE, END, b'x'], &[NAME, 0x80, VALUE, END]]
        {
            assert_eq!(read_labels(bytes), None, "{bytes:?}");
        }
    }
}
