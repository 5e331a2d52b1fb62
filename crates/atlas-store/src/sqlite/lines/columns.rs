//! Messages that look alike, column by column.
//!
//! A message is cut into runs of letters and digits and what stands between them. Where all
//! messages have the same run it is kept once; where they differ, the runs of one place are one
//! column, as numbers if they are all digits. A message that is cut otherwise than the others is
//! kept as it is.

use std::collections::HashMap;

use super::pack::{Bytes, put_bytes, put_number};

const SAME: u8 = 0;
const TEXTS: u8 = 1;
/// Digits without zeros before them.
const NUMBERS: u8 = 2;
/// Digits, all of one width.
const PADDED: u8 = 3;

pub(super) fn put(out: &mut Vec<u8>, messages: &[&str]) {
    let cut: Vec<Vec<&str>> = messages.iter().map(|message| runs(message)).collect();
    let mut widths: HashMap<usize, usize> = HashMap::new();
    for runs in &cut {
        *widths.entry(runs.len()).or_default() += 1;
    }
    // One message alone has nothing to share.
    let usual = widths.into_iter().filter(|(_, n)| *n > 1).max_by_key(|(width, n)| (*n, *width));
    let width = usual.map_or(0, |(width, _)| width);
    let is_odd = |n: &usize| width == 0 || cut[*n].len() != width;
    let odd: Vec<usize> = (0..cut.len()).filter(is_odd).collect();
    put_number(out, odd.len() as u64);
    let mut before = 0;
    for n in &odd {
        put_number(out, (n - before) as u64);
        put_bytes(out, messages[*n].as_bytes());
        before = *n;
    }

    let rows: Vec<&Vec<&str>> = cut.iter().filter(|runs| width > 0 && runs.len() == width).collect();
    let mut columns: Vec<Vec<u8>> = Vec::new();
    let mut same = String::new();
    for place in 0..width {
        let column: Vec<&str> = rows.iter().map(|row| row[place]).collect();
        if column.iter().all(|run| *run == column[0]) {
            same.push_str(column[0]);
            continue;
        }
        push_same(&mut columns, &mut same);
        columns.push(values(&column));
    }
    push_same(&mut columns, &mut same);
    put_number(out, columns.len() as u64);
    columns.iter().for_each(|column| out.extend_from_slice(column));
}

/// Neighbours that never differ are one column.
fn push_same(columns: &mut Vec<Vec<u8>>, same: &mut String) {
    if !same.is_empty() {
        let mut column = vec![SAME];
        put_bytes(&mut column, same.as_bytes());
        columns.push(column);
        same.clear();
    }
}

fn values(column: &[&str]) -> Vec<u8> {
    let numbers: Option<Vec<u64>> = column
        .iter()
        .map(|run| run.parse().ok().filter(|_| run.bytes().all(|byte| byte.is_ascii_digit())))
        .collect();
    let plain = |run: &&str| *run == "0" || !run.starts_with('0');
    let mut out = Vec::new();
    match numbers {
        Some(numbers) if column.iter().all(plain) => {
            out.push(NUMBERS);
            numbers.into_iter().for_each(|number| put_number(&mut out, number));
        }
        Some(numbers) if column.iter().all(|run| run.len() == column[0].len()) => {
            out.push(PADDED);
            put_number(&mut out, column[0].len() as u64);
            numbers.into_iter().for_each(|number| put_number(&mut out, number));
        }
        _ => {
            out.push(TEXTS);
            column.iter().for_each(|run| put_bytes(&mut out, run.as_bytes()));
        }
    }
    out
}

pub(super) fn read(bytes: &mut Bytes<'_>, n_messages: usize) -> Option<Vec<String>> {
    let mut messages: Vec<String> = vec![String::new(); n_messages];
    let mut is_odd = vec![false; n_messages];
    let mut place = 0usize;
    for _ in 0..bytes.count()? {
        place = place.checked_add(usize::try_from(bytes.number()?).ok()?)?;
        *is_odd.get_mut(place)? = true;
        messages[place] = text(bytes)?.to_owned();
    }
    let n_columns = bytes.count()?;
    for _ in 0..n_columns {
        let mut column = Column::begin(bytes)?;
        for (message, _) in messages.iter_mut().zip(&is_odd).filter(|(_, is_odd)| !**is_odd) {
            column.read(bytes, message)?;
        }
    }
    Some(messages)
}

enum Column<'a> {
    Same(&'a str),
    Texts,
    Numbers,
    Padded(usize),
}

impl<'a> Column<'a> {
    fn begin(bytes: &mut Bytes<'a>) -> Option<Self> {
        Some(match bytes.byte()? {
            SAME => Self::Same(text(bytes)?),
            TEXTS => Self::Texts,
            NUMBERS => Self::Numbers,
            // No number of 64 bits has more digits.
            PADDED => Self::Padded(usize::try_from(bytes.number()?).ok().filter(|width| *width <= 64)?),
            _ => return None,
        })
    }

    /// Appends the next value to its message.
    fn read(&mut self, bytes: &mut Bytes<'a>, message: &mut String) -> Option<()> {
        use std::fmt::Write as _;
        match self {
            Self::Same(run) => message.push_str(run),
            Self::Texts => message.push_str(text(bytes)?),
            Self::Numbers => write!(message, "{}", bytes.number()?).ok()?,
            Self::Padded(width) => write!(message, "{:0width$}", bytes.number()?, width = *width).ok()?,
        }
        Some(())
    }
}

fn text<'a>(bytes: &mut Bytes<'a>) -> Option<&'a str> {
    std::str::from_utf8(bytes.bytes()?).ok()
}

/// Runs of letters and digits (and everything beyond ASCII), and what stands between them.
fn runs(message: &str) -> Vec<&str> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
    let bytes = message.as_bytes();
    let mut runs = Vec::new();
    let mut begin = 0;
    for at in 1..=bytes.len() {
        if at == bytes.len() || is_word(bytes[at]) != is_word(bytes[at - 1]) {
            runs.push(&message[begin..at]);
            begin = at;
        }
    }
    runs
}
