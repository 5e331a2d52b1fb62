//! How a record's parts are written where the stores must agree: time, labels, and the hash that
//! decides whether a write changes anything. A record that moves from one store to another keeps
//! its hash, so writing it again there changes nothing.

use std::collections::BTreeMap;

use atlas_domain::{Facets, RecordDraft, Timestamp};
use sha2::{Digest, Sha256};

use crate::ChunkDraft;

// UTF-8 never contains these bytes, so a pair can be searched in the encoded labels as a byte
// string: the match is exact for every name and value.
const NAME: u8 = 0xff;
const VALUE: u8 = 0xfe;
const END: u8 = 0xfd;

/// Whole microseconds since the epoch, rounded down.
pub(crate) fn micros(at: Timestamp) -> i64 {
    at.as_nanosecond().div_euclid(1000) as i64 // jiff's range is 23 bits short of i64
}

/// Whole microseconds since the epoch, rounded up: the first stored time that is not before `at`.
pub(crate) fn micros_from(at: Timestamp) -> i64 {
    -(-at.as_nanosecond()).div_euclid(1000) as i64
}

/// One label as it stands in the encoded labels.
pub(crate) fn label(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + value.len() + 3);
    push_label(&mut bytes, name, value);
    bytes
}

pub(crate) fn labels(labels: &BTreeMap<String, String>) -> Vec<u8> {
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

pub(crate) fn read_labels(bytes: &[u8]) -> Option<BTreeMap<String, String>> {
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

/// What decides whether a write changes anything. Vectors are not part of it: they follow from
/// the text and the space.
pub(crate) fn content_hash(
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
