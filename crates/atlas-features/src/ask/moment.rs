//! Single points in time: a clock, a date, both, or so long ago.

use atlas_domain::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::{SignedDuration, ToSpan as _};

use super::clock::{Clock, TimeRange};
use super::when;
use super::words::Word;

/// Parts of a day with their hours; a night ends on the next morning.
pub(super) const TIMES_OF_DAY: [(&str, i64, i64); 4] =
    [("morning", 0, 12), ("afternoon", 12, 18), ("evening", 18, 24), ("night", 18, 30)];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

/// A point in time as it was said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Moment {
    /// `14:00`, of a day that something else says.
    Clock(Time),
    /// `2026-11-03`, `yesterday`.
    Day(Date),
    /// `2026-11-03T14:00:00Z`, `yesterday at 14:00`.
    At(Timestamp),
    /// `3 hours ago`.
    Ago { at: Timestamp, unit: SignedDuration },
}

impl Moment {
    /// The moment at which "since" begins or "until" ends.
    pub(super) fn edge(self, date: Option<Date>, clock: Clock) -> Option<Timestamp> {
        match (self, date) {
            (Self::Clock(time), Some(date)) => clock.at(date, time),
            (Self::Clock(time), None) => clock.latest(time),
            (Self::Day(date), _) => clock.at(date, Time::midnight()),
            (Self::At(at) | Self::Ago { at, .. }, _) => Some(at),
        }
    }

    /// A little before and after.
    pub(super) fn around(self, date: Option<Date>, clock: Clock, by: SignedDuration) -> Option<TimeRange> {
        let (at, by) = match self {
            Self::Day(date) => return clock.day(date),
            Self::Ago { at, unit } => (at, unit / 2),
            other => (other.edge(date, clock)?, by),
        };
        Some(TimeRange { since: at.checked_sub(by).ok(), until: at.checked_add(by).ok() })
    }
}

/// From one moment to another. Two clocks are of one day, the latest that has begun; the second
/// may be past midnight.
pub(super) fn between(begin: Moment, end: Moment, date: Option<Date>, clock: Clock) -> Option<TimeRange> {
    let (since, until) = match (begin, end) {
        (Moment::Clock(from), Moment::Clock(to)) => {
            let begin = begin.edge(date, clock)?;
            let day = date.unwrap_or_else(|| {
                if clock.at(clock.today(), from) == Some(begin) {
                    clock.today()
                } else {
                    clock.today().yesterday().unwrap_or(clock.today())
                }
            });
            let day = if to > from { day } else { day.tomorrow().ok()? };
            (begin, clock.at(day, to)?)
        }
        // `between yesterday 22:00 and 02:00`: the next such time.
        (Moment::At(at), Moment::Clock(to)) => {
            let range = [0, 1].into_iter().find_map(|later| {
                let day = clock.day_of(at).checked_add(i64::from(later).days()).ok()?;
                clock.at(day, to).filter(|until| *until > at)
            });
            (at, range?)
        }
        // A last day belongs to the range.
        (_, Moment::Day(last)) => (begin.edge(date, clock)?, clock.day(last)?.until?),
        _ => (begin.edge(date, clock)?, end.edge(date, clock)?),
    };
    (since < until).then_some(TimeRange { since: Some(since), until: Some(until) })
}

