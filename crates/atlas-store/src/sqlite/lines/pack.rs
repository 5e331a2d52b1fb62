//! The blobs of a block.
//!
//! Keys (ordinals, times, ids) and texts (labels, messages) apart: most questions are decided by
//! the keys. A time is a difference to the one before, an id of the usual form is eight bytes.
//! Readers return `None` for bytes that no writer made; nothing in a blob is trusted.

use atlas_domain::RecordId;

use lz4_flex::block;

use super::{LONGEST_BYTES, Line, MOST_LINES, columns};

/// Largest blob that is unpacked: the most and longest lines of a block fit.
const LARGEST_BYTES: usize = 2 * MOST_LINES * LONGEST_BYTES + (16 << 20);

/// The keys of a block's lines, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Keys {
    /// Distance of a line's change number from the block's first.
    pub(super) ordinals: Vec<u64>,
    pub(super) at_ns: Vec<i64>,
    pub(super) ids: Vec<RecordId>,
}

/// Labels and messages, in the order of the keys.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Texts {
    pub(super) labels: Vec<Vec<u8>>,
    pub(super) messages: Vec<String>,
}

pub(super) fn keys(ordinals: &[u64], lines: &[Line]) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, lines.len() as u64);
    let mut before = 0;
    for ordinal in ordinals {
        put_number(&mut out, ordinal - before);
        before = *ordinal;
    }
    let mut before = 0;
    for line in lines {
        put_signed(&mut out, line.at_ns.wrapping_sub(before));
        before = line.at_ns;
    }
    put_ids(&mut out, lines);
    packed(&out)
}

pub(super) fn read_keys(blob: &[u8]) -> Option<Keys> {
    let bytes = unpacked(blob)?;
    let mut bytes = Bytes(&bytes);
    let n_lines = bytes.count()?;
    let mut before = 0u64;
    let ordinals = (0..n_lines).map(|_| {
        before = before.checked_add(bytes.number()?)?;
        Some(before)
    });
    let ordinals = ordinals.collect::<Option<Vec<u64>>>()?;
    let mut before = 0i64;
    let times = (0..n_lines).map(|_| {
        before = before.wrapping_add(bytes.signed()?);
        Some(before)
    });
    let at_ns = times.collect::<Option<Vec<i64>>>()?;
    let ids = read_ids(&mut bytes, &at_ns)?;
    bytes.0.is_empty().then_some(Keys { ordinals, at_ns, ids })
}

pub(super) fn texts(lines: &[Line]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut distinct: Vec<&[u8]> = Vec::new();
    let which: Vec<usize> = lines
        .iter()
        .map(|line| {
            let known = distinct.iter().rposition(|labels| *labels == line.labels.as_slice());
            known.unwrap_or_else(|| {
                distinct.push(&line.labels);
                distinct.len() - 1
            })
        })
        .collect();
    put_number(&mut out, distinct.len() as u64);
    for labels in &distinct {
        put_bytes(&mut out, labels);
    }
    if distinct.len() > 1 {
        which.iter().for_each(|number| put_number(&mut out, *number as u64));
    }
    let messages: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    columns::put(&mut out, &messages);
    packed(&out)
}

pub(super) fn read_texts(blob: &[u8], n_lines: usize) -> Option<Texts> {
    let bytes = unpacked(blob)?;
    let mut bytes = Bytes(&bytes);
    let n_distinct = bytes.count()?;
    let distinct = (0..n_distinct).map(|_| bytes.bytes()).collect::<Option<Vec<_>>>()?;
    let labels = if n_distinct == 1 {
        vec![distinct[0].to_vec(); n_lines]
    } else {
        let number = |bytes: &mut Bytes<'_>| usize::try_from(bytes.number()?).ok();
        let labels = (0..n_lines).map(|_| Some(distinct.get(number(&mut bytes)?)?.to_vec()));
        labels.collect::<Option<Vec<_>>>()?
    };
    let messages = columns::read(&mut bytes, n_lines)?;
    bytes.0.is_empty().then_some(Texts { labels, messages })
}

/// The length, then LZ4.
fn packed(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a thousand bounded messages");
    let mut out = vec![0; 4 + block::get_maximum_output_size(bytes.len())];
    out[..4].copy_from_slice(&length.to_le_bytes());
    let written = block::compress_into(bytes, &mut out[4..]).expect("the largest output fits");
    out.truncate(4 + written);
    out
}

fn unpacked(blob: &[u8]) -> Option<Vec<u8>> {
    let (length, packed) = blob.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    // LZ4 makes of a byte 255 at most.
    if length > LARGEST_BYTES || length / 255 > packed.len() {
        return None;
    }
    let mut out = vec![0; length];
    let written = block::decompress_into(packed, &mut out).ok()?;
    (written == length).then_some(out)
}

/// `log-1732571234567890-8f…`: a head, the microsecond, a joint, sixteen hexadecimal digits.
struct Moment<'t> {
    head: &'t str,
    joint: &'t str,
    hash: u64,
}

impl<'t> Moment<'t> {
    fn of(id: &'t str, at_ns: i64) -> Option<Self> {
        let digits = micros(at_ns);
        let begin = id.find(&digits)?;
        let rest = &id[begin + digits.len()..];
        let (joint, hash) = rest.split_at_checked(rest.len().checked_sub(16)?)?;
        let hexadecimal = hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let hash = u64::from_str_radix(hash, 16).ok().filter(|_| hexadecimal)?;
        Some(Self { head: &id[..begin], joint, hash })
    }
}

