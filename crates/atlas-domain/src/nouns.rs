//! What the tenant plane keeps.
//!
//! These types are the JSON bodies of records and of the API. A field that an importer may leave
//! out is optional; one that the product needs is not. Unknown fields are refused at the edge,
//! where the error can name them, not here, where an older server reads a newer body.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::record::{Corpus, Facets, Record, RecordDraft, RecordId, RecordKey};

/// Something a record's body holds.
pub trait Noun: Serialize + DeserializeOwned {
    /// Where it is kept.
    const CORPUS: Corpus;

    /// Its name in the corpus.
    fn id(&self) -> &RecordId;

    /// One line for people.
    fn title(&self) -> String;

    /// What it is filtered by.
    fn facets(&self) -> Facets;

    /// What is searched besides the title. Empty: not searched.
    fn text(&self) -> String;

    /// What a sentence model compares: the text, without identifiers of one occurrence.
    fn meaning(&self) -> String {
        self.text()
    }

    /// The record that keeps it.
    fn draft(&self) -> RecordDraft {
        RecordDraft {
            key: RecordKey::new(Self::CORPUS, self.id().clone()),
            title: self.title(),
            facets: self.facets(),
            text: self.text(),
            body: serde_json::to_value(self).expect("nouns have string keys only"),
        }
    }

    /// The noun that a record keeps.
    fn from_record(record: &Record) -> Result<Self, serde_json::Error> {
        Self::deserialize(&record.body)
    }
}

/// Operating instructions: CommonMark, headings are the citation anchors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runbook {
    /// Name, for an import the path below the imported folder.
    pub id: RecordId,
    /// From the front matter or the first heading.
    pub title: String,
    /// The CommonMark text without front matter.
    pub markdown: String,
    /// The service it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where people read the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Labels from the front matter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Last change.
    pub updated_at: Timestamp,
}

/// The state of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentStatus {
    /// Somebody is needed.
    Open,
    /// The impact is gone, the cause may not be.
    Mitigated,
    /// Over.
    Resolved,
}

impl IncidentStatus {
    /// The name in JSON and filters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Mitigated => "mitigated",
            Self::Resolved => "resolved",
        }
    }
}

/// An incident, open or past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Name.
    pub id: RecordId,
    /// One line.
    pub title: String,
    /// What is or was wrong.
    #[serde(default)]
    pub description: String,
    /// State.
    pub status: IncidentStatus,
    /// For example `critical`, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// The service most affected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Begin of the impact.
    pub started_at: Timestamp,
    /// End, when over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Timestamp>,
    /// What the cause turned out to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_cause: Option<String>,
    /// What fixed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// Alerts that belong to it, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alert_ids: Vec<RecordId>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

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
    /// `first`, `fingerprint` or `similar`.
    pub reason: String,
    /// Cosine to the most similar member, when that was the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f32>,
}

/// One log line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Derived from time, origin and text, so that a resent batch is the same lines.
    pub id: RecordId,
    /// When the line was written.
    pub at: Timestamp,
    /// The line.
    pub message: String,
    /// Level, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The service that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// File, stream or sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The template of the line.
    pub template_id: RecordId,
    /// Further attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// The masked shape that many log lines share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogTemplate {
    /// Derived from the shape.
    pub id: RecordId,
    /// The shape, variable parts as `<num>`, `<ip>` and so on.
    pub shape: String,
    /// One line as it was.
    pub exemplar: String,
    /// Lines seen.
    pub count: u64,
    /// First line.
    pub first_at: Timestamp,
    /// Last line.
    pub last_at: Timestamp,
    /// The service that wrote it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The highest level seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
}

impl Noun for Runbook {
    const CORPUS: Corpus = Corpus::Runbooks;

    fn id(&self) -> &RecordId {
        &self.id
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    fn facets(&self) -> Facets {
        Facets {
            service: self.service.clone(),
            source: self.source.clone(),
            labels: self.labels.clone(),
            ..Facets::at(self.updated_at)
        }
    }

    fn text(&self) -> String {
        self.markdown.clone()
    }
}

impl Noun for Incident {
    const CORPUS: Corpus = Corpus::Incidents;

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
            source: self.source.clone(),
            status: Some(self.status.as_str().into()),
            labels: self.labels.clone(),
            ..Facets::at(self.started_at)
        }
    }

    fn text(&self) -> String {
        let mut text = self.description.clone();
        for (heading, part) in [("Root cause", &self.root_cause), ("Resolution", &self.resolution)] {
            if let Some(part) = part {
                text.push_str(&format!("\n\n## {heading}\n\n{part}"));
            }
        }
        text
    }
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

impl Noun for LogRecord {
    const CORPUS: Corpus = Corpus::Logs;

    fn id(&self) -> &RecordId {
        &self.id
    }

    fn title(&self) -> String {
        String::new()
    }

    fn facets(&self) -> Facets {
        Facets {
            service: self.service.clone(),
            severity: self.level.clone(),
            source: self.source.clone(),
            link: Some(self.template_id.as_str().to_owned()),
            labels: self.attributes.clone(),
            ..Facets::at(self.at)
        }
    }

    fn text(&self) -> String {
        self.message.clone()
    }
}

impl Noun for LogTemplate {
    const CORPUS: Corpus = Corpus::LogTemplates;

    fn id(&self) -> &RecordId {
        &self.id
    }

    fn title(&self) -> String {
        self.shape.clone()
    }

    fn facets(&self) -> Facets {
        Facets { service: self.service.clone(), severity: self.level.clone(), ..Facets::at(self.last_at) }
    }

    /// The shape with its placeholders as words: `block <num>` reads `block num`.
    fn meaning(&self) -> String {
        self.shape.replace(['<', '>'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn text(&self) -> String {
        self.exemplar.clone()
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
