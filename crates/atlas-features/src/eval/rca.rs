//! The ranking of causes, judged on labelled incidents.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::folder;
use crate::alerts::correlation::{Topology, normalised};
use crate::error::FeatureError;
use crate::rca::ranking::{Alerting, rank};

/// What the ranking measured. `top1` and `top3` judge the ranking of every case, clear or not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RcaReport {
    /// Share of the cases in which the first is a true cause.
    pub top1: f64,
    /// Share in which one of the first three is.
    pub top3: f64,
    /// Share in which the first does not lead clearly.
    pub inconclusive: f64,
    /// Incidents with at least two alerting entities and a chain to judge by.
    pub cases: usize,
}

/// Ranks the entities of each incident by the service graph of the other incidents. The true
/// causes are the alerting entities of least depth in the incident's own chain.
pub fn evaluate_rca(dir: &Path) -> Result<RcaReport, FeatureError> {
    let incidents = folder::read(dir)?;
    let (mut first, mut in_three, mut inconclusive, mut cases) = (0, 0, 0, 0);
    for incident in &incidents {
        let depths = incident.depths();
        let entities: BTreeSet<String> =
            incident.alerts.iter().filter_map(|alert| alert.normalised_entity()).collect();
        let depth = |entity: &str| depths.get(entity).copied();
        let Some(least) = entities.iter().filter_map(|entity| depth(entity)).min() else { continue };
        if entities.len() < 2 {
            continue;
        }
        let others = incidents.iter().filter(|other| other.id != incident.id);
        let edges = others.flat_map(|other| &other.edges);
        let graph = Topology::from_edges(edges.map(|(cause, effect)| (cause.as_str(), effect.as_str())));
        let alerts: Vec<Alerting<'_>> = incident
            .alerts
            .iter()
            .filter_map(|alert| {
                Some(Alerting {
                    entity: alert.entity.as_deref()?,
                    rule: &alert.alertname,
                    text: &alert.description,
                })
            })
            .collect();
        let ranking = rank(&alerts, &graph);
        let is_true = |name: &str| depth(&normalised(name)) == Some(least);
        cases += 1;
        first += usize::from(ranking.causes.first().is_some_and(|cause| is_true(&cause.entity)));
        in_three += usize::from(ranking.causes.iter().take(3).any(|cause| is_true(&cause.entity)));
        inconclusive += usize::from(!ranking.is_clear);
    }
    let share = |count: usize| count as f64 / cases.max(1) as f64;
    Ok(RcaReport { top1: share(first), top3: share(in_three), inconclusive: share(inconclusive), cases })
}
