//! Records: the one shape in which the store keeps every noun.
//!
//! A record is a noun's JSON body beside the few columns by which anything is listed, filtered
//! and searched. One shape means one set of store functions, one change log and one index path
//! for runbooks, incidents, alerts, logs and what is derived from them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The kinds of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Corpus {
    /// Operating instructions in Markdown.
    Runbooks,
    /// Incidents, open and past.
    Incidents,
    /// Alerts as they arrived.
    Alerts,
    /// Log lines.
    Logs,
    /// Masked shapes of log lines; what semantic log search compares with.
    LogTemplates,
    /// Alerts that were grouped on arrival.
    AlertGroups,
}

impl Corpus {
    /// Every corpus.
    pub const ALL: [Self; 6] =
        [Self::Runbooks, Self::Incidents, Self::Alerts, Self::Logs, Self::LogTemplates, Self::AlertGroups];

    /// What people search. Templates are reached through the lines they stand for.
    pub const SEARCHABLE: [Self; 4] = [Self::Runbooks, Self::Incidents, Self::Alerts, Self::Logs];

    /// The name used in paths, settings and the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runbooks => "runbooks",
            Self::Incidents => "incidents",
            Self::Alerts => "alerts",
            Self::Logs => "logs",
            Self::LogTemplates => "log_templates",
            Self::AlertGroups => "alert_groups",
        }
    }

    /// The number under which the store keeps it. Never reused.
    pub fn code(self) -> u8 {
        match self {
            Self::Runbooks => 1,
            Self::Incidents => 2,
            Self::Alerts => 3,
            Self::Logs => 4,
            Self::LogTemplates => 5,
            Self::AlertGroups => 6,
        }
    }

    /// The corpus of a code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|corpus| corpus.code() == code)
    }

    /// The corpus of a name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|corpus| corpus.as_str() == name)
    }
}

impl fmt::Display for Corpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record's name inside its corpus: 1 to 512 bytes, no control characters.
///
/// Ids order as people count: `line-2` before `line-10`. Equal scores are listed in this order,
/// so that of a thousand equal lines the first ones come first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordId(String);

/// Why a text is no record id.
#[derive(Debug, Clone, thiserror::Error)]
#[error("an id has 1 to 512 bytes and no control characters")]
pub struct InvalidId;

impl RecordId {
    /// Checks and wraps an id.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidId> {
        let id = id.into();
        if id.is_empty() || id.len() > 512 || id.chars().any(char::is_control) {
            Err(InvalidId)
        } else {
            Ok(Self(id))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialOrd for RecordId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RecordId {
    fn cmp(&self, other: &Self) -> Ordering {
        natural_order(self.0.as_bytes(), other.0.as_bytes()).then_with(|| self.0.cmp(&other.0))
    }
}

/// Compares runs of digits by value and everything else by byte. `01` and `1` are equal here.
fn natural_order(mut a: &[u8], mut b: &[u8]) -> Ordering {
    loop {
        let (Some(&first_a), Some(&first_b)) = (a.first(), b.first()) else { return a.len().cmp(&b.len()) };
        if first_a.is_ascii_digit() && first_b.is_ascii_digit() {
            let (number_a, rest_a) = split_number(a);
            let (number_b, rest_b) = split_number(b);
            // Without leading zeros the longer number is the larger one.
            let order = number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (rest_a, rest_b);
        } else {
            if first_a != first_b {
                return first_a.cmp(&first_b);
            }
            (a, b) = (&a[1..], &b[1..]);
        }
    }
}

fn split_number(text: &[u8]) -> (&[u8], &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let zeros = text[..digits].iter().take_while(|byte| **byte == b'0').count();
    (&text[zeros..digits], &text[digits..])
}

impl TryFrom<String> for RecordId {
    type Error = InvalidId;

    fn try_from(id: String) -> Result<Self, InvalidId> {
        Self::new(id)
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> Self {
        id.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The full name of a record inside a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordKey {
    /// Which corpus.
    pub corpus: Corpus,
    /// Which record.
    pub id: RecordId,
}

impl RecordKey {
    /// A key from its parts.
    pub fn new(corpus: Corpus, id: RecordId) -> Self {
        Self { corpus, id }
    }
}

/// A position in a tenant's change log. Every change of a record takes the next number.
pub type Seq = u64;

/// The columns by which records are filtered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facets {
    /// When it happened: start of an alert or incident, time of a log line, last change of a
    /// runbook. Kept to the microsecond.
    pub at: Timestamp,
    /// The service it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Severity or log level, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Where it came from (alertmanager, a log file, an import).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Life-cycle state (`firing`, `open`, `resolved`, ...).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What it belongs to: an alert's group, a log line's template, an alert's fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Further labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Facets {
    /// Facets with a time and nothing else.
    pub fn at(at: Timestamp) -> Self {
        Self {
            at,
            service: None,
            severity: None,
            source: None,
            status: None,
            link: None,
            labels: BTreeMap::new(),
        }
    }
}

/// A record on its way into the store.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordDraft {
    /// Its name.
    pub key: RecordKey,
    /// One line for people.
    pub title: String,
    /// What it can be filtered by.
    pub facets: Facets,
    /// What the lexical leg indexes besides the title; empty when the record is not searched.
    pub text: String,
    /// The noun as JSON.
    pub body: serde_json::Value,
}

/// A record as the store returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its name.
    pub key: RecordKey,
    /// One line for people.
    pub title: String,
    /// What it can be filtered by.
    pub facets: Facets,
    /// What the lexical leg indexes besides the title.
    pub text: String,
    /// The noun as JSON.
    pub body: serde_json::Value,
    /// The change that wrote this version.
    pub seq: Seq,
    /// When the first version was written.
    pub created: Timestamp,
    /// When this version was written.
    pub updated: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> RecordId {
        RecordId::new(text).expect("a good id")
    }

    #[test]
    fn ids_order_as_people_count() {
        let in_order = ["a", "a-01", "a-1", "a-2", "a-10", "a-10-9", "a-10-10", "b", "b0", "b00", "ä"];
        let mut ids: Vec<RecordId> = in_order.iter().rev().map(|text| id(text)).collect();
        ids.sort();
        assert_eq!(ids.iter().map(RecordId::as_str).collect::<Vec<_>>(), in_order);
        assert!(id("line-2") < id("line-10"));
        assert!(id("x99999999999999999999998") < id("x99999999999999999999999"));
        assert!(id("a") < id("a1") && id("a1") < id("ab"));
        assert_ne!(id("01"), id("1"));
    }

    #[test]
    fn an_id_is_short_and_printable() {
        assert!(RecordId::new("").is_err());
        assert!(RecordId::new("a\nb").is_err());
        assert!(RecordId::new("x".repeat(513)).is_err());
        assert!(RecordId::new("folder/File name.md").is_ok());
    }
}
