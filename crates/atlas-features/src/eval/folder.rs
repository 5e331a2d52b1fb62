//! A folder of labelled incidents: `alerts.jsonl` (`alert_id`, `incident`, `alertname`, `entity`,
//! `description`) and `incidents.jsonl` (`_id`, `propagations`: `source`, `target`), the layout
//! into which ITBench scenarios are converted.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::alerts::correlation::normalised;
use crate::error::FeatureError;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct LabelledAlert {
    pub(super) incident: String,
    pub(super) alertname: String,
    #[serde(default)]
    pub(super) entity: Option<String>,
    #[serde(default)]
    pub(super) description: String,
}

impl LabelledAlert {
    pub(super) fn normalised_entity(&self) -> Option<String> {
        self.entity.as_deref().map(normalised).filter(|name| !name.is_empty())
    }
}

#[derive(Debug, Clone, Deserialize)]
struct IncidentLine {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    propagations: Option<Vec<Propagation>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Propagation {
    source: String,
    target: String,
}

/// One past incident.
#[derive(Debug, Clone)]
pub(super) struct LabelledIncident {
    pub(super) id: String,
    pub(super) alerts: Vec<LabelledAlert>,
    /// Cause and effect, names normalised, no edge from an entity to itself.
    pub(super) edges: Vec<(String, String)>,
}

/// A rule of a published collection, for noise.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Rule {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
}

/// The incidents of a folder, also those without alerts: their propagations belong to the graph.
pub(super) fn read(dir: &Path) -> Result<Vec<LabelledIncident>, FeatureError> {
    let mut alerts: HashMap<String, Vec<LabelledAlert>> = HashMap::new();
    for alert in lines::<LabelledAlert>(&dir.join("alerts.jsonl"))? {
        alerts.entry(alert.incident.clone()).or_default().push(alert);
    }
    let incidents = lines::<IncidentLine>(&dir.join("incidents.jsonl"))?.into_iter().map(|line| {
        let edges = line.propagations.into_iter().flatten();
        let edges = edges.map(|edge| (normalised(&edge.source), normalised(&edge.target)));
        LabelledIncident {
            alerts: alerts.remove(&line.id).unwrap_or_default(),
            edges: edges.filter(|(cause, effect)| cause != effect).collect(),
            id: line.id,
        }
    });
    Ok(incidents.collect())
}

pub(super) fn rules(file: &Path) -> Result<Vec<Rule>, FeatureError> {
    lines(file)
}

pub(super) fn lines<T: DeserializeOwned>(file: &Path) -> Result<Vec<T>, FeatureError> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|error| {
        FeatureError::invalid(shown.clone(), error.to_string(), "see --help for the layout")
    })?;
    let parsed =
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                FeatureError::invalid(
                    format!("{shown}:{}", number + 1),
                    error.to_string(),
                    "see --help for the layout",
                )
            })
        });
    parsed.collect()
}

impl LabelledIncident {
    /// Edges from what nothing in the incident affects, by entity. In a chain without a beginning
    /// everything begins.
    pub(super) fn depths(&self) -> HashMap<&str, u32> {
        let nodes: BTreeSet<&str> =
            self.edges.iter().flat_map(|(cause, effect)| [cause.as_str(), effect.as_str()]).collect();
        let affected: BTreeSet<&str> = self.edges.iter().map(|(_, effect)| effect.as_str()).collect();
        let mut first: Vec<&str> = nodes.difference(&affected).copied().collect();
        if first.is_empty() {
            first = nodes.into_iter().collect();
        }
        let mut depths: HashMap<&str, u32> = first.iter().map(|node| (*node, 0)).collect();
        let mut queue = VecDeque::from(first);
        while let Some(node) = queue.pop_front() {
            let next = depths[node] + 1;
            for (_, effect) in self.edges.iter().filter(|(cause, _)| cause == node) {
                if !depths.contains_key(effect.as_str()) {
                    depths.insert(effect, next);
                    queue.push_back(effect);
                }
            }
        }
        depths
    }
}