fn micros(at_ns: i64) -> String {
    format!("{:016}", at_ns.div_euclid(1000))
}

fn put_ids(out: &mut Vec<u8>, lines: &[Line]) {
    let moments: Option<Vec<Moment<'_>>> =
        lines.iter().map(|line| Moment::of(line.id.as_str(), line.at_ns)).collect();
    let usual = moments.filter(|moments| {
        moments.windows(2).all(|pair| (pair[0].head, pair[0].joint) == (pair[1].head, pair[1].joint))
    });
    if let Some((moments, first)) = usual.as_deref().and_then(|moments| Some((moments, moments.first()?))) {
        out.push(1);
        put_bytes(out, first.head.as_bytes());
        put_bytes(out, first.joint.as_bytes());
        moments.iter().for_each(|moment| out.extend_from_slice(&moment.hash.to_le_bytes()));
        return;
    }
    out.push(0);
    let mut before = "";
    for line in lines {
        let id = line.id.as_str();
        let shared = id.bytes().zip(before.bytes()).take_while(|(a, b)| a == b).count();
        put_number(out, shared as u64);
        put_bytes(out, &id.as_bytes()[shared..]);
        before = id;
    }
}

fn read_ids(bytes: &mut Bytes<'_>, at_ns: &[i64]) -> Option<Vec<RecordId>> {
    if bytes.byte()? == 1 {
        let head = std::str::from_utf8(bytes.bytes()?).ok()?;
        let joint = std::str::from_utf8(bytes.bytes()?).ok()?;
        let id = |at_ns: &i64| {
            let hash = u64::from_le_bytes(*bytes.chunk()?);
            RecordId::new(format!("{head}{}{joint}{hash:016x}", micros(*at_ns))).ok()
        };
        return at_ns.iter().map(id).collect();
    }
    let mut before = Vec::new();
    let id = |_: &i64| {
        let shared = usize::try_from(bytes.number()?).ok().filter(|shared| *shared <= before.len())?;
        before.truncate(shared);
        before.extend_from_slice(bytes.bytes()?);
        RecordId::new(String::from_utf8(before.clone()).ok()?).ok()
    };
    at_ns.iter().map(id).collect()
}

/// Seven bits a byte, lowest first.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, (number.wrapping_shl(1) ^ (number >> 63)) as u64);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that are read from the front.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn chunk(&mut self) -> Option<&'a [u8; 8]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// How many things follow. Each takes a byte at least, so a wild number ends here.
    pub(super) fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= self.0.len())
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.count()?;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(id: &str, at_ns: i64, labels: &[u8], text: &str) -> Line {
        Line { id: RecordId::new(id).expect("an id"), at_ns, labels: labels.to_vec(), text: text.into() }
    }

    #[track_caller]
    fn check(lines: &[Line]) -> (usize, usize) {
        let ordinals: Vec<u64> = (0..lines.len() as u64).map(|n| n * 2).collect();
        let (keys, texts) = (keys(&ordinals, lines), texts(lines));
        let read = read_keys(&keys).expect("what was written");
        assert_eq!(read.ordinals, ordinals);
        let unpacked = read_texts(&texts, lines.len()).expect("what was written");
        let again = read.ids.into_iter().zip(read.at_ns).zip(unpacked.labels).zip(unpacked.messages);
        let again: Vec<Line> =
            again.map(|(((id, at_ns), labels), text)| Line { id, at_ns, labels, text }).collect();
        assert_eq!(again, lines);
        (keys.len(), texts.len())
    }

    #[test]
    fn lines_of_one_template_cost_their_values() {
        let lines: Vec<Line> = (0..500)
            .map(|n| {
                let at_us = 1_732_571_234_567_890 + n * 250;
                let id =
                    format!("log-{at_us:016}-{:016x}", (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let text = format!(
                    "081109 203615 148 INFO Received block blk_{} of size {} from /10.250.{}.{}",
                    (n as u64 + 3).wrapping_mul(0x1234_5678_9abc) % 10_000_000_000_000,
                    n * 977 % 67_108_864,
                    n % 20,
                    n % 256
                );
                line(&id, at_us * 1000, b"", &text)
            })
            .collect();
        let (keys, texts) = check(&lines);
        // Of an id eight bytes are left, of a message its block, size and address.
        assert!(keys < 500 * 12 && texts < 500 * 16, "{keys} and {texts} bytes");
    }

    #[test]
    fn lines_that_have_nothing_in_common_survive_as_well() {
        check(&[
            line("a", i64::MIN, b"", ""),
            line(
                "log-0000000000000001-00000000000000ff",
                1_999,
                &[0xff, b'a', 0xfe, b'b', 0xfd],
                "größe 007 7 ½",
            ),
            line("ä", i64::MAX, b"", "a\u{0}b\n"),
        ]);
        check(&[line("one", 5, b"", "one")]);
    }

    proptest! {
        #[test]
        fn any_lines_survive(
            lines in prop::collection::vec(("[a-c0-9é-]{1,6}", any::<i64>(), 0u8..3, "([ab =]|[0-9]{1,3}|é){0,8}"), 1..20),
        ) {
            let lines: Vec<Line> =
                lines.into_iter().map(|(id, at_ns, label, text)| line(&id, at_ns, &[label], &text)).collect();
            check(&lines);
        }

        #[test]
        fn no_bytes_panic_the_readers(bytes: Vec<u8>) {
            let _ = read_keys(&bytes);
            let _ = read_texts(&bytes, 3);
            let blob = packed(&bytes);
            let _ = read_keys(&blob);
            let _ = read_texts(&blob, 3);
        }
    }
}
