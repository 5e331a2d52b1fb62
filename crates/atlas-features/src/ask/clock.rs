//! What time it is for who asks, and the calendar around it.

use atlas_domain::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::Offset;
use jiff::{SignedDuration, ToSpan as _};
use serde::Serialize;

/// From when until when. An open end is now or the beginning of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TimeRange {
    /// Not before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl TimeRange {
    /// The part that both share; `None` when they share nothing.
    pub(super) fn and(self, other: Self) -> Option<Self> {
        let since = self.since.max(other.since);
        let until = [self.until, other.until].into_iter().flatten().min();
        (since.is_none() || until.is_none() || since < until).then_some(Self { since, until })
    }
}

/// When a question is asked, and what "since the deploy" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    now: Timestamp,
    offset: Offset,
    pub(super) deployed_at: Option<Timestamp>,
}

impl Clock {
    /// In UTC.
    pub fn utc(now: Timestamp) -> Self {
        Self { now, offset: Offset::UTC, deployed_at: None }
    }

    /// In a place with this offset: `Z`, `+02:00`, `-0530`, `+9`. `None`: it is no offset.
    pub fn with_offset(now: Timestamp, offset: &str) -> Option<Self> {
        Some(Self { now, offset: read_offset(offset)?, deployed_at: None })
    }

    /// The same clock, with the time of the latest change that is known.
    pub fn deployed(self, deployed_at: Option<Timestamp>) -> Self {
        Self { deployed_at, ..self }
    }

    /// The date of a moment.
    pub(super) fn day_of(self, at: Timestamp) -> Date {
        self.offset.to_datetime(at).date()
    }

    pub(super) fn today(self) -> Date {
        self.day_of(self.now)
    }

    /// A moment on this clock's calendar.
    pub(super) fn at(self, date: Date, time: Time) -> Option<Timestamp> {
        self.offset.to_timestamp(date.to_datetime(time)).ok()
    }

    /// Minus a duration; the far past where that does not exist.
    pub(super) fn ago(self, ago: SignedDuration) -> Timestamp {
        self.now.checked_sub(ago).unwrap_or(Timestamp::MIN)
    }

    pub(super) fn day(self, date: Date) -> Option<TimeRange> {
        self.days(date, 1)
    }

    /// `count` days from a date.
    pub(super) fn days(self, first: Date, count: i64) -> Option<TimeRange> {
        let end = first.checked_add(count.days()).ok()?;
        Some(TimeRange { since: self.at(first, Time::midnight()), until: self.at(end, Time::midnight()) })
    }

    /// From one hour of a day to another; an hour of 24 or more is on the day after.
    pub(super) fn hours(self, date: Date, from: i64, to: i64) -> Option<TimeRange> {
        let midnight = self.at(date, Time::midnight())?;
        let hour = |hour: i64| midnight.checked_add(SignedDuration::from_hours(hour)).ok();
        Some(TimeRange { since: hour(from), until: hour(to) })
    }

    /// The latest day of this name, today included.
    pub(super) fn weekday(self, weekday: Weekday) -> Option<Date> {
        let today = self.today();
        today.checked_sub(i64::from(today.weekday().since(weekday)).days()).ok()
    }

    /// The latest such date that is not in the future.
    pub(super) fn date_of(self, month: i8, day: i8) -> Option<Date> {
        let today = self.today();
        let this_year = Date::new(today.year(), month, day).ok();
        match this_year.filter(|date| *date <= today) {
            Some(date) => Some(date),
            None => Date::new(today.year() - 1, month, day).ok().or(this_year),
        }
    }

    /// The latest such time of day that is not in the future.
    pub(super) fn latest(self, time: Time) -> Option<Timestamp> {
        let today = self.today();
        let at = self.at(today, time)?;
        if at <= self.now { Some(at) } else { self.at(today.yesterday().ok()?, time) }
    }
}

fn read_offset(text: &str) -> Option<Offset> {
    let text = text.trim();
    if matches!(text, "Z" | "z" | "UTC" | "utc") {
        return Some(Offset::UTC);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some(parts) => parts,
        None if digits.len() == 4 && digits.is_ascii() => digits.split_at(2),
        None => (digits, "0"),
    };
    let number = |text: &str| text.parse::<i32>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours > 14 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}
