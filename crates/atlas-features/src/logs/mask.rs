//! Masking: what varies between two lines that say the same becomes a typed placeholder.
//!
//! One pass over the bytes, no regular expressions: a line is cut into runs of word characters,
//! a run without a digit, slash or at-sign is copied as it is (most are), and the others are
//! classified whole, from the most to the least specific shape. What no shape fits is looked at
//! piece by piece, so that `worker-3` stays recognisable as `worker-<num>`.
//!
//! Placeholders: `<time> <uuid> <ip> <mac> <host> <url> <path> <hex> <num> <id>`; three and more
//! of one kind in a row are a list, `<num>...`.
//!
//! Not here: merging shapes that differ in a plain word; that is the tree's (`tree.rs`), which
//! sees more than one line.

use super::shapes;

/// Longest shape in bytes. Beyond that a line is a dump, and its beginning says which.
const SHAPE_LIMIT: usize = 1_000;

/// The shape of a message: its first line that is not blank, masked, white space made single.
/// A stack trace is the same trace whatever its frames' line numbers are.
pub(super) fn shape(message: &str) -> String {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut scan = Scan {
        out: String::with_capacity(line.len().min(SHAPE_LIMIT) + 16),
        after: After::Nothing,
        dated: false,
    };
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() && scan.out.len() < SHAPE_LIMIT {
        if starts_run(bytes, at) {
            let end = run_end(bytes, at);
            scan.run(&line[at..end]);
            at = end;
            if bytes.get(at) == Some(&b'?') && scan.ends_with_address() {
                // What a link asks for belongs to the link.
                at = query_end(bytes, at);
            }
        } else {
            scan.separator(bytes[at] as char);
            at += 1;
        }
    }
    cut(lists(scan.out))
}

/// Three and more equal items that hold a placeholder are a list, however long it is.
fn lists(shape: String) -> String {
    const LEAST: usize = 3;
    if shape.matches('<').nth(LEAST - 1).is_none() {
        return shape;
    }
    let mut out = String::with_capacity(shape.len());
    let mut rest = shape.as_str();
    while !rest.is_empty() {
        let item = &rest[..rest.find([' ', ',', '(', '[', '{', ')', ']', '}']).unwrap_or(rest.len())];
        let after = &rest[item.len()..];
        let list = [", ", ",", " "].into_iter().find_map(|mark| {
            let (mut items, mut left) = (1, after);
            while let Some(next) = left.strip_prefix(mark).and_then(|next| next.strip_prefix(item))
                && !next.starts_with(|c: char| {
                    c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '/' | '<')
                })
            {
                items += 1;
                left = next;
            }
            (items >= LEAST && item.contains('<')).then_some(left)
        });
        out.push_str(item);
        if list.is_some() {
            out.push_str("...");
        }
        rest = list.unwrap_or(after);
        let mark = rest.chars().next().map_or(0, char::len_utf8);
        out.push_str(&rest[..mark]);
        rest = &rest[mark..];
    }
    out
}

/// The placeholder with which `text` begins.
pub(super) fn placeholder_at(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('<')?;
    let end = inner.bytes().take(5).position(|byte| byte == b'>')?;
    shapes::PLACEHOLDERS.contains(&&text[..end + 2]).then(|| &text[..end + 2])
}

/// The query of a link ends where a link ends.
fn query_end(bytes: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| {
        byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'<' | b'>' | b')' | b']' | b'}')
    };
    bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length)
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

/// What a scan has just passed, as far as it decides about what follows.
#[derive(Clone, Copy, PartialEq)]
enum After {
    Nothing,
    /// `for`, `by`: the word `user` that follows has a name behind it.
    Preposition,
    /// `for user`.
    User,
    /// `order_id`, of `order_id=17`.
    Key,
    /// `order_id=`.
    Assigned,
}

struct Scan {
    out: String,
    after: After,
    /// The last placeholder is a date without its year: `Fri Jun 17 07:07:00`.
    dated: bool,
}

impl Scan {
    fn separator(&mut self, c: char) {
        self.after = match (self.after, c) {
            (After::Key, '=' | ':') => After::Assigned,
            (state @ (After::Key | After::Assigned), '"' | '\'') => state,
            (state @ (After::Assigned | After::Preposition | After::User), ' ') => state,
            _ => After::Nothing,
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
        let mut tail = &run[core.len()..];
        let after = std::mem::replace(&mut self.after, After::Nothing);
        if matches!(after, After::Assigned | After::User) {
            self.placeholder("<id>");
        } else if core.bytes().any(|byte| byte.is_ascii_digit() || matches!(byte, b'/' | b'@' | b'\\' | b':'))
        {
            self.masked(core);
            if self.ends_with_address() {
                tail = tail.trim_start_matches('/');
            }
        } else {
            self.out.push_str(core);
        }
        self.out.push_str(tail);
        self.after = if shapes::names_an_id(core) {
            if tail.ends_with(':') { After::Assigned } else { After::Key }
        } else if tail.is_empty() && shapes::leads_to_a_user(core) {
            After::Preposition
        } else if tail.is_empty() && after == After::Preposition && core.eq_ignore_ascii_case("user") {
            After::User
        } else {
            After::Nothing
        };
    }

    fn ends_with_address(&self) -> bool {
        self.out.ends_with("<path>") || self.out.ends_with("<url>")
    }

    /// `2017-05-16 00:00:00` is one time, though two runs; so is `Fri Jun 17 07:07:00 2005`.
    fn placeholder(&mut self, placeholder: &str) {
        if placeholder == "<time>" {
            if self.out.ends_with("<time> ") {
                self.out.pop();
                return;
            }
            self.dated = self.take_back_date();
        }
        self.out.push_str(placeholder);
    }

    /// Removes `Fri Jun <num> ` from the end; says whether a month was there.
    fn take_back_date(&mut self) -> bool {
        let Some(before) = self.out.strip_suffix(" <num> ").or(self.out.strip_suffix("  <num> ")) else {
            return false;
        };
        let Some(before) = shapes::MONTHS.iter().find_map(|month| before.strip_suffix(month)) else {
            return false;
        };
        let weekday = shapes::WEEKDAYS.iter().find_map(|day| before.trim_end().strip_suffix(day));
        let length = weekday.unwrap_or(before).len();
        self.out.truncate(length);
        true
    }

    fn masked(&mut self, run: &str) {
        if self.dated && self.out.ends_with("<time> ") && shapes::is_year(run) {
            self.out.pop();
            self.dated = false;
        } else if let Some(placeholder) = shapes::whole(run) {
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
            // `plugged:550e8400-e29b-...`: what follows the joint is one thing.
            if rest.len() < run.len()
                && !after.is_empty()
                && let Some(placeholder) = shapes::whole(rest)
            {
                return self.placeholder(placeholder);
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
