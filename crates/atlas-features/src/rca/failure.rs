//! Whether a text tells of a failure, by its words.

use std::collections::BTreeSet;

/// A text this strong names what is wrong, and not only that something is.
pub(super) const PLAIN: usize = 2;

/// Words for what is wrong; a text that holds one counts two.
const MECHANISMS: [&str; 40] = [
    "backoff",
    "cannot connect",
    "certificate",
    "connection refused",
    "crashloop",
    "deadlock",
    "denied",
    "does not exist",
    "doesn't match",
    "evicted",
    "exceeded",
    "exhausted",
    "expired",
    "failedmount",
    "failedscheduling",
    "forbidden",
    "imagepull",
    "insufficient",
    "invalid",
    "killed",
    "mismatch",
    "missing",
    "network policy",
    "no free",
    "no space",
    "no such",
    "not found",
    "oomkilled",
    "out of memory",
    "panic",
    "partition",
    "refused",
    "syntax error",
    "throttl",
    "timed out",
    "timeout",
    "unable to",
    "unavailable",
    "undefined",
    "unschedulable",
];

/// Words for that something is; they count one.
const SYMPTOMS: [&str; 10] = [
    "critical",
    "error",
    "errno",
    "exception",
    "fail",
    "fatal",
    "restarting",
    "slow",
    "unhealthy",
    "warning",
];

/// How plainly: 0 not at all, up to 3.
pub(super) fn strength(text: &str) -> usize {
    let text = text.to_lowercase();
    let names = |words: &[&str]| words.iter().any(|word| text.contains(word));
    2 * usize::from(names(&MECHANISMS)) + usize::from(names(&SYMPTOMS))
}

/// Words of four letters or more, lower case.
pub(super) fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().count() >= 4 && word.chars().any(char::is_alphabetic))
        .map(str::to_lowercase)
        .collect()
}
