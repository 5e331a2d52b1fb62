//! Incidents.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Noun;
use crate::record::{Corpus, Facets, RecordId};

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
