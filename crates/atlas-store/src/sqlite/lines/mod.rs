//! Log lines, which come by the million and look alike: kept in blocks, not in rows.
//!
//! Lines of one commit that share their template and every facet but the time are one block: a
//! row whose columns say what they share and in which stretch of time they lie, and whose two
//! blobs hold the rest column by column, compressed. A row for each would hold its text
//! three times and have five index entries.
//!
//! Which way a line is kept is nobody's business outside: a line that is not exactly what
//! [`LogRecord`] makes, or that was changed, is a row of `records` like everything else, and
//! every question is answered from both.
//!
//! Change numbers of a block's lines follow each other. Its ids share their first
//! [`BUCKET_BYTES`], so that the blocks that may hold an id stand together in the index; ids of
//! lines begin with their time (see `atlas-features`), which makes that a hundred seconds.

mod columns;
mod pack;
mod read;
mod write;

use atlas_domain::{Corpus, Facets, LogRecord, Noun, Record, RecordDraft, RecordId, RecordKey, Timestamp};
use serde_json::Value;

use super::row;
use crate::ChunkDraft;
use crate::columns::read_labels;

pub(super) use read::{changes_after, count, find, known, list, rows_between};
pub(super) use write::{put, remove, set_times};

/// The begin that all ids of a block have in common.
const BUCKET_BYTES: usize = 12;

/// Most lines of a block: to read one line, its block is read.
const MOST_LINES: usize = 1_000;

/// Longest text of a line in a block; labels together may be as long. A longer one is no line.
const LONGEST_BYTES: usize = 128 << 10;

/// What all lines of a block share.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Kind {
    link: String,
    service: Option<String>,
    severity: Option<String>,
    source: Option<String>,
}

/// What each has of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    id: RecordId,
    at_ns: i64,
    /// As `row` encodes them.
    labels: Vec<u8>,
    text: String,
}

impl Line {
    fn at_us(&self) -> i64 {
        self.at_ns.div_euclid(1000)
    }
}

/// The part of an id that all ids of a block share.
fn bucket(id: &str) -> &str {
    &id[..id.floor_char_boundary(BUCKET_BYTES)]
}

/// The draft as a line, if that is all there is to it.
pub(super) fn line(draft: &RecordDraft, chunks: &[ChunkDraft]) -> Option<(Kind, Line)> {
    let RecordDraft { key, title, facets, text, body } = draft;
    let Facets { at, service, severity, source, status, link, labels } = facets;
    if key.corpus != Corpus::Logs || !(chunks.is_empty() && title.is_empty() && status.is_none()) {
        return None;
    }
    let link = link.clone()?;
    let fields = body.as_object()?;
    let is = |name: &str, value: &str| fields.get(name).and_then(Value::as_str) == Some(value);
    let is_option = |name: &str, value: &Option<String>| match value {
        Some(value) => is(name, value),
        None => !fields.contains_key(name),
    };
    let attributes = match fields.get("attributes") {
        None => labels.is_empty(),
        Some(Value::Object(attributes)) => {
            !labels.is_empty()
                && attributes.len() == labels.len()
                && labels
                    .iter()
                    .all(|(name, value)| attributes.get(name).and_then(Value::as_str) == Some(value))
        }
        Some(_) => false,
    };
    let optional =
        [service, severity, source].into_iter().flatten().count() + usize::from(!labels.is_empty());
    let exact = attributes
        && fields.len() == 4 + optional
        && is("id", key.id.as_str())
        && is("at", &at.to_string())
        && is("message", text)
        && is("template_id", &link)
        && is_option("service", service)
        && is_option("level", severity)
        && is_option("source", source);
    if !exact {
        return None;
    }
    let line = Line {
        id: key.id.clone(),
        at_ns: i64::try_from(at.as_nanosecond()).ok()?,
        labels: row::labels(labels),
        text: text.clone(),
    };
    if line.text.len().max(line.labels.len()) > LONGEST_BYTES {
        return None;
    }
    let kind = Kind { link, service: service.clone(), severity: severity.clone(), source: source.clone() };
    Some((kind, line))
}

/// The record that [`line()`] was made of. `None` if the parts cannot have come from there.
fn record(kind: &Kind, line: Line, seq: u64, written_us: i64) -> Option<Record> {
    let Kind { link, service, severity, source } = kind.clone();
    let Line { id, at_ns, labels, text } = line;
    let noun = LogRecord {
        id,
        at: Timestamp::from_nanosecond(at_ns.into()).ok()?,
        message: text,
        level: severity,
        service,
        source,
        template_id: RecordId::new(link).ok()?,
        attributes: read_labels(&labels)?,
    };
    let RecordDraft { key, title, mut facets, text, body } = noun.draft();
    facets.at = Timestamp::from_microsecond(at_ns.div_euclid(1000)).ok()?;
    let written = Timestamp::from_microsecond(written_us).ok()?;
    Some(Record { key, title, facets, text, body, seq, created: written, updated: written })
}

/// Whether a write of `draft` would change nothing.
pub(super) fn is_same(record: &Record, draft: &RecordDraft, chunks: &[ChunkDraft]) -> bool {
    let mut facets = draft.facets.clone();
    facets.at = record.facets.at;
    row::micros(draft.facets.at) == row::micros(record.facets.at)
        && chunks.is_empty()
        && (&record.key, &record.title, &record.text, &record.body)
            == (&draft.key, &draft.title, &draft.text, &draft.body)
        && record.facets == facets
}

/// A key of a line.
pub(super) fn is_line(key: &RecordKey) -> bool {
    key.corpus == Corpus::Logs
}
