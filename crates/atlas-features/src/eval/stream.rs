//! Simulated streams: a few incidents whose alerts overlap in time, and noise.

use std::collections::BTreeMap;

use atlas_domain::{Alert, AlertStatus, Timestamp};

use super::folder::{LabelledAlert, LabelledIncident, Rule};
use super::random::Random;
use crate::alerts::IncomingAlert;
use crate::error::FeatureError;

/// Begin of every stream, 2026-02-02.
const BEGIN: i64 = 1_770_000_000_000_000;

/// An alert of a stream, and what only the judge may see.
pub(super) struct Fired {
    pub(super) alert: Alert,
    /// Number of the incident in the stream; each noise alert is one of its own.
    pub(super) truth: usize,
}

/// What streams are drawn from.
pub(super) struct Source<'a> {
    pub(super) incidents: Vec<&'a LabelledIncident>,
    pub(super) entities: Vec<String>,
    pub(super) rules: Vec<Rule>,
    /// Mean seconds between the starts of incidents.
    pub(super) gap: f64,
    /// Share of noise among all alerts.
    pub(super) noise: f64,
}

impl Source<'_> {
    /// Two to four incidents. An alert fires 45 s times the depth of its entity after its
    /// incident began, plus 0 to 30 s; outside the chain, plus 0 to 135 s. In order of time.
    pub(super) fn draw(&self, random: &mut Random) -> Result<Vec<Fired>, FeatureError> {
        let count = 2 + random.below(3);
        let mut begin = 0.0;
        let mut drawn: Vec<(f64, LabelledAlert, usize)> = Vec::new();
        for (truth, incident) in random.sample(&self.incidents, count).into_iter().enumerate() {
            if truth > 0 {
                begin += random.exponential(self.gap);
            }
            let depths = incident.depths();
            for alert in &incident.alerts {
                let depth = alert.normalised_entity().and_then(|entity| depths.get(entity.as_str()));
                let after = match depth {
                    Some(depth) => 45.0 * f64::from(*depth),
                    None => random.uniform(0.0, 135.0),
                };
                drawn.push((begin + after + random.uniform(0.0, 30.0), alert.clone(), truth));
            }
        }
        let times = drawn.iter().map(|(at, ..)| *at);
        let (first, last) = (times.clone().fold(f64::MAX, f64::min), times.fold(0.0, f64::max));
        let noise = (drawn.len() as f64 * self.noise / (1.0 - self.noise)).round() as usize;
        for number in 0..noise {
            let rule = &self.rules[random.below(self.rules.len())];
            let alert = LabelledAlert {
                incident: String::new(),
                alertname: rule.name.clone(),
                entity: Some(self.entities[random.below(self.entities.len())].clone()),
                description: rule.description.clone(),
            };
            drawn.push((random.uniform(first, last), alert, count + number));
        }
        drawn.sort_by(|a, b| a.0.total_cmp(&b.0));
        let fired = drawn.into_iter().enumerate().map(|(position, (at, alert, truth))| {
            Ok(Fired { alert: as_received(at, alert, position)?, truth })
        });
        fired.collect()
    }
}

/// The alert as Alertmanager would deliver it: name, entity and text, nothing of the incident.
fn as_received(at: f64, alert: LabelledAlert, position: usize) -> Result<Alert, FeatureError> {
    let mut labels = BTreeMap::from([("alertname".to_owned(), alert.alertname)]);
    labels.extend(alert.entity.map(|entity| ("service".to_owned(), entity)));
    let starts_at = Timestamp::from_microsecond(BEGIN + (at * 1e6) as i64).unwrap_or(Timestamp::MAX);
    let incoming = IncomingAlert {
        fingerprint: None,
        status: AlertStatus::Firing,
        labels,
        annotations: BTreeMap::from([("description".to_owned(), alert.description)]),
        starts_at,
        ends_at: None,
        generator_url: None,
        source: None,
    };
    incoming.read(position)
}