/// The moment that begins at the first word, and how many words it is.
pub(super) fn read(words: &[Word<'_>], clock: Clock) -> Option<(Moment, usize)> {
    let first = words.first().filter(|word| !word.in_phrase)?;
    if let Ok(at) = first.text.parse::<Timestamp>() {
        return Some((Moment::At(at), 1));
    }
    if first.text.contains(['T', 't'])
        && let Ok(at) = first.text.parse::<DateTime>()
    {
        return Some((Moment::At(clock.at(at.date(), at.time())?), 1));
    }
    if let Some(ago) = ago(words, clock) {
        return Some(ago);
    }
    if let Some((date, taken)) = date(words, clock) {
        let rest = &words[taken..];
        let skip = usize::from(rest.first().is_some_and(|word| word.is(&["at"])));
        return match time(&rest[skip..]) {
            Some((time, n_time)) => Some((Moment::At(clock.at(date, time)?), taken + skip + n_time)),
            None => Some((Moment::Day(date), taken)),
        };
    }
    time(words).map(|(time, taken)| (Moment::Clock(time), taken))
}

/// `3 hours ago`, `an hour ago`.
fn ago(words: &[Word<'_>], clock: Clock) -> Option<(Moment, usize)> {
    let article = usize::from(words.first()?.is(&["a", "an"]));
    let (count, n_count) = when::count(&words[article..]);
    if article + n_count == 0 {
        return None;
    }
    let unit = when::unit(&words.get(article + n_count)?.lower)?;
    words.get(article + n_count + 1).filter(|word| word.is(&["ago"]))?;
    let at = clock.ago(SignedDuration::from_secs(count.checked_mul(unit)?));
    Some((Moment::Ago { at, unit: SignedDuration::from_secs(unit) }, article + n_count + 2))
}

/// `2026-11-03`, `3 November 2026`, `Nov 3`, `yesterday`, `today`, `Monday`.
pub(super) fn date(words: &[Word<'_>], clock: Clock) -> Option<(Date, usize)> {
    let first = words.first().filter(|word| !word.in_phrase)?;
    let today = clock.today();
    if first.text.len() == 10 && first.text.is_ascii() && first.text.as_bytes()[4] == b'-' {
        return first.text.parse::<Date>().ok().map(|date| (date, 1));
    }
    match first.lower.as_str() {
        "today" => return Some((today, 1)),
        "yesterday" => return Some((today.yesterday().ok()?, 1)),
        "the" if starts(words, &["the", "day", "before", "yesterday"]) => {
            return Some((today.checked_sub(2.days()).ok()?, 4));
        }
        "last" => {
            let named = weekday(&words.get(1)?.lower)?;
            let date = clock.weekday(named)?;
            return Some((if date == today { date.checked_sub(7.days()).ok()? } else { date }, 2));
        }
        _ => {}
    }
    if let Some(named) = weekday(&first.lower) {
        return Some((clock.weekday(named)?, 1));
    }
    let second = words.get(1).filter(|word| !word.in_phrase)?;
    let (month, day) = match (month_of(&first.lower), day_of_month(&second.lower)) {
        (Some(month), Some(day)) => (month, day),
        _ => (month_of(&second.lower)?, day_of_month(&first.lower)?),
    };
    let year = words
        .get(2)
        .and_then(|word| word.lower.parse::<i16>().ok())
        .filter(|year| (1970..=2200).contains(year));
    match year {
        Some(year) => Some((Date::new(year, month, day).ok()?, 3)),
        None => Some((clock.date_of(month, day)?, 2)),
    }
}

fn starts(words: &[Word<'_>], names: &[&str]) -> bool {
    words.len() >= names.len() && words.iter().zip(names).all(|(word, name)| word.is(&[name]))
}

/// `14:00`, `14:00:05`, `2pm`, `2:30 pm`, `noon`, `midnight`.
fn time(words: &[Word<'_>]) -> Option<(Time, usize)> {
    let first = words.first().filter(|word| !word.in_phrase)?;
    match first.lower.as_str() {
        "noon" => return Time::new(12, 0, 0, 0).ok().map(|time| (time, 1)),
        "midnight" => return Some((Time::midnight(), 1)),
        _ => {}
    }
    let lower = first.lower.trim_end_matches('z');
    let digits = lower.trim_end_matches(|c: char| c.is_alphabetic());
    let (half, n_half) = match &lower[digits.len()..] {
        "am" | "pm" => (Some(&lower[digits.len()..]), 0),
        "" => match words.get(1).map(|word| word.lower.as_str()) {
            Some(half @ ("am" | "pm" | "a.m" | "p.m")) => (Some(half), 1),
            Some("utc") => (None, 1),
            _ => (None, 0),
        },
        _ => return None,
    };
    let mut parts = digits.split(':');
    let number = |part: &str| {
        part.parse::<i8>().ok().filter(|_| part.len() <= 2 && part.bytes().all(|b| b.is_ascii_digit()))
    };
    let hour = number(parts.next()?)?;
    let minute = parts.next().map(number);
    // A bare number is a time only with its half of the day.
    if minute.is_none() && half.is_none() {
        return None;
    }
    let minute = minute.unwrap_or(Some(0))?;
    let second = parts.next().map_or(Some(0), number)?;
    if parts.next().is_some() {
        return None;
    }
    let hour = match half.map(|half| (half.starts_with('p'), hour)) {
        None => hour,
        Some((is_pm, 12)) => {
            if is_pm {
                12
            } else {
                0
            }
        }
        Some((is_pm, hour @ 1..=11)) => {
            if is_pm {
                hour + 12
            } else {
                hour
            }
        }
        Some(_) => return None,
    };
    Time::new(hour, minute, second, 0).ok().map(|time| (time, 1 + n_half))
}

fn month_of(word: &str) -> Option<i8> {
    let whole = MONTHS.iter().position(|month| {
        *month == word
            || (word.len() == 3 && month.starts_with(word))
            || (word == "sept" && *month == "september")
    })?;
    i8::try_from(whole + 1).ok()
}

fn day_of_month(word: &str) -> Option<i8> {
    let digits = ["st", "nd", "rd", "th"].iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word);
    digits
        .parse::<i8>()
        .ok()
        .filter(|day| (1..=31).contains(day) && digits.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn weekday(word: &str) -> Option<Weekday> {
    WEEKDAYS.iter().find(|(name, _)| *name == word).map(|(_, weekday)| *weekday)
}

/// The Monday of this week.
pub(super) fn monday(clock: Clock) -> Option<Date> {
    clock.weekday(Weekday::Monday)
}

/// Whole months, the first of them so many before this one.
pub(super) fn months(clock: Clock, before: i64, count: i64) -> Option<TimeRange> {
    let first = clock.today().first_of_month().checked_sub(before.months()).ok()?;
    let days = (first.checked_add(count.months()).ok()? - first).get_days();
    clock.days(first, i64::from(days))
}

/// A quarter of a year, so many before this one.
pub(super) fn quarter(clock: Clock, before: i64) -> Option<TimeRange> {
    months(clock, i64::from((clock.today().month() - 1) % 3) + 3 * before, 3)
}

/// `November`, and no day of it: the latest one that has begun.
pub(super) fn named_month(words: &[Word<'_>], clock: Clock) -> Option<TimeRange> {
    let month = month_of(&words.first()?.lower)?;
    if words.get(1).is_some_and(|next| day_of_month(&next.lower).is_some()) {
        return None;
    }
    let before = i64::from((clock.today().month() - month).rem_euclid(12));
    months(clock, before, 1)
}
