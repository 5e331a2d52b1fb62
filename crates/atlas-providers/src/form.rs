//! The form of an answer: an event stream, or one whole piece.
//!
//! Gateways ignore `stream`, and content types are wrong in both directions, so what comes first
//! decides.

use atlas_http::{UNARY_LIMIT, sse};
use atlas_llm::{ProviderError, ProviderErrorKind as Kind};

/// What has come of an answer.
#[derive(Debug)]
pub(crate) enum Form {
    /// Nothing but white space, or a part of a byte order mark.
    Unknown(Vec<u8>),
    /// An answer in one piece.
    Whole(Vec<u8>),
    /// Events, or something else that is none of the two.
    Events {
        /// Cuts them.
        decoder: sse::Decoder,
        /// Whether it can be a stream, by its first letter or because an event has come.
        plausible: bool,
    },
}

/// What an answer ended with.
#[derive(Debug)]
pub(crate) enum End {
    /// Nothing that was not handed over before.
    Nothing,
    /// The answer in one piece.
    Whole(Vec<u8>),
    /// An event that lacks its blank line: its name and its data, which may be half of it.
    Event(String, String),
}

impl Form {
    pub(crate) fn new() -> Self {
        Self::Unknown(Vec::new())
    }

    /// The next bytes. Hands over the events they complete, until one is refused.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        mut on_event: impl FnMut(sse::Event<'_>) -> Result<(), ProviderError>,
    ) -> Result<(), ProviderError> {
        match self {
            Self::Unknown(held) => {
                held.extend_from_slice(bytes);
                let held = std::mem::take(held);
                *self = Self::of(&held);
                if let Self::Unknown(waiting) = self {
                    *waiting = held;
                    return Ok(());
                }
                self.push(&held, on_event)
            }
            Self::Whole(whole) if whole.len() + bytes.len() > UNARY_LIMIT => {
                Err(protocol("the answer is too long"))
            }
            Self::Whole(whole) => {
                whole.extend_from_slice(bytes);
                Ok(())
            }
            Self::Events { decoder, plausible } => {
                let pushed = decoder.push(bytes, |event| {
                    *plausible = true;
                    on_event(event).map_err(Stopped)
                });
                pushed.map_err(|Stopped(error)| error)
            }
        }
    }

    /// The bytes have ended.
    pub(crate) fn finish(&mut self) -> Result<End, ProviderError> {
        let mut last = End::Nothing;
        match std::mem::replace(self, Self::new()) {
            Self::Unknown(_) => {}
            Self::Whole(whole) => last = End::Whole(whole),
            Self::Events { plausible: false, .. } => {
                return Err(protocol("the answer is neither JSON nor an event stream"));
            }
            Self::Events { decoder, .. } => {
                let finished = decoder.finish(|sse::Event { name, data }| {
                    last = End::Event(name.to_owned(), data.to_owned());
                    Ok(())
                });
                finished.map_err(|Stopped(error)| error)?;
            }
        }
        Ok(last)
    }

    /// The form of an answer that begins like this.
    fn of(start: &[u8]) -> Self {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if MARK.starts_with(start) {
            return Self::new();
        }
        match start.strip_prefix(MARK).unwrap_or(start).trim_ascii_start().first() {
            None => Self::new(),
            Some(b'{') => Self::Whole(Vec::new()),
            // The first letters of comments and of the fields there are.
            Some(first) => Self::Events {
                decoder: sse::Decoder::new(),
                plausible: matches!(first, b':' | b'd' | b'e' | b'i' | b'r'),
            },
        }
    }
}

/// An event that the reader refused, or that the decoder did.
struct Stopped(ProviderError);

impl From<sse::TooLong> for Stopped {
    fn from(error: sse::TooLong) -> Self {
        Self(protocol(&error.to_string()))
    }
}

/// The answer is not what it should be.
pub(crate) fn protocol(detail: &str) -> ProviderError {
    ProviderError::new(Kind::Protocol, detail)
}
