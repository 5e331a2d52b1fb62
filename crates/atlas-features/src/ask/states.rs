//! Severities, log levels and states of the life cycle.

use super::names::Found;
use super::vocabulary::{Field, Vocabulary};
use super::words::Word;

pub(super) const SEVERITIES: [&str; 25] = [
    "trace",
    "debug",
    "info",
    "notice",
    "warn",
    "warning",
    "error",
    "err",
    "fatal",
    "critical",
    "crit",
    "emergency",
    "alert",
    "high",
    "medium",
    "low",
    "major",
    "minor",
    "page",
    "ticket",
    "p1",
    "p2",
    "p3",
    "sev1",
    "sev2",
];

/// `critical alerts`, `error logs`, `ERROR lines`, `warning level`.
pub(super) fn severity(before: Option<&Word<'_>>, words: &[Word<'_>], known: &Vocabulary) -> Option<Found> {
    let (first, noun) = (words.first()?, words.get(1)?);
    let lower = first.lower.as_str();
    if first.closes || !(SEVERITIES.contains(&lower) || known.of(Field::Severity, lower).is_some()) {
        return None;
    }
    let capitals = first.text.len() > 3 && first.text.chars().all(char::is_uppercase);
    let of_logs = noun.is(&["log", "logs", "line", "lines", "entry", "entries", "level", "levels"]);
    let of_alerts = noun.is(&["alert", "alerts", "incident", "incidents", "severity", "priority"]);
    let of_messages = capitals && noun.is(&["message", "messages", "event", "events"]);
    // `the level of error logs` said it before.
    if before.is_some_and(|word| word.is(&["level", "severity"])) || !(of_logs || of_alerts || of_messages) {
        return None;
    }
    // `log level` is a noun; so is `alert level`.
    if of_logs && matches!(lower, "alert" | "page" | "ticket") {
        return None;
    }
    let is_cue = noun.is(&["level", "levels", "severity", "priority"]);
    let taken = 1 + usize::from(is_cue);
    Some(Found {
        field: Field::Severity,
        values: spellings(lower, of_logs),
        value: 0..1,
        taken,
        is_cut: true,
    })
}

/// A level under the names that records have it by: log lines have those of this product, alerts
/// those of their rules.
pub(super) fn spellings(said: &str, of_logs: bool) -> Vec<String> {
    let others: &[&str] = match said {
        "warning" => &["warn"],
        "warn" => &["warning"],
        "err" => &["error"],
        "notice" => &["info"],
        "crit" => &["critical", "fatal"],
        "critical" if of_logs => &["fatal"],
        _ => &[],
    };
    [said].into_iter().chain(others.iter().copied()).map(str::to_owned).collect()
}

/// `open incidents`, `firing alerts`, `alerts are firing`.
pub(super) fn status(words: &[Word<'_>]) -> Option<Found> {
    let nouns = ["incident", "incidents", "alert", "alerts"];
    let (first, second) = (words.first()?, words.get(1)?);
    let (at, values) = if second.is(&nouns) && !first.closes {
        (0, states(&first.lower)?)
    } else if first.is(&nouns) {
        let skip = words[1..]
            .iter()
            .take_while(|word| word.is(&["are", "is", "still", "currently", "that", "were"]))
            .count();
        (1 + skip, (skip > 0).then(|| words.get(1 + skip).and_then(|word| states(&word.lower)))??)
    } else {
        return None;
    };
    // The noun is part of what is looked for.
    Some(Found { field: Field::Status, values, value: at..at + 1, taken: at + 1, is_cut: at == 0 })
}

pub(super) fn states(word: &str) -> Option<Vec<String>> {
    let states: &[&str] = match word {
        "open" => &["open"],
        "firing" => &["firing"],
        "mitigated" => &["mitigated"],
        "resolved" | "closed" => &["resolved"],
        "unresolved" | "active" | "ongoing" => &["open", "mitigated", "firing"],
        _ => return None,
    };
    Some(states.iter().map(|state| (*state).to_owned()).collect())
}
