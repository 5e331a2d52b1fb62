//! Alerts and their groups.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Noun;
use crate::record::{Corpus, Facets, RecordId};

/// The state of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// The condition holds.
    Firing,
    /// The condition ended.
    Resolved,
}

impl AlertStatus {
    /// The name in JSON and filters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One alert: one (fingerprint, start) pair, however often it was delivered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Derived from fingerprint and start, so that a repeated delivery is the same alert.
    pub id: RecordId,
    /// Identity of the label set.
    pub fingerprint: String,
    /// The rule's name.
    pub name: String,
    /// State.
    pub status: AlertStatus,
    /// `severity` label, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// The service, from the usual labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `summary` annotation.
    #[serde(default)]
    pub summary: String,
    /// `description` annotation.
    #[serde(default)]
    pub description: String,
    /// `runbook_url` annotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook_url: Option<String>,
    /// Link to the rule's expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_url: Option<String>,
    /// When it began to fire.
    pub starts_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// How often it was delivered.
    #[serde(default = "one")]
    pub deliveries: u64,
    /// The group it was put into on arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<RecordId>,
    /// All labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// All annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

fn one() -> u64 {
    1
}

impl Alert {
    /// What similarity compares: the words a person reads, without identifiers of one occurrence.
    pub fn wording(&self) -> String {
        let mut wording = split_camel_case(&self.name);
        for part in [&self.summary, &self.description] {
            if !part.is_empty() {
                wording.push_str(". ");
                wording.push_str(part);
            }
        }
        wording
    }
}

/// `KubePodCrashLooping` reads `Kube Pod Crash Looping`: a sentence model knows the words, not
/// the compound.
fn split_camel_case(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 8);
    let mut previous_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && previous_lower {
            words.push(' ');
        }
        previous_lower = c.is_lowercase() || c.is_ascii_digit();
        words.push(c);
    }
    words
}

/// Alerts that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertGroup {
    /// Name.
    pub id: RecordId,
    /// One line: the first alert's summary, and how many more.
    pub title: String,
    /// The highest severity among the alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// The first alert's service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// First alert's start.
    pub first_at: Timestamp,
    /// Last alert's start.
    pub last_at: Timestamp,
    /// Whether any alert still fires.
    pub firing: bool,
    /// The alerts, in order of arrival, each with why it joined.
    pub members: Vec<GroupMember>,
}

/// One alert of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupMember {
    /// Which alert.
    pub alert_id: RecordId,
    /// `first`, `fingerprint`, `similar`; without vectors `name` or `words`.
    pub reason: String,
    /// Cosine to the most similar member, when that was the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f32>,
}

impl Noun for Alert {
    const CORPUS: Corpus = Corpus::Alerts;

    fn id(&self) -> &RecordId {
        &self.id
    }

    fn title(&self) -> String {
        if self.summary.is_empty() { self.name.clone() } else { format!("{}: {}", self.name, self.summary) }
    }

    fn facets(&self) -> Facets {
        Facets {
            service: self.service.clone(),
            severity: self.severity.clone(),
            source: self.source.clone(),
            status: Some(self.status.as_str().into()),
            link: Some(self.fingerprint.clone()),
            labels: self.labels.clone(),
            ..Facets::at(self.starts_at)
        }
    }

    fn meaning(&self) -> String {
        self.wording()
    }

    fn text(&self) -> String {
        let mut text = self.wording();
        for (name, value) in &self.labels {
            text.push_str(&format!("\n{name}={value}"));
        }
        text
    }
}

impl Noun for AlertGroup {
    const CORPUS: Corpus = Corpus::AlertGroups;

    fn id(&self) -> &RecordId {
        &self.id
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    fn facets(&self) -> Facets {
        Facets {
            service: self.service.clone(),
            severity: self.severity.clone(),
            status: Some(if self.firing { "firing" } else { "resolved" }.into()),
            ..Facets::at(self.last_at)
        }
    }

    fn text(&self) -> String {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compound_alert_names_read_as_words() {
        assert_eq!(split_camel_case("KubePodCrashLooping"), "Kube Pod Crash Looping");
        assert_eq!(split_camel_case("HTTPErrors5xx"), "HTTPErrors5xx");
        assert_eq!(split_camel_case("etcdNoLeader"), "etcd No Leader");
    }
}
