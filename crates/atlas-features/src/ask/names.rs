//! Names of services, hosts, sources and components.

use std::ops::Range;

use super::states;
use super::vocabulary::{Field, VALUE_WORDS, Vocabulary};
use super::words::Word;

/// A condition that begins at a word.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) field: Field,
    pub(super) values: Vec<String>,
    /// The words of the value.
    pub(super) value: Range<usize>,
    /// Words in all.
    pub(super) taken: usize,
    /// Whether the words say nothing else, so that the query does without them.
    pub(super) is_cut: bool,
}

const PREPOSITIONS: [&str; 9] = ["in", "for", "of", "on", "from", "by", "at", "with", "to"];
const ARTICLES: [&str; 4] = ["the", "our", "my", "an"];

/// Words that say what the name beside them is.
const CUES: [(&str, Field); 20] = [
    ("application", Field::Service),
    ("app", Field::Service),
    ("service", Field::Service),
    ("microservice", Field::Service),
    ("host", Field::Host),
    ("hostname", Field::Host),
    ("server", Field::Host),
    ("machine", Field::Host),
    ("node", Field::Host),
    ("vm", Field::Host),
    ("source", Field::Source),
    ("logfile", Field::Source),
    ("file", Field::Source),
    ("component", Field::Component),
    ("module", Field::Component),
    ("logger", Field::Component),
    ("severity", Field::Severity),
    ("level", Field::Severity),
    ("status", Field::Status),
    ("state", Field::Status),
];

/// Words behind a cue that are no name: `the service is down`.
const NO_NAMES: [&str; 44] = [
    "is",
    "are",
    "was",
    "were",
    "has",
    "have",
    "had",
    "that",
    "which",
    "who",
    "with",
    "and",
    "or",
    "not",
    "down",
    "up",
    "fails",
    "failed",
    "failing",
    "restart",
    "restarts",
    "restarted",
    "crash",
    "crashed",
    "errors",
    "error",
    "logs",
    "log",
    "in",
    "on",
    "for",
    "from",
    "of",
    "by",
    "at",
    "to",
    "the",
    "a",
    "code",
    "codes",
    "account",
    "mesh",
    "discovery",
    "ignoring",
];

/// What a name without a cue may be followed by, besides the end of its part of the sentence.
const AFTER_A_NAME: [&str; 59] = [
    "in",
    "on",
    "for",
    "from",
    "of",
    "by",
    "at",
    "with",
    "where",
    "when",
    "while",
    "which",
    "that",
    "who",
    "whose",
    "and",
    "or",
    "but",
    "as",
    "if",
    "so",
    "than",
    "though",
    "although",
    "because",
    "including",
    "excluding",
    "via",
    "using",
    "due",
    "since",
    "over",
    "during",
    "within",
    "between",
    "before",
    "after",
    "until",
    "around",
    "last",
    "yesterday",
    "today",
    "tonight",
    "grouped",
    "sorted",
    "ordered",
    "per",
    "is",
    "are",
    "was",
    "were",
    "has",
    "have",
    "had",
    "did",
    "does",
    "do",
    "will",
    "can",
];

/// Reads a condition that begins at the first of `words`, all of which are free: they
/// end where the sentence ends, or where something was taken.
pub(super) fn read(before: Option<&Word<'_>>, words: &[Word<'_>], known: &Vocabulary) -> Option<Found> {
    let first = words.first()?;
    if first.in_phrase {
        return None;
    }
    states::severity(before, words, known)
        .or_else(|| states::status(words))
        .or_else(|| cued(words, known))
        .or_else(|| before_its_cue(words, known))
        .or_else(|| logs_of(words, known))
        .or_else(|| spoken(before, words, known))
        .or_else(|| bare(words, known))
}

