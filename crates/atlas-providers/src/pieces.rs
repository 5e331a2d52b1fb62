//! The bytes of an answer as JSON: the events of a stream, or one whole answer.
//!
//! Gateways ignore `stream`, and content types are wrong in both directions, so what comes first
//! decides.

use atlas_http::{UNARY_LIMIT, sse};
use atlas_llm::{ProviderError, ProviderErrorKind as Kind};
use serde_json::Value;

/// One piece of an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece {
    /// An event of a stream.
    Event {
        /// Its `event` field; `message` where it has none.
        name: String,
        /// Its data.
        body: Value,
    },
    /// The answer in one piece.
    Whole(Value),
}

/// Cuts the bytes of an answer into pieces.
#[derive(Debug)]
pub(crate) enum Pieces {
    /// Nothing but white space has come.
    Unknown(Vec<u8>),
    /// An answer in one piece.
    Whole(Vec<u8>),
    /// An event stream.
    Events(sse::Decoder),
}

impl Pieces {
    pub(crate) fn new() -> Self {
        Self::Unknown(Vec::new())
    }

    /// The next bytes. Pieces that came before an error are there when it is returned.
    pub(crate) fn push(&mut self, bytes: &[u8], pieces: &mut Vec<Piece>) -> Result<(), ProviderError> {
        match self {
            Self::Unknown(held) => {
                held.extend_from_slice(bytes);
                let held = std::mem::take(held);
                match held.trim_ascii_start().first() {
                    None => return Ok(()),
                    Some(b'{') => *self = Self::Whole(Vec::new()),
                    Some(_) => *self = Self::Events(sse::Decoder::new()),
                }
                self.push(&held, pieces)
            }
            Self::Whole(whole) if whole.len() + bytes.len() > UNARY_LIMIT => {
                Err(protocol("the answer is too long"))
            }
            Self::Whole(whole) => {
                whole.extend_from_slice(bytes);
                Ok(())
            }
            Self::Events(decoder) => {
                let mut decoded = Vec::new();
                let pushed = decoder.push(bytes, &mut decoded);
                for event in decoded {
                    pieces.extend(read(event)?);
                }
                pushed.map_err(|error| protocol(&error.to_string()))
            }
        }
    }

    /// The bytes have ended: what they ended with.
    pub(crate) fn finish(&mut self) -> Result<Option<Piece>, ProviderError> {
        match std::mem::replace(self, Self::new()) {
            Self::Unknown(_) => Ok(None),
            Self::Whole(whole) => match serde_json::from_slice(&whole) {
                Ok(body) => Ok(Some(Piece::Whole(body))),
                Err(_) => Err(ProviderError::cut_short()),
            },
            // A last event without its blank line may be half of one.
            Self::Events(decoder) => match decoder.finish() {
                Ok(event) => Ok(event.and_then(|event| read(event).ok().flatten())),
                Err(error) => Err(protocol(&error.to_string())),
            },
        }
    }
}

/// An event that says something. `[DONE]` is the end mark of another API, which gateways append.
fn read(event: sse::Event) -> Result<Option<Piece>, ProviderError> {
    let data = event.data.trim();
    if data.is_empty() || data.starts_with("[DONE]") {
        return Ok(None);
    }
    match serde_json::from_str(data) {
        Ok(body) => Ok(Some(Piece::Event { name: event.name, body })),
        Err(_) => Err(protocol("an event of the stream is not JSON")),
    }
}

fn protocol(detail: &str) -> ProviderError {
    ProviderError::new(Kind::Protocol, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pieces(bytes: &[u8], size: usize) -> Result<Vec<Piece>, ProviderError> {
        let (mut cutter, mut pieces) = (Pieces::new(), Vec::new());
        for bytes in bytes.chunks(size) {
            cutter.push(bytes, &mut pieces)?;
        }
        pieces.extend(cutter.finish()?);
        Ok(pieces)
    }

    #[track_caller]
    fn check(text: &str, expect: Result<Vec<Piece>, Kind>) {
        for size in [1, 3, text.len().max(1)] {
            let seen = pieces(text.as_bytes(), size).map_err(|error| error.kind());
            assert_eq!(seen, expect, "{text:?} in pieces of {size}");
        }
    }

    fn event(name: &str, body: Value) -> Piece {
        Piece::Event { name: name.into(), body }
    }

    #[test]
    fn what_comes_first_decides() {
        check("\n {\"a\":1}\n", Ok(vec![Piece::Whole(json!({ "a": 1 }))]));
        check("\ndata: {\"a\":1}\n\n", Ok(vec![event("message", json!({ "a": 1 }))]));
        check("event: x\ndata: {}\n\ndata: [DONE]\n\n", Ok(vec![event("x", json!({}))]));
        check("  ", Ok(vec![]));
    }

    #[test]
    fn half_an_answer_is_cut_and_half_an_event_is_none() {
        check("{\"a\":", Err(Kind::CutShort));
        check("data: {}\n\ndata: {\"a\"", Ok(vec![event("message", json!({}))]));
        check(
            "data: {}\n\ndata: {\"a\":2}",
            Ok(vec![event("message", json!({})), event("message", json!({ "a": 2 }))]),
        );
        check("data: nonsense\n\n", Err(Kind::Protocol));
    }
}
