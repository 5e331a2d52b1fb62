//! Masking: what varies between two lines that say the same becomes a typed placeholder.
//!
//! One pass over the bytes, no regular expressions: a line is cut into runs of word characters,
//! a run without a digit, slash or at-sign is copied as it is (most are), and the others are
//! classified whole, from the most to the least specific shape. What no shape fits is looked at
//! piece by piece, so that `worker-3` stays recognisable as `worker-<num>`.
//!
//! Placeholders: `<time> <uuid> <ip> <url> <path> <hex> <num> <id>`.
//!
//! Not here: merging shapes that differ in a plain word (a Drain tree).

use super::shapes;

/// Longest shape in bytes. Beyond that a line is a dump, and its beginning says which.
const SHAPE_LIMIT: usize = 1_000;

/// The shape of a message: its first line that is not blank, masked, white space made single.
/// A stack trace is the same trace whatever its frames' line numbers are.
pub(super) fn shape(message: &str) -> String {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut scan =
        Scan { out: String::with_capacity(line.len().min(SHAPE_LIMIT) + 16), after_key: AfterKey::No };
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() && scan.out.len() < SHAPE_LIMIT {
        if starts_run(bytes, at) {
            let end = run_end(bytes, at);
            scan.run(&line[at..end]);
            at = end;
        } else {
            scan.separator(bytes[at] as char);
            at += 1;
        }
    }
    cut(scan.out)
}

fn cut(mut shape: String) -> String {
    shape.truncate(shape.floor_char_boundary(SHAPE_LIMIT));
    shape.truncate(shape.trim_end().len());
    shape
}

/// Letters, digits and everything beyond ASCII.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Punctuation that may stand inside a run.
fn is_joint(byte: u8) -> bool {
    matches!(byte, b'_' | b'-' | b'.' | b':' | b'/' | b'@' | b'\\' | b'%' | b'+' | b'~')
}

fn starts_run(bytes: &[u8], at: usize) -> bool {
    let next = bytes.get(at + 1).copied().unwrap_or(b' ');
    match bytes[at] {
        byte if is_word(byte) => true,
        b'_' => true,
        b'/' => is_word(next) || matches!(next, b'_' | b'.'),
        b'-' | b'+' => next.is_ascii_digit(),
        b':' => next == b':' && bytes.get(at + 2).is_some_and(|third| third.is_ascii_hexdigit()),
        _ => false,
    }
}

/// A comma is inside a run only between digits: `1,234` and `10:00:00,123`.
fn run_end(bytes: &[u8], start: usize) -> usize {
    let mut end = start + 1;
    while end < bytes.len() {
        let byte = bytes[end];
        let inner_comma = byte == b','
            && bytes[end - 1].is_ascii_digit()
            && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !(is_word(byte) || is_joint(byte) || inner_comma) {
            break;
        }
        end += 1;
    }
    end
}

/// The point of `1.1` is no joint.
fn piece_end(bytes: &[u8]) -> usize {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is_end = |at: &usize| {
        is_joint(bytes[*at]) && !(bytes[*at] == b'.' && *at > 0 && digit(at - 1) && digit(at + 1))
    };
    (0..bytes.len()).find(is_end).unwrap_or(bytes.len())
}

/// Where a scan stands between `order_id`, `=` and the value.
#[derive(Clone, Copy, PartialEq)]
enum AfterKey {
    No,
    Name,
    Assigned,
}

struct Scan {
    out: String,
    after_key: AfterKey,
}

impl Scan {
    fn separator(&mut self, c: char) {
        self.after_key = match (self.after_key, c) {
            (AfterKey::Name, '=' | ':') => AfterKey::Assigned,
            (state, '"' | '\'') => state,
            (AfterKey::Assigned, ' ') => AfterKey::Assigned,
            _ => AfterKey::No,
        };
        if !c.is_ascii_whitespace() {
            self.out.push(c);
        } else if !self.out.is_empty() && !self.out.ends_with(' ') {
            self.out.push(' ');
        }
    }

    fn run(&mut self, run: &str) {
        // The full stop of a sentence and the colon after a name are not part of the value.
        let core = run.trim_end_matches(['.', ':', '-', '/', '@', '+', '\\', '~', '_']);
        let core = if core.is_empty() { run } else { core };
        let tail = &run[core.len()..];
        if self.after_key == AfterKey::Assigned {
            self.placeholder("<id>");
        } else if core.bytes().any(|byte| byte.is_ascii_digit() || matches!(byte, b'/' | b'@' | b'\\' | b':'))
        {
            self.masked(core);
        } else {
            self.out.push_str(core);
        }
        self.out.push_str(tail);
        self.after_key = match (shapes::names_an_id(core), tail.ends_with(':')) {
            (true, true) => AfterKey::Assigned,
            (true, false) => AfterKey::Name,
            (false, _) => AfterKey::No,
        };
    }

    /// `2017-05-16 00:00:00` is one time, though two runs.
    fn placeholder(&mut self, placeholder: &str) {
        if placeholder == "<time>" && self.out.ends_with("<time> ") {
            self.out.pop();
        } else {
            self.out.push_str(placeholder);
        }
    }

    fn masked(&mut self, run: &str) {
        if let Some(placeholder) = shapes::whole(run) {
            self.placeholder(placeholder);
        } else if run.strip_prefix('/').is_some_and(shapes::is_ip) {
            // Hadoop writes `/10.250.19.102:54106`.
            self.out.push_str("/<ip>");
        } else if shapes::is_path(run) {
            self.placeholder("<path>");
        } else {
            self.pieces(run);
        }
    }

    /// Piece by piece; after the first piece that is an id, the rest of the run belongs to it:
    /// `checkout-7d9f8b6c5-x2x9z` is `checkout-<id>`.
    fn pieces(&mut self, run: &str) {
        let mut rest = run;
        let mut named_id = false;
        while !rest.is_empty() {
            let end = piece_end(rest.as_bytes());
            let (piece, after) = rest.split_at(end);
            if named_id && !piece.is_empty() {
                return self.placeholder("<id>");
            }
            match shapes::piece(piece, self.out.as_bytes().last().copied()) {
                shapes::Piece::Id => return self.placeholder("<id>"),
                shapes::Piece::Number => self.placeholder("<num>"),
                shapes::Piece::Word => self.out.push_str(piece),
            }
            named_id = after.starts_with(':') && shapes::names_an_id(piece);
            let joint = usize::from(!after.is_empty());
            // `blk_-123`: the sign of a number is not a second joint.
            let (joints, following) = after.split_at(joint);
            self.out.push_str(joints);
            rest = match following.strip_prefix('-') {
                Some(number) if number.starts_with(|c: char| c.is_ascii_digit()) => number,
                _ => following,
            };
        }
    }
}
