//! Newline-delimited JSON, as lines of bytes.
//!
//! The twin of [`sse`](crate::sse): pure, cut-tolerant, limited. It does not parse the JSON; the
//! reader of a line knows what it should hold.

use crate::EVENT_LIMIT;
pub use crate::sse::TooLong;

/// Turns bytes into lines. Blank lines, which some servers send to keep a connection open, are
/// left out.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next bytes and appends the lines they complete. After an error the stream is not
    /// worth reading on.
    pub fn push(&mut self, bytes: &[u8], lines: &mut Vec<String>) -> Result<(), TooLong> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.extend(&rest[..end])?;
            lines.extend(self.take());
            rest = &rest[end + 1..];
        }
        self.extend(rest)
    }

    /// The stream has ended: a last line that lacks its line end counts. Whether it is whole, its
    /// content tells.
    pub fn finish(mut self) -> Option<String> {
        self.take()
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > EVENT_LIMIT {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take(&mut self) -> Option<String> {
        let line = String::from_utf8_lossy(self.line.trim_ascii());
        let line = (!line.is_empty()).then(|| line.into_owned());
        self.line.clear();
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, TooLong> {
        let mut decoder = Decoder::new();
        let mut lines = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut lines)?;
        }
        lines.extend(decoder.finish());
        Ok(lines)
    }

    #[track_caller]
    fn check(stream: &[u8], expect: &[&str]) {
        let lines = decode([stream]).expect("short");
        assert_eq!(lines, expect, "{stream:?}");
    }

    #[test]
    fn lines_end_with_lf_or_crlf() {
        check(b"{\"a\":1}\n{\"b\":2}\r\n", &["{\"a\":1}", "{\"b\":2}"]);
    }

    #[test]
    fn blank_lines_are_left_out() {
        check(b"\n\r\n  \n1\n\n", &["1"]);
    }

    #[test]
    fn the_last_line_may_lack_its_end() {
        check(b"1\n2", &["1", "2"]);
        check(b"", &[]);
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_the_stream() {
        check(b"a\xffb\nc\n", &["a\u{fffd}b", "c"]);
    }

    #[test]
    fn a_line_over_the_limit_is_refused_and_one_at_the_limit_is_not() {
        let long = vec![b'x'; EVENT_LIMIT + 1];
        assert_eq!(decode([&long[..]]), Err(TooLong));
        assert_eq!(decode(long.chunks(1000)), Err(TooLong));
        assert_eq!(decode([&long[1..], b"\n1\n"]).map(|lines| lines.len()), Ok(2));
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_lines(
            stream in prop::collection::vec(prop::sample::select(vec!["{}", "ž🦀", "\n", "\r\n", " ", "\r"]), 0..24),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = stream.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(decode(pieces), decode([&bytes[..]]));
        }
    }
}
