//! An alert as it arrives, and the alert that is kept.

use std::collections::BTreeMap;

use atlas_domain::{Alert, AlertStatus, RecordId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::FeatureError;
use crate::ids;

/// Labels that name the service, best first. A namespace is a poor service, and better than none.
const SERVICE_LABELS: [&str; 8] = [
    "service",
    "service_name",
    "app",
    "app_kubernetes_io_name",
    "job",
    "deployment",
    "statefulset",
    "namespace",
];

/// Longest single label or annotation in bytes.
const VALUE_LIMIT: usize = 16 * 1024;

/// One alert of a delivery, in Alertmanager's terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncomingAlert {
    /// Identity of the label set; computed from the labels when left out.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// State.
    pub status: AlertStatus,
    /// Labels; `alertname` names the rule.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// When it began to fire.
    pub starts_at: Timestamp,
    /// When it ended. Alertmanager sends the year 1 for "not yet".
    #[serde(default)]
    pub ends_at: Option<Timestamp>,
    /// Link to the rule's expression.
    #[serde(default)]
    pub generator_url: Option<String>,
    /// Where it came from.
    #[serde(default)]
    pub source: Option<String>,
}

impl IncomingAlert {
    /// The id it is kept under: of its fingerprint and start, whatever else it says.
    pub fn id(&self) -> RecordId {
        alert_id(&self.identity(), self.starts_at)
    }

    fn identity(&self) -> String {
        let given = self.fingerprint.as_deref().map(str::trim).filter(|given| !given.is_empty());
        given.map_or_else(|| fingerprint_of(&self.labels), str::to_owned)
    }

    /// The alert to keep, as if nothing was known of it; `position` is for the error.
    pub(crate) fn read(self, position: usize) -> Result<Alert, FeatureError> {
        let fingerprint = self.identity();
        let Self { fingerprint: _, status, labels, annotations, starts_at, ends_at, generator_url, source } =
            self;
        let named = labels.get("alertname").or_else(|| annotations.get("title")).map(|name| name.trim());
        let Some(name) = named.filter(|name| !name.is_empty()).map(str::to_owned) else {
            return Err(FeatureError::invalid(
                format!("alerts[{position}].labels.alertname"),
                "it is missing",
                "every alert needs the alertname label; Prometheus sets it to the rule's name",
            ));
        };
        if let Some((key, _)) = labels.iter().chain(&annotations).find(|(_, value)| value.len() > VALUE_LIMIT)
        {
            return Err(FeatureError::invalid(
                format!("alerts[{position}].{key}"),
                format!("it is longer than {VALUE_LIMIT} bytes"),
                "send a shorter text, and the long one as a link",
            ));
        }
        let text = |names: &[&str]| {
            names.iter().find_map(|name| annotations.get(*name)).map(|text| text.trim().to_owned())
        };
        let ended = ends_at.filter(|end| status == AlertStatus::Resolved && *end >= starts_at);
        Ok(Alert {
            id: alert_id(&fingerprint, starts_at),
            fingerprint,
            name,
            status,
            severity: labels.get("severity").map(|severity| severity.trim().to_lowercase()),
            service: SERVICE_LABELS
                .iter()
                .find_map(|label| labels.get(*label))
                .filter(|name| !name.is_empty())
                .cloned(),
            source,
            summary: text(&["summary", "title", "message"]).unwrap_or_default(),
            description: text(&["description", "message"]).unwrap_or_default(),
            runbook_url: text(&["runbook_url", "runbook"]),
            generator_url: generator_url.filter(|url| !url.is_empty()),
            starts_at,
            ends_at: ended,
            deliveries: 1,
            group_id: None,
            labels,
            annotations,
        })
    }
}

/// The pair that makes a delivery a repetition.
fn alert_id(fingerprint: &str, starts_at: Timestamp) -> RecordId {
    ids::derived("alert-", &[fingerprint.as_bytes(), &starts_at.as_microsecond().to_le_bytes()])
}

/// From the labels in their order; the map keeps them sorted.
fn fingerprint_of(labels: &BTreeMap<String, String>) -> String {
    let parts: Vec<&[u8]> =
        labels.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect();
    ids::derived("", &parts).as_str()[..16].to_owned()
}

/// Takes the news of a repeated delivery into the alert that is kept. Returns whether anything
/// but the count of deliveries changed. The last delivery is right: Alertmanager may fire again
/// with the start it had before.
pub(super) fn absorb(kept: &mut Alert, news: Alert) -> bool {
    let next = Alert { deliveries: kept.deliveries, group_id: kept.group_id.clone(), ..news };
    let changed = next != *kept;
    *kept = next;
    kept.deliveries += 1;
    changed
}
