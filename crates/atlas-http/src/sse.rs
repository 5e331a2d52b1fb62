//! Server-sent events, as bytes.
//!
//! The decoder is pure: bytes in, events out, in whatever pieces the network delivers them. It
//! works on bytes because a multi-byte character may be cut by a packet, and it is written here
//! because the readers on offer disagree about CR line ends, a final event without a blank line,
//! and limits.

use crate::EVENT_LIMIT;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The `event` field; `message` when the stream names none.
    pub name: String,
    /// The `data` fields, joined with LF.
    pub data: String,
}

/// An event or a line is longer than [`EVENT_LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {EVENT_LIMIT} bytes")]
pub struct TooLong;

/// Turns bytes into events.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    /// The last byte was CR; an LF now belongs to it.
    after_cr: bool,
    /// A byte order mark may only stand before the first line.
    past_first_line: bool,
    name: String,
    data: Option<String>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next bytes and appends the events they complete. After an error the stream is
    /// not worth reading on.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), TooLong> {
        for &byte in bytes {
            let after_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\n' | b'\r' => self.end_line(events)?,
                _ if self.line.len() == EVENT_LIMIT => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    /// The stream has ended: a last event that lacks its blank line counts, because some servers
    /// close right after it. Whether it is whole, its content tells.
    pub fn finish(mut self) -> Result<Option<Event>, TooLong> {
        let mut events = Vec::new();
        if !self.line.is_empty() {
            self.end_line(&mut events)?;
        }
        self.dispatch(&mut events);
        Ok(events.pop())
    }

    fn end_line(&mut self, events: &mut Vec<Event>) -> Result<(), TooLong> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.past_first_line, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch(events);
            return Ok(());
        }
        // A comment is a line with an empty field name.
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = String::from_utf8_lossy(value.strip_prefix(b" ").unwrap_or(value));
        match field {
            b"event" => self.name = value.into_owned(),
            b"data" => match &mut self.data {
                Some(data) if data.len() + 1 + value.len() > EVENT_LIMIT => return Err(TooLong),
                Some(data) => {
                    data.push('\n');
                    data.push_str(&value);
                }
                None => self.data = Some(value.into_owned()),
            },
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        let name = std::mem::take(&mut self.name);
        if let Some(data) = self.data.take() {
            events.push(Event { name: if name.is_empty() { "message".into() } else { name }, data });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes a whole stream given in pieces.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Event>, TooLong> {
        let mut decoder = Decoder::new();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut events)?;
        }
        events.extend(decoder.finish()?);
        Ok(events)
    }

    #[track_caller]
    fn check(stream: &str, expect: &[(&str, &str)]) {
        let events = decode([stream.as_bytes()]).expect("short");
        let seen: Vec<_> = events.iter().map(|event| (event.name.as_str(), event.data.as_str())).collect();
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
        assert_eq!(events[0].data, "a\u{fffd}b");
    }

    #[test]
    fn an_event_over_the_limit_is_refused() {
        let long = format!("data: {}", "x".repeat(EVENT_LIMIT));
        assert_eq!(decode([long.as_bytes()]), Err(TooLong));
        let many = format!("data: {}\n", "x".repeat(1000)).repeat(EVENT_LIMIT / 1000 + 1);
        assert_eq!(decode([many.as_bytes()]), Err(TooLong));
        let comment = format!(": {}", "x".repeat(EVENT_LIMIT));
        assert_eq!(decode([comment.as_bytes()]), Err(TooLong));
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
