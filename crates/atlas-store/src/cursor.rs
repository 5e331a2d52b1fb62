//! Where a page of a list ended, as callers carry it.

use atlas_domain::{Corpus, Record};
use sha2::{Digest, Sha256};

use crate::{StoreError, columns};

/// The place of a record in list order. It names the record rather than a count, so inserting
/// and removing others between two pages repeats and skips nothing.
#[derive(Debug, PartialEq)]
pub(crate) struct Cursor {
    pub(crate) at_us: i64,
    pub(crate) id: String,
}

impl Cursor {
    /// The cursor that goes on after `record`.
    pub(crate) fn after(record: &Record) -> Self {
        Self { at_us: columns::micros(record.facets.at), id: record.key.id.as_str().to_owned() }
    }

    /// Whether what has this time and id comes after it in list order.
    pub(crate) fn is_before(&self, at_us: i64, id: &str) -> bool {
        at_us < self.at_us || at_us == self.at_us && id > self.id.as_str()
    }

    /// The cursor as callers see it: hexadecimal, with a check sum over it and its corpus.
    pub(crate) fn write(&self, corpus: Corpus) -> String {
        let mut bytes = self.at_us.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&check_sum(corpus, &bytes));
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads what [`Self::write`] wrote for the same corpus, and nothing else.
    pub(crate) fn read(text: &str, corpus: Corpus) -> Result<Self, StoreError> {
        Self::parse(text, corpus).ok_or(StoreError::Cursor)
    }

    fn parse(text: &str, corpus: Corpus) -> Option<Self> {
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) {
            return None;
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
            .collect::<Option<_>>()?;
        let (rest, sum) = bytes.split_last_chunk::<4>()?;
        if *sum != check_sum(corpus, rest) {
            return None;
        }
        let (at_us, id) = rest.split_first_chunk::<8>()?;
        Some(Self { at_us: i64::from_be_bytes(*at_us), id: String::from_utf8(id.to_vec()).ok()? })
    }
}

fn check_sum(corpus: Corpus, bytes: &[u8]) -> [u8; 4] {
    let mut hasher = Sha256::new();
    hasher.update(b"list cursor 1");
    hasher.update([corpus.code()]);
    hasher.update(bytes);
    let digest: [u8; 32] = hasher.finalize().into();
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_survives_the_round_trip_in_its_own_corpus(at_us: i64, id in ".{1,20}") {
            let cursor = Cursor { at_us, id };
            let text = cursor.write(Corpus::Logs);
            prop_assert!(Cursor::read(&text, Corpus::Alerts).is_err());
            prop_assert_eq!(Cursor::read(&text, Corpus::Logs).expect("its own"), cursor);
        }

        #[test]
        fn a_changed_cursor_is_refused(at_us: i64, id in "[a-z]{1,8}", place: prop::sample::Index) {
            let mut text = Cursor { at_us, id }.write(Corpus::Logs).into_bytes();
            let place = place.index(text.len());
            text[place] = if text[place] == b'0' { b'1' } else { b'0' };
            let text = String::from_utf8(text).expect("digits");
            prop_assert!(Cursor::read(&text, Corpus::Logs).is_err());
        }

        #[test]
        fn no_text_panics_the_reader(text: String) {
            let _ = Cursor::read(&text, Corpus::Logs);
        }
    }
}
