//! Their answer in our words.

use std::fmt;

use atlas_domain::{ProviderError, ProviderErrorKind as Kind};
use atlas_vendor::{Refusal, Scrubber};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde_json::Value;

#[derive(serde::Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(serde::Deserialize)]
struct Item {
    index: Option<usize>,
    embedding: Numbers,
}

/// The vectors of an answer in the order of the texts, whatever order they came in.
pub(super) fn read(body: &[u8], scrubber: &Scrubber) -> Result<Vec<Vec<f32>>, ProviderError> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| not_understood(body, &error, scrubber))?;
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; answer.data.len()];
    for (position, item) in answer.data.into_iter().enumerate() {
        // Some servers do not number them.
        let index = item.index.unwrap_or(position);
        match vectors.get_mut(index) {
            Some(slot @ None) => *slot = Some(item.embedding.0),
            Some(Some(_)) | None => {
                return Err(ProviderError::new(
                    Kind::Protocol,
                    "vectors are numbered twice or beyond their count",
                ));
            }
        }
    }
    // As many slots as vectors, and none was filled twice.
    Ok(vectors.into_iter().flatten().collect())
}

/// What is in the answer instead of vectors. The text of a JSON error would repeat the answer, so
/// only its place is told.
fn not_understood(body: &[u8], error: &serde_json::Error, scrubber: &Scrubber) -> ProviderError {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) if !value["error"].is_null() => Refusal::inline(&value, scrubber),
        Ok(_) => ProviderError::new(Kind::Protocol, "the answer holds no vectors"),
        Err(_) => {
            ProviderError::new(Kind::Protocol, format!("the answer is no JSON (column {})", error.column()))
        }
    }
}

/// A vector, as numbers or as the base64 of little-endian `f32`.
struct Numbers(Vec<f32>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Numbers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers or base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Numbers, E> {
                let bytes = decode(text).filter(|bytes| bytes.len() % size_of::<f32>() == 0);
                let bytes = bytes.ok_or_else(|| E::custom("no base64 of numbers"))?;
                let (numbers, _) = bytes.as_chunks();
                Ok(Numbers(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Numbers, A::Error> {
                let mut vector = Vec::with_capacity(1_024);
                while let Some(number) = numbers.next_element()? {
                    vector.push(number);
                }
                Ok(Numbers(vector))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// Standard base64, with its padding or without.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for symbol in group {
            let value = match symbol {
                b'A'..=b'Z' => symbol - b'A',
                b'a'..=b'z' => symbol - b'a' + 26,
                b'0'..=b'9' => symbol - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        // Two symbols hold one byte, three hold two; one holds none.
        match group.len() {
            4 => bytes.extend_from_slice(&bits.to_be_bytes()[1..]),
            3 => bytes.extend_from_slice(&(bits >> 2).to_be_bytes()[2..]),
            2 => bytes.extend_from_slice(&(bits >> 4).to_be_bytes()[3..]),
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&[u8]>) {
        assert_eq!(decode(text).as_deref(), expect, "{text}");
    }

    #[test]
    fn base64_is_read_with_and_without_padding() {
        check("", Some(b""));
        check("Zg==", Some(b"f"));
        check("Zm8=", Some(b"fo"));
        check("Zm9v", Some(b"foo"));
        check("Zm9vYg", Some(b"foob"));
        check("+/+/", Some(&[0xfb, 0xff, 0xbf]));
        check("Z", None);
        check("Zm9v!mFy", None);
    }

    #[track_caller]
    fn answer(body: &str, expect: Result<&[&[f32]], (Kind, &str)>) {
        match (read(body.as_bytes(), &Scrubber::default()), expect) {
            (Ok(vectors), Ok(expect)) => assert_eq!(vectors, expect, "{body}"),
            (Err(error), Err((kind, words))) => {
                assert_eq!(error.kind(), kind, "{body}");
                assert!(error.to_string().contains(words), "{error}");
            }
            (read, expect) => panic!("{read:?} instead of {expect:?} for {body}"),
        }
    }

    #[test]
    fn vectors_are_put_in_the_order_of_their_texts() {
        answer(
            r#"{"data": [{"index": 1, "embedding": [2, 1e-3]}, {"index": 0, "embedding": "AACAPwAAAEA="}]}"#,
            Ok(&[&[1.0, 2.0], &[2.0, 0.001]]),
        );
        answer(r#"{"data": [{"embedding": [1]}, {"embedding": [2]}]}"#, Ok(&[&[1.0], &[2.0]]));
    }

    #[test]
    fn an_answer_that_cannot_be_trusted_is_refused() {
        answer(
            r#"{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}]}"#,
            Err((Kind::Protocol, "numbered twice")),
        );
        answer(r#"{"data": [{"index": 7, "embedding": [1]}]}"#, Err((Kind::Protocol, "beyond")));
        answer(r#"{"data": [{"index": 0, "embedding": "AAA="}]}"#, Err((Kind::Protocol, "no vectors")));
        answer(r#"{"object": "list"}"#, Err((Kind::Protocol, "no vectors")));
        answer("<html>", Err((Kind::Protocol, "no JSON")));
        answer(
            r#"{"error": {"message": "engine is dead", "code": 500}}"#,
            Err((Kind::Server, "engine is dead")),
        );
    }
}
