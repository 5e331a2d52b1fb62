//! Times as people say them: `in the last 6 hours`, `yesterday evening`, `since 14:00`,
//! `between 2pm and 3pm on Monday`, `since the deploy`.
//!
//! A reading begins at a word and says how many words it took. What is almost a time (`last login`,
//! `longer than 2 minutes`, `per hour`) is none.

use jiff::SignedDuration;
use jiff::civil::{Date, Weekday};

use super::clock::{Clock, TimeRange};
use super::moment::{self, Moment, TIMES_OF_DAY};
use super::words::Word;

/// Around a single moment (`at 14:05`).
const AROUND: SignedDuration = SignedDuration::from_mins(15);

/// A time that was said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct When {
    /// Words it took.
    pub(super) taken: usize,
    /// What it means; `None` for a deploy that nobody knows.
    pub(super) range: Option<TimeRange>,
    /// It counts from a deploy.
    pub(super) of_deploy: bool,
}

/// The time that begins at the first of these words.
pub(super) fn read(words: &[Word<'_>], clock: Clock) -> Option<When> {
    if words.first()?.in_phrase {
        return None;
    }
    // `in the last hour`: the preposition goes with the time.
    let leads =
        words[0].is(&["in", "over", "during", "within", "for", "from", "on", "throughout", "through"]);
    let skipped = usize::from(leads);
    let with_lead = |when: When| When { taken: when.taken + skipped, ..when };
    relative(&words[skipped..], clock, leads)
        .or_else(|| bounded(&words[skipped..], clock, words[0].is(&["from"])))
        .or_else(|| named_day(&words[skipped..], clock, leads))
        .map(with_lead)
        .filter(|when| when.taken > 0)
}

fn some(taken: usize, range: Option<TimeRange>) -> Option<When> {
    range.map(|range| When { taken, range: Some(range), of_deploy: false })
}

/// `[the] last 6 hours`, `the past week`, `this week`, `last week`.
fn relative(words: &[Word<'_>], clock: Clock, leads: bool) -> Option<When> {
    let article = usize::from(words.first()?.is(&["the", "these"]));
    let word = words.get(article)?;
    if word.is(&["this", "current"]) {
        let range = match words.get(article + 1)?.lower.as_str() {
            "week" => clock.days(moment::monday(clock)?, 7),
            "month" => moment::months(clock, 0, 1),
            "quarter" => moment::quarter(clock, 0),
            _ => None,
        };
        return some(article + 2, range);
    }
    if !word.is(&["last", "past", "previous", "preceding", "trailing"]) {
        return None;
    }
    if words.get(article + 1)?.is(&["quarter"]) {
        return some(article + 2, moment::quarter(clock, 1));
    }
    if words[article + 1].is(&["half"]) {
        let an = usize::from(words.get(article + 2)?.is(&["an", "a"]));
        let seconds = unit(&words.get(article + 2 + an)?.lower)?;
        return some(article + 3 + an, rolling(clock, seconds / 2));
    }
    let (count, n_count) = count(&words[article + 1..]);
    let next = words.get(article + 1 + n_count)?;
    let (seconds, n_unit) = match unit(&next.lower) {
        Some(seconds) => (seconds, 1),
        // `6h`, `30m`, `24-hour`.
        None if n_count == 0 => return some(article + 2, rolling(clock, joined(&next.lower)?)),
        None => return None,
    };
    let taken = article + 1 + n_count + n_unit;
    if n_count == 0 && article == 0 && !leads && word.is(&["last", "previous"]) {
        // Without an article it is the one on the calendar.
        match next.lower.as_str() {
            "week" => {
                return some(
                    taken,
                    clock.days(moment::monday(clock)?.checked_sub(jiff::ToSpan::days(7)).ok()?, 7),
                );
            }
            "month" => return some(taken, moment::months(clock, 1, 1)),
            _ => {}
        }
    }
    some(taken, rolling(clock, count.checked_mul(seconds)?))
}

fn rolling(clock: Clock, seconds: i64) -> Option<TimeRange> {
    (seconds > 0)
        .then(|| TimeRange { since: Some(clock.ago(SignedDuration::from_secs(seconds))), until: None })
}

/// A number in front of a unit, and how many words it is. One where there is none.
pub(super) fn count(words: &[Word<'_>]) -> (i64, usize) {
    const NAMES: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        "twelve",
    ];
    let Some(first) = words.first().filter(|word| !word.in_phrase) else { return (1, 0) };
    if let Ok(count) = first.lower.parse::<u32>() {
        return (i64::from(count), 1);
    }
    if let Some(count) = NAMES.iter().position(|name| *name == first.lower) {
        return (count as i64, 1);
    }
    match first.lower.as_str() {
        "few" | "several" => (3, 1),
        "couple" if words.get(1).is_some_and(|word| word.is(&["of"])) => (2, 2),
        "couple" => (2, 1),
        _ => (1, 0),
    }
}

/// Seconds of a unit.
pub(super) fn unit(word: &str) -> Option<i64> {
    Some(match word {
        "second" | "seconds" | "sec" | "secs" => 1,
        "minute" | "minutes" | "min" | "mins" => 60,
        "hour" | "hours" | "hr" | "hrs" => 3_600,
        "day" | "days" => 86_400,
        "week" | "weeks" => 7 * 86_400,
        "month" | "months" => 30 * 86_400,
        "year" | "years" => 365 * 86_400,
        _ => return None,
    })
}

/// `6h`, `30min`, `24-hour`: seconds.
fn joined(word: &str) -> Option<i64> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = word.split_at(digits);
    let seconds = match rest.trim_start_matches('-') {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        other => unit(other)?,
    };
    i64::from(number.parse::<u32>().ok()?).checked_mul(seconds)
}

/// `since M`, `before M`, `between M and M`, `from M to M`, `at M`.
fn bounded(words: &[Word<'_>], clock: Clock, from: bool) -> Option<When> {
    let first = words.first()?;
    if from || first.is(&["between"]) {
        let skip = usize::from(!from);
        let (begin, n_begin) = moment::read(&words[skip..], clock)?;
        let joint = skip + n_begin;
        if !words.get(joint)?.is(&["and", "to", "until", "till", "-", "–"]) {
            return None;
        }
        let (end, n_end) = moment::read(&words[joint + 1..], clock)?;
        let taken = joint + 1 + n_end;
        let (date, n_date) = trailing_day(&words[taken..], clock);
        return some(taken + n_date, moment::between(begin, end, date, clock));
    }
    if first.is(&["since", "after", "before", "until", "till"]) {
        let since = first.is(&["since", "after"]);
        if let Some(taken) = deploy(&words[1..]) {
            let range = clock.deployed_at.map(|at| one_sided(at, since));
            return Some(When { taken: taken + 1, range, of_deploy: true });
        }
        let (at, n_at) = moment::read(&words[1..], clock)?;
        let (date, n_date) = trailing_day(&words[1 + n_at..], clock);
        // `after midnight` and `before noon` are of the day that is named, else of the latest one.
        let edge = at.edge(date, clock)?;
        return some(1 + n_at + n_date, Some(one_sided(edge, since)));
    }
    if first.is(&["at", "around", "about"]) {
        let (at, n_at) = moment::read(&words[1..], clock)?;
        let (date, n_date) = trailing_day(&words[1 + n_at..], clock);
        return some(1 + n_at + n_date, at.around(date, clock, AROUND));
    }
    // `3 hours ago`, with as much room on both sides as the words leave.
    let (at, n_at) = moment::read(words, clock).filter(|(at, _)| matches!(at, Moment::Ago { .. }))?;
    some(n_at, at.around(None, clock, AROUND))
}

fn one_sided(at: atlas_domain::Timestamp, since: bool) -> TimeRange {
    if since {
        TimeRange { since: Some(at), until: None }
    } else {
        TimeRange { since: None, until: Some(at) }
    }
}

/// `[the] [last] deploy`.
fn deploy(words: &[Word<'_>]) -> Option<usize> {
    let lead =
        words.iter().take_while(|word| word.is(&["the", "last", "latest", "most", "recent", "our"])).count();
    let named = words.get(lead)?.is(&["deploy", "deployment", "release", "rollout", "change", "upgrade"]);
    (named && lead > 0).then_some(lead + 1)
}

/// `yesterday`, `on Monday`, `on 2026-11-03` behind a time of day.
fn trailing_day(words: &[Word<'_>], clock: Clock) -> (Option<Date>, usize) {
    let lead = usize::from(words.first().is_some_and(|word| word.is(&["on", "of"])));
    match moment::date(&words[lead..], clock) {
        Some((date, taken)) => (Some(date), lead + taken),
        None => (None, 0),
    }
}

/// `yesterday`, `last night`, `this morning`, `on Monday`, `2026-11-03`, and a part of that day.
fn named_day(words: &[Word<'_>], clock: Clock, leads: bool) -> Option<When> {
    let first = words.first()?;
    let second = words.get(1).filter(|word| !word.in_phrase).map_or("", |word| word.lower.as_str());
    let today = clock.today();
    match (first.lower.as_str(), second) {
        // Who asks in the small hours means the night that is still going on.
        ("last", "night") | ("overnight", _) => {
            let taken = if first.lower == "overnight" { 1 } else { 2 };
            return some(taken, clock.hours(today.yesterday().ok()?, 18, 30));
        }
        ("the" | "this" | "last", "weekend") if leads || first.lower != "the" => {
            return some(2, clock.days(clock.weekday(Weekday::Saturday)?, 2));
        }
        ("tonight", _) => return some(1, clock.hours(today, 18, 30)),
        ("earlier", "today") => return some(2, clock.day(today)),
        ("this", part) => {
            let (from, to) = part_of_day(part)?;
            return some(2, clock.hours(today, from, to));
        }
        _ => {}
    }
    // `may` and `march` are words, too: only behind a preposition.
    if leads && let Some(range) = moment::named_month(words, clock) {
        return some(1, Some(range));
    }
    let (date, taken) = moment::date(words, clock)?;
    // A bare weekday may be anything (`the monday service`); a bare month is no date at all.
    let bare_weekday = moment::weekday(&first.lower).is_some() && !leads;
    if bare_weekday {
        return None;
    }
    let rest = &words[taken..];
    let in_the = rest.iter().take_while(|word| word.is(&["in", "the"])).count();
    if let Some((from, to)) = rest.get(in_the).and_then(|word| part_of_day(&word.lower)) {
        return some(taken + in_the + 1, clock.hours(date, from, to));
    }
    clocked(rest, date, clock)
        .map(|when| When { taken: taken + when.taken, ..when })
        .or_else(|| some(taken, clock.day(date)))
}

/// `between 14:00 and 15:00`, `at 9am`, `after 22:00` behind a day.
fn clocked(words: &[Word<'_>], date: Date, clock: Clock) -> Option<When> {
    let first = words.first()?;
    if first.is(&["between", "from"]) {
        let (begin, n_begin) = moment::read(&words[1..], clock)?;
        words.get(1 + n_begin).filter(|word| word.is(&["and", "to", "until"]))?;
        let (end, n_end) = moment::read(&words[2 + n_begin..], clock)?;
        return some(2 + n_begin + n_end, moment::between(begin, end, Some(date), clock));
    }
    let skip = usize::from(first.is(&["at", "around", "after", "since", "before", "until"]));
    let (at, n_at) = moment::read(&words[skip..], clock)?;
    let Moment::Clock(time) = at else { return None };
    let moment = clock.at(date, time)?;
    let range = match first.lower.as_str() {
        "after" | "since" => TimeRange { since: Some(moment), until: clock.day(date)?.until },
        "before" | "until" => TimeRange { since: clock.day(date)?.since, until: Some(moment) },
        _ => at.around(Some(date), clock, AROUND)?,
    };
    some(skip + n_at, Some(range))
}

fn part_of_day(word: &str) -> Option<(i64, i64)> {
    TIMES_OF_DAY.iter().find(|(name, ..)| *name == word).map(|(_, from, to)| (*from, *to))
}
