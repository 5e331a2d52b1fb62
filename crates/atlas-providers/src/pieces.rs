//! The bytes of an answer as JSON values: the events of a stream, or one whole answer.

use atlas_http::sse;
use atlas_llm::ProviderError;
use serde_json::Value;

use crate::form::{End, Form, protocol};

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
pub(crate) struct Pieces(Form);

impl Pieces {
    pub(crate) fn new() -> Self {
        Self(Form::new())
    }

    /// The next bytes. Pieces that came before an error are there when it is returned.
    pub(crate) fn push(&mut self, bytes: &[u8], pieces: &mut Vec<Piece>) -> Result<(), ProviderError> {
        self.0.push(bytes, |sse::Event { name, data }| {
            pieces.extend(read(name, data)?);
            Ok(())
        })
    }

    /// The bytes have ended: what they ended with.
    pub(crate) fn finish(&mut self) -> Result<Option<Piece>, ProviderError> {
        match self.0.finish()? {
            End::Nothing => Ok(None),
            End::Whole(whole) => match serde_json::from_slice(&whole) {
                Ok(body) => Ok(Some(Piece::Whole(body))),
                Err(_) => Err(ProviderError::cut_short()),
            },
            // It may be half of one.
            End::Event(name, data) => Ok(read(&name, &data).ok().flatten()),
        }
    }
}

/// An event that says something. `[DONE]` is the end mark of another API, which gateways append.
fn read(name: &str, data: &str) -> Result<Option<Piece>, ProviderError> {
    let data = data.trim();
    if data.is_empty() || data.starts_with("[DONE]") {
        return Ok(None);
    }
    match serde_json::from_str(data) {
        Ok(body) => Ok(Some(Piece::Event { name: name.to_owned(), body })),
        Err(_) => Err(protocol("an event of the stream is not JSON")),
    }
}

#[cfg(test)]
mod tests {
    use atlas_llm::ProviderErrorKind as Kind;
    use serde_json::json;

    use super::*;

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
