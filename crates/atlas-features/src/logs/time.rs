//! The time at the head of a log line.
//!
//! Lines without a zone are read as UTC: the sender's zone is not in the line, and a wrong guess
//! would depend on where this server runs.

use atlas_domain::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

/// The time a line begins with, and how many bytes it takes (brackets included).
pub(super) fn detect(line: &str, now: Timestamp) -> Option<(Timestamp, usize)> {
    let mut text = Cursor { bytes: line.as_bytes(), at: 0 };
    text.skip(b' ');
    let bracket = text.eat(b'[');
    let formats: [fn(&mut Cursor<'_>, Timestamp) -> Option<Timestamp>; 5] =
        [date_first, compact, month_first, weekday_first, without_year];
    let start = text.at;
    for format in formats {
        text.at = start;
        if let Some(at) = format(&mut text, now) {
            if bracket {
                text.eat(b']');
            }
            return Some((at, text.at));
        }
    }
    None
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn need(&mut self, one_of: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| one_of.contains(byte))?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, byte: u8) {
        while self.eat(byte) {}
    }

    /// Exactly `digits` digits.
    fn number(&mut self, digits: usize) -> Option<i16> {
        let text = self.bytes.get(self.at..self.at + digits)?;
        let value = text.iter().try_fold(0i16, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + i16::from(byte - b'0'))
        })?;
        self.at += digits;
        Some(value)
    }

    fn digit_next(&self) -> bool {
        self.peek().is_some_and(|byte| byte.is_ascii_digit())
    }

    /// The position of the next three letters in `names`, from 1.
    fn name(&mut self, names: &[&[u8; 3]; 12]) -> Option<i8> {
        let word = self.bytes.get(self.at..self.at + 3)?;
        let found = (1i8..).zip(names).find(|(_, name)| word.eq_ignore_ascii_case(**name))?.0;
        self.at += 3;
        Some(found)
    }

    /// `HH:MM:SS` with up to nine decimals after a point or comma.
    fn clock(&mut self) -> Option<Time> {
        let hour = self.number(2)?;
        self.need(b":")?;
        let minute = self.number(2)?;
        self.need(b":")?;
        let second = self.number(2)?;
        let nanos = self.decimals();
        time(hour, minute, second, nanos)
    }

    fn decimals(&mut self) -> i32 {
        let start = self.at;
        if self.need(b".,").is_none() || !self.digit_next() {
            self.at = start;
            return 0;
        }
        let (mut nanos, mut scale) = (0, 100_000_000);
        while let Some(byte) = self.peek().filter(u8::is_ascii_digit) {
            nanos += i32::from(byte - b'0') * scale;
            scale /= 10;
            self.at += 1;
        }
        nanos
    }

    /// `Z`, `+01:00`, `+0100`; nothing is UTC.
    fn offset(&mut self) -> Option<Offset> {
        if self.eat(b'Z') || self.eat(b'z') {
            return Some(Offset::UTC);
        }
        let Some(sign) = self.need(b"+-") else { return Some(Offset::UTC) };
        let hours = self.number(2)?;
        self.eat(b':');
        let minutes = self.number(2)?;
        let seconds = (i32::from(hours) * 60 + i32::from(minutes)) * 60;
        Offset::from_seconds(if sign == b'-' { -seconds } else { seconds }).ok()
    }
}

const MONTHS: [&[u8; 3]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

fn time(hour: i16, minute: i16, second: i16, nanos: i32) -> Option<Time> {
    // A leap second reads as the second before it.
    let second = if second == 60 { 59 } else { second };
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?, nanos).ok()
}

fn date(year: i16, month: i16, day: i16) -> Option<Date> {
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn utc(at: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(at).ok()
}

/// The year that is missing in the line: this one, unless that would be in the future. A day is
/// allowed for a sender whose clock or zone is ahead.
fn recent(month: i16, day: i16, clock: Time, now: Timestamp) -> Option<Timestamp> {
    let year = TimeZone::UTC.to_datetime(now).year();
    let latest = now.as_second() + 86_400;
    [year, year - 1, year - 2, year - 3, year - 4]
        .into_iter()
        // 29 February exists in some of them only.
        .filter_map(|year| utc(date(year, month, day)?.to_datetime(clock)))
        .find(|at| at.as_second() <= latest)
}

/// `2017-05-16 00:00:00.008`, `2024-05-01T10:00:00Z`, `2024/05/01 10:00:00`.
fn date_first(text: &mut Cursor<'_>, _: Timestamp) -> Option<Timestamp> {
    let year = text.number(4)?;
    let joint = text.need(b"-/")?;
    let month = text.number(2)?;
    text.need(&[joint])?;
    let day = text.number(2)?;
    text.need(b"Tt ")?;
    let clock = text.clock()?;
    let offset = text.offset()?;
    offset.to_timestamp(date(year, month, day)?.to_datetime(clock)).ok()
}

/// `081109 203615`, and the milliseconds or thread number after it stay in the line.
fn compact(text: &mut Cursor<'_>, _: Timestamp) -> Option<Timestamp> {
    let (year, month, day) = (text.number(2)?, text.number(2)?, text.number(2)?);
    text.need(b" ")?;
    let clock = time(text.number(2)?, text.number(2)?, text.number(2)?, 0)?;
    if text.digit_next() {
        return None;
    }
    utc(date(2000 + year, month, day)?.to_datetime(clock))
}

/// Syslog: `Jun 14 15:16:01`, `Jun  4 15:16:01`.
fn month_first(text: &mut Cursor<'_>, now: Timestamp) -> Option<Timestamp> {
    let month = text.name(&MONTHS)?;
    text.need(b" ")?;
    text.skip(b' ');
    let mut day = text.number(1)?;
    if text.digit_next() {
        day = day * 10 + text.number(1)?;
    }
    text.need(b" ")?;
    let clock = text.clock()?;
    recent(i16::from(month), day, clock, now)
}

/// Apache: `Sun Dec 04 04:47:44 2005`, with or without decimals.
fn weekday_first(text: &mut Cursor<'_>, _: Timestamp) -> Option<Timestamp> {
    let weekday = text.bytes.get(text.at..text.at + 4)?;
    if !weekday[..3].iter().all(u8::is_ascii_alphabetic) || weekday[3] != b' ' {
        return None;
    }
    text.at += 4;
    let month = text.name(&MONTHS)?;
    text.need(b" ")?;
    text.skip(b' ');
    let mut day = text.number(1)?;
    if text.digit_next() {
        day = day * 10 + text.number(1)?;
    }
    text.need(b" ")?;
    let clock = text.clock()?;
    text.need(b" ")?;
    let year = text.number(4)?;
    utc(date(year, i16::from(month), day)?.to_datetime(clock))
}

/// Android: `03-17 16:13:38.811`.
fn without_year(text: &mut Cursor<'_>, now: Timestamp) -> Option<Timestamp> {
    let month = text.number(2)?;
    text.need(b"-")?;
    let day = text.number(2)?;
    text.need(b" ")?;
    let clock = text.clock()?;
    recent(month, day, clock, now)
}
