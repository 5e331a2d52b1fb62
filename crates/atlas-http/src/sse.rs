//! Server-sent events, as bytes.
//!
//! The decoder is pure: bytes in, events out, in whatever pieces the network delivers them. It
//! works on bytes because a multi-byte character may be cut by a packet, and it is written here
//! because the readers on offer disagree about CR line ends, a final event without a blank line,
//! and limits.

use std::borrow::Cow;

use crate::EVENT_LIMIT;

/// One event, as it is in the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The `event` field; `message` when the stream names none.
    pub name: &'a str,
    /// The `data` fields, joined with LF.
    pub data: &'a str,
}

/// An event or a line is longer than [`EVENT_LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {EVENT_LIMIT} bytes")]
pub struct TooLong;

/// Turns bytes into events. Its buffers are used again, so a token allocates nothing here.
#[derive(Debug, Default)]
pub struct Decoder {
    /// A line whose end has not come.
    line: Vec<u8>,
    /// The last byte was CR; an LF now belongs to it.
    after_cr: bool,
    /// A byte order mark may only stand before the first line.
    past_first_line: bool,
    fields: Fields,
}

/// The fields of the event that is being read.
#[derive(Debug, Default)]
struct Fields {
    name: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next bytes and hands over the events they complete, until one is refused. After
    /// an error the stream is not worth reading on.
    pub fn push<E: From<TooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) {
            let (head, mut rest) = (&bytes[..end], &bytes[end + 1..]);
            if bytes[end] == b'\r' {
                self.after_cr = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            bytes = rest;
            if self.line.is_empty() {
                self.end_line(head, &mut on_event)?;
            } else {
                self.hold(head)?;
                let mut line = std::mem::take(&mut self.line);
                self.end_line(&line, &mut on_event)?;
                line.clear();
                self.line = line;
            }
        }
        Ok(self.hold(bytes)?)
    }

    /// The stream has ended: a last event that lacks its blank line counts, because some servers
    /// close right after it. Whether it is whole, its content tells.
    pub fn finish<E: From<TooLong>>(
        mut self,
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.end_line(&line, &mut on_event)?;
        }
        self.fields.dispatch(&mut on_event)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > EVENT_LIMIT {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line<E: From<TooLong>>(
        &mut self,
        mut line: &[u8],
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if line.len() > EVENT_LIMIT {
            return Err(TooLong.into());
        }
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() { self.fields.dispatch(on_event) } else { Ok(self.fields.add(line)?) }
    }
}

impl Fields {
    fn add(&mut self, line: &[u8]) -> Result<(), TooLong> {
        // A comment is a line with an empty field name.
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
                if self.data.len() > EVENT_LIMIT {
                    return Err(TooLong);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn dispatch<E>(&mut self, on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut outcome = Ok(());
        if std::mem::take(&mut self.has_data) {
            let name = if self.name.is_empty() { b"message" } else { self.name.as_slice() };
            outcome = on_event(Event { name: &text(name), data: &text(&self.data) });
        }
        self.name.clear();
        self.data.clear();
        outcome
    }
}

/// The bytes as text, whatever they are. Looking for faults only where there are some is ten times
/// as fast.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes a whole stream given in pieces: names and data.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<(String, String)>, TooLong> {
        let mut decoder = Decoder::new();
        let mut events = Vec::new();
        let mut keep = |Event { name, data }: Event<'_>| {
            events.push((name.to_owned(), data.to_owned()));
            Ok(())
        };
        for piece in pieces {
            decoder.push(piece, &mut keep)?;
        }
        decoder.finish(&mut keep)?;
        Ok(events)
    }

    #[track_caller]
    fn check(stream: &str, expect: &[(&str, &str)]) {
        let events = decode([stream.as_bytes()]).expect("short");
        let seen: Vec<_> = events.iter().map(|(name, data)| (name.as_str(), data.as_str())).collect();
        assert_eq!(seen, expect, "{stream:?}");
    }

    #[test]
    fn lines_end_with_lf_crlf_or_cr() {
        for end in ["\n", "\r\n", "\r"] {
            let stream = format!("data: a{end}{end}data: b{end}data: c{end}{end}");
            check(&stream, &[("message", "a"), ("message", "b\nc")]);
        }
    }

    #[test]
    fn one_space_after_the_colon_is_optional() {
        check("data:a\n\ndata:  b\n\n", &[("message", "a"), ("message", " b")]);
    }

    #[test]
    fn comments_and_unknown_fields_are_ignored() {
        check(": PROCESSING\n\nid: 7\nretry: 9\nnonsense\ndata: a\n\n", &[("message", "a")]);
    }

    #[test]
    fn an_event_has_the_name_it_says_and_the_next_has_not() {
        check("event: error\ndata: a\n\ndata: b\n\n", &[("error", "a"), ("message", "b")]);
    }

    #[test]
    fn an_event_without_data_is_none() {
        check("event: ping\n\ndata\n\n", &[("message", "")]);
    }

    #[test]
    fn one_byte_order_mark_is_stripped_at_the_start() {
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &[("message", "a")]);
    }

    #[test]
    fn the_last_event_may_lack_its_blank_line() {
        check("data: a\n\ndata: b", &[("message", "a"), ("message", "b")]);
        check("data: a\n\ndata: b\n", &[("message", "a"), ("message", "b")]);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_the_stream() {
        let events = decode([&b"data: a\xffb\n\n"[..]]).expect("short");
        assert_eq!(events[0].1, "a\u{fffd}b");
    }

    #[test]
    fn an_event_over_the_limit_is_refused() {
        let long = format!("data: {}", "x".repeat(EVENT_LIMIT));
        assert_eq!(decode([long.as_bytes()]), Err(TooLong));
        let many = format!("data: {}\n", "x".repeat(1000)).repeat(EVENT_LIMIT / 1000 + 1);
        assert_eq!(decode([many.as_bytes()]), Err(TooLong));
        let comment = format!(": {}\n", "x".repeat(EVENT_LIMIT));
        assert_eq!(decode([comment.as_bytes()]), Err(TooLong));
        assert_eq!(decode(comment.as_bytes().chunks(1000)), Err(TooLong));
    }

    #[test]
    fn an_event_that_is_refused_is_the_last() {
        #[derive(Debug, PartialEq)]
        struct Refused;
        impl From<TooLong> for Refused {
            fn from(_: TooLong) -> Self {
                Self
            }
        }
        let mut n_events = 0;
        let read = Decoder::new().push(b"data: a\n\ndata: b\n\n", |_| {
            n_events += 1;
            Err(Refused)
        });
        assert_eq!((read, n_events), (Err(Refused), 1));
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_events(
            stream in prop::collection::vec(
                prop::sample::select(vec![
                    "data: ", "data:", "event: x", ": c", "a", "ž🦀", "\n", "\r", "\r\n", "\n\n", "\u{feff}", "id: 1",
                ]),
                0..24,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = stream.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(decode(pieces), decode([&bytes[..]]));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let whole = decode([&bytes[..]]);
            prop_assert_eq!(decode(bytes.chunks(1)), whole);
        }
    }
}
