//! How values become columns and back.
//!
//! PostgreSQL's text holds every character but NUL, and the store's contract holds that one too.
//! So NUL is written as an escape, and the escape's own first character as another: strings
//! without either, which is nearly every one, stand in the tables as they are.

use std::error::Error;

use atlas_domain::{Corpus, Facets, Record, RecordId, RecordKey, TextHash, Timestamp};
use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::failure::Failure;
use crate::columns::read_labels;
use crate::{Chunk, VectorRow};

/// The columns [`facets`] reads, first in every list.
pub(super) const FACETS: &str =
    "r.corpus, r.id, r.at_us, r.service, r.severity, r.source, r.status, r.link, r.labels";
/// The columns [`record`] reads.
pub(super) const RECORD: &str = "r.corpus, r.id, r.at_us, r.service, r.severity, r.source, r.status, r.link, \
    r.labels, r.title, r.text, r.body, r.seq, r.created_us, r.updated_us";
/// The columns [`chunk`] reads.
pub(super) const CHUNK: &str = "c.id, r.corpus, r.id, c.ordinal, c.heading, c.text";

const ESCAPE: char = '\u{1}';

pub(super) fn text(text: &str) -> String {
    if !text.contains(['\0', ESCAPE]) {
        return text.to_owned();
    }
    let mut written = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => written.extend([ESCAPE, '0']),
            ESCAPE => written.extend([ESCAPE, '1']),
            other => written.push(other),
        }
    }
    written
}

pub(super) fn optional(value: &Option<String>) -> Option<String> {
    value.as_deref().map(text)
}

fn read_text(written: String) -> Result<String, Failure> {
    if !written.contains(ESCAPE) {
        return Ok(written);
    }
    let mut text = String::with_capacity(written.len());
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        match character {
            ESCAPE => match characters.next() {
                Some('0') => text.push('\0'),
                Some('1') => text.push(ESCAPE),
                _ => return Err(Failure::Odd("a text has an escape that is none")),
            },
            other => text.push(other),
        }
    }
    Ok(text)
}

/// The numbers here count from 1 and never reach the upper half.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row, column: usize) -> Result<u64, Failure> {
    u64::try_from(row.try_get::<_, i64>(column)?).map_err(|_| Failure::Odd("a number is negative"))
}

/// How a vector travels: pgvector's binary form.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Components(pub(super) Vec<f32>);

impl ToSql for Components {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let length = u16::try_from(self.0.len())?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        for component in &self.0 {
            out.extend_from_slice(&component.to_be_bytes());
        }
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        kind.name() == "vector"
    }

    to_sql_checked!();
}

impl FromSql<'_> for Components {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let (head, rest) = raw.split_first_chunk::<4>().ok_or("a vector without a head")?;
        let (components, odd) = rest.as_chunks::<4>();
        if !odd.is_empty() || usize::from(u16::from_be_bytes([head[0], head[1]])) != components.len() {
            return Err("a vector of another length than it says".into());
        }
        Ok(Self(components.iter().map(|bytes| f32::from_be_bytes(*bytes)).collect()))
    }

    fn accepts(kind: &Type) -> bool {
        kind.name() == "vector"
    }
}

pub(super) fn record(row: &Row) -> Result<Record, Failure> {
    let body: &str = row.try_get(11)?;
    Ok(Record {
        key: key(row, 0)?,
        facets: facets(row)?,
        title: read_text(row.try_get(9)?)?,
        text: read_text(row.try_get(10)?)?,
        body: serde_json::from_str(body).map_err(|_| Failure::Odd("a body is no JSON"))?,
        seq: unsigned(row, 12)?,
        created: timestamp(row, 13)?,
        updated: timestamp(row, 14)?,
    })
}

pub(super) fn chunk(row: &Row) -> Result<Chunk, Failure> {
    let ordinal: i32 = row.try_get(3)?;
    Ok(Chunk {
        id: unsigned(row, 0)?,
        key: key(row, 1)?,
        ordinal: u32::try_from(ordinal).map_err(|_| Failure::Odd("a position is negative"))?,
        heading: read_text(row.try_get(4)?)?,
        text: read_text(row.try_get(5)?)?,
    })
}

/// Reads [`FACETS`], then the chunk's number, then the components.
pub(super) fn vector(row: &Row) -> Result<VectorRow, Failure> {
    let Components(vector) = row.try_get(10)?;
    Ok(VectorRow { chunk: unsigned(row, 9)?, id: key(row, 0)?.id, facets: facets(row)?, vector })
}

pub(super) fn record_id(row: &Row, column: usize) -> Result<RecordId, Failure> {
    RecordId::new(row.try_get::<_, String>(column)?).map_err(|_| Failure::Odd("an id is none"))
}

pub(super) fn corpus(row: &Row, column: usize) -> Result<Corpus, Failure> {
    let code: i16 = row.try_get(column)?;
    u8::try_from(code).ok().and_then(Corpus::from_code).ok_or(Failure::Odd("there is no such corpus"))
}

pub(super) fn hash(row: &Row, column: usize) -> Result<[u8; 32], Failure> {
    row.try_get::<_, &[u8]>(column)?.try_into().map_err(|_| Failure::Odd("a hash is none"))
}

pub(super) fn text_hash(row: &Row, column: usize) -> Result<TextHash, Failure> {
    hash(row, column).map(TextHash)
}

pub(super) fn code(corpus: Corpus) -> i16 {
    corpus.code().into()
}

fn key(row: &Row, first: usize) -> Result<RecordKey, Failure> {
    Ok(RecordKey::new(corpus(row, first)?, record_id(row, first + 1)?))
}

fn facets(row: &Row) -> Result<Facets, Failure> {
    let read = |column| row.try_get::<_, Option<String>>(column)?.map(read_text).transpose();
    Ok(Facets {
        at: timestamp(row, 2)?,
        service: read(3)?,
        severity: read(4)?,
        source: read(5)?,
        status: read(6)?,
        link: read(7)?,
        labels: read_labels(row.try_get(8)?).ok_or(Failure::Odd("labels are none"))?,
    })
}

fn timestamp(row: &Row, column: usize) -> Result<Timestamp, Failure> {
    Timestamp::from_microsecond(row.try_get(column)?).map_err(|_| Failure::Odd("a time is none"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_survives_and_holds_no_nul(characters in prop::collection::vec(any::<char>(), 0..8), nul: bool) {
            let mut original: String = characters.into_iter().collect();
            if nul {
                original.push_str("\0\u{1}\u{1}0\0");
            }
            let written = text(&original);
            prop_assert!(!written.contains('\0'));
            prop_assert_eq!(read_text(written).expect("its own"), original);
        }

        #[test]
        fn vectors_survive_their_binary_form(vector in prop::collection::vec(any::<f32>(), 0..9)) {
            let mut bytes = BytesMut::new();
            let sent = Components(vector).to_sql(&Type::BYTEA, &mut bytes);
            prop_assert!(sent.is_ok());
            let bits = |bytes: &[u8]| Components::from_sql(&Type::BYTEA, bytes).map(|v| v.0.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
            let read = bits(&bytes).expect("its own");
            let mut again = BytesMut::new();
            let _ = Components(read.iter().map(|b| f32::from_bits(*b)).collect()).to_sql(&Type::BYTEA, &mut again);
            prop_assert_eq!(&bytes, &again);
            prop_assert!(Components::from_sql(&Type::BYTEA, &bytes[..bytes.len() - 1]).is_err());
        }
    }
}
