//! One filter for lists and both search legs, so that they cannot disagree.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::record::Facets;

/// Conditions on [`Facets`]; all that are set must hold. The empty filter matches everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Not before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// One of these services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service: Vec<String>,
    /// One of these severities.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub severity: Vec<String>,
    /// One of these sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<String>,
    /// One of these states.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// Belongs to one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub link: Vec<String>,
    /// Every one of these labels has this value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Filter {
    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The definition of matching; every leg and store agrees with it.
    pub fn matches(&self, facets: &Facets) -> bool {
        let one_of = |wanted: &[String], value: &Option<String>| {
            wanted.is_empty() || value.as_ref().is_some_and(|value| wanted.contains(value))
        };
        self.since.is_none_or(|since| facets.at >= since)
            && self.until.is_none_or(|until| facets.at < until)
            && one_of(&self.service, &facets.service)
            && one_of(&self.severity, &facets.severity)
            && one_of(&self.source, &facets.source)
            && one_of(&self.status, &facets.status)
            && one_of(&self.link, &facets.link)
            && self.labels.iter().all(|(name, value)| facets.labels.get(name) == Some(value))
    }
}