fn lead(words: &[Word<'_>]) -> usize {
    let preposition = usize::from(words.first().is_some_and(|word| word.is(&PREPOSITIONS)));
    preposition + words[preposition..].iter().take_while(|word| word.is(&ARTICLES)).count()
}

fn cue(word: &Word<'_>) -> Option<Field> {
    CUES.iter().find(|(cue, _)| word.is(&[cue])).map(|(_, field)| *field)
}

/// `[for] [the] application X`, `on [compute] node X`, `severity [is] X`.
fn cued(words: &[Word<'_>], known: &Vocabulary) -> Option<Found> {
    let lead = lead(words);
    let kind = usize::from(words.get(lead)?.is(&["compute", "connecting", "log", "logging", "worker"]));
    let at = lead + kind;
    let field = cue(words.get(at)?)?;
    if words[at].closes {
        return None;
    }
    let joint = usize::from(
        words.get(at + 1).is_some_and(|word| word.is(&["is", "of", "named", "called", "=", "name"])),
    );
    let start = at + 1 + joint;
    let word = words.get(start).filter(|word| !word.in_phrase)?;
    if matches!(field, Field::Severity | Field::Status) {
        let values = match field {
            Field::Severity if states::SEVERITIES.contains(&word.lower.as_str()) => {
                states::spellings(&word.lower, false)
            }
            Field::Status => states::states(&word.lower)?,
            _ => vec![known.of(field, &word.lower)?.to_owned()],
        };
        return Some(Found { field, values, value: start..start + 1, taken: start + 1, is_cut: true });
    }
    if let Some((value, n_words)) = longest(&words[start..], field, known) {
        return Some(Found {
            field,
            values: vec![value],
            value: start..start + n_words,
            taken: start + n_words,
            is_cut: true,
        });
    }
    // Of a plain word only a preposition makes a name: `for service checkout`, not `service restarts`.
    let plain = lead > 0
        && field != Field::Source
        && !NO_NAMES.contains(&word.lower.as_str())
        && word.text.chars().all(|c| c.is_alphanumeric() || c == '_');
    // `which file is blk_17819`: an id is no name, and a file is one by its ending.
    let is_id = field != Field::Host && has_long_number(word.text);
    let is_path = words[at].lower == "file" && !(word.text.contains('.') && joint == 0);
    if is_id || is_path {
        return None;
    }
    let is_host = field == Field::Host && word.text.contains('.') && !word.text.contains('/');
    if !(word.quoted || word.is_distinctive() || plain || is_host) {
        return None;
    }
    Some(Found {
        field,
        values: vec![word.text.to_owned()],
        value: start..start + 1,
        taken: start + 1,
        is_cut: true,
    })
}

/// `[from] the X application`, `in the checkout service`.
fn before_its_cue(words: &[Word<'_>], known: &Vocabulary) -> Option<Found> {
    let lead = lead(words);
    let (word, cue_word) = (words.get(lead)?, words.get(lead + 1)?);
    let field =
        cue(cue_word).filter(|field| matches!(field, Field::Service | Field::Host | Field::Component))?;
    if word.in_phrase || word.closes || (cue_word.lower == "file") {
        return None;
    }
    let in_words = known.of(field, &word.lower).map(str::to_owned);
    // `the PAM service` is plain English; with a preposition it is where somebody looks.
    let named = word.quoted || (word.is_distinctive() && lead > 0);
    let value = in_words.or_else(|| named.then(|| word.text.to_owned()))?;
    Some(Found { field, values: vec![value], value: lead..lead + 1, taken: lead + 2, is_cut: true })
}

/// `[in the] X logs`, with X a source or a service that is known, or a name.
fn logs_of(words: &[Word<'_>], known: &Vocabulary) -> Option<Found> {
    let lead = lead(words);
    let (word, noun) = (words.get(lead)?, words.get(lead + 1)?);
    if !noun.is(&["log", "logs", "logfile"]) || word.in_phrase || word.closes {
        return None;
    }
    let (field, value) = [Field::Source, Field::Service]
        .into_iter()
        .find_map(|field| known.of(field, &word.lower).map(|value| (field, value.to_owned())))
        .or_else(|| (word.is_distinctive() || word.quoted).then(|| (Field::Source, word.text.to_owned())))?;
    Some(Found { field, values: vec![value], value: lead..lead + 1, taken: lead + 2, is_cut: true })
}

/// A name of the vocabulary without a cue. A plain word needs a place in which it is a name:
/// `why is checkout slow`, `errors of checkout`, but not `how to checkout`.
fn spoken(before: Option<&Word<'_>>, words: &[Word<'_>], known: &Vocabulary) -> Option<Found> {
    const BEFORE: [&str; 16] = [
        "in", "for", "of", "on", "from", "by", "at", "is", "are", "was", "were", "did", "does", "has", "and",
        "or",
    ];
    let fields = [Field::Service, Field::Host, Field::Component, Field::Source];
    let (field, value, n_words) = fields
        .into_iter()
        .find_map(|field| longest(words, field, known).map(|(value, n_words)| (field, value, n_words)))?;
    let plain = n_words == 1 && !words[0].quoted && value.chars().all(char::is_alphabetic);
    let placed = before.is_some_and(|word| word.is(&BEFORE));
    if plain && (!placed || field == Field::Source) {
        return None;
    }
    Some(Found { field, values: vec![value], value: 0..n_words, taken: n_words, is_cut: false })
}

/// `for orders-eu`: a word that can only be a name, where a name would stand. With a vocabulary
/// of the field it would have been found there.
fn bare(words: &[Word<'_>], known: &Vocabulary) -> Option<Found> {
    let first = words.first()?;
    let word = words.get(1)?;
    let field = match first.lower.as_str() {
        "on" => Field::Host,
        "for" | "in" | "from" | "of" => Field::Service,
        _ => return None,
    };
    let text = word.text;
    let named = !word.in_phrase
        && word.is_distinctive()
        && text.contains('-')
        && !text.contains(['/', ':', '.', '$'])
        && !text.contains("--");
    if !named || known.knows(field) || has_long_number(text) {
        return None;
    }
    let ends = word.closes
        || match words.get(2) {
            Some(next) => next.is(&AFTER_A_NAME) || next.text.starts_with('('),
            // What follows is the end, or a time.
            None => true,
        };
    ends.then(|| Found { field, values: vec![text.to_owned()], value: 1..2, taken: 2, is_cut: true })
}

/// Ids of something, and no names of services: `blk_-445566`, UUIDs.
fn has_long_number(text: &str) -> bool {
    let longest = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    longest >= 5 || super::terms::is_uuid(text)
}

/// The longest value of a field that begins here.
fn longest(words: &[Word<'_>], field: Field, known: &Vocabulary) -> Option<(String, usize)> {
    if !known.knows(field) {
        return None;
    }
    (1..=VALUE_WORDS.min(words.len())).rev().find_map(|count| {
        let name = words[..count].iter().map(|word| word.lower.as_str()).collect::<Vec<_>>().join(" ");
        known.of(field, &name).map(|value| (value.to_owned(), count))
    })
}
