//! Alertmanager's webhook, version 4, and Grafana's superset of it.

use std::collections::BTreeMap;

use atlas_domain::{AlertStatus, Timestamp};
use atlas_features::IncomingAlert;
use serde::Deserialize;

use super::invalid;
use crate::extract;
use crate::problem::Problem;

#[derive(Deserialize)]
struct Webhook {
    version: Option<String>,
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Alert {
    status: AlertStatus,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    starts_at: Timestamp,
    #[serde(default)]
    ends_at: Option<Timestamp>,
    #[serde(default, rename = "generatorURL")]
    generator_url: Option<String>,
    #[serde(default)]
    fingerprint: Option<String>,
}

/// The alerts of a delivery. The delivery's own group and receiver are not kept: alerts are
/// grouped here by what they say.
pub(crate) fn read(text: &str) -> Result<Vec<IncomingAlert>, Problem> {
    let webhook: Webhook = extract::parse(text)?;
    // Grafana writes "1" into its own payload, whose alerts have the same fields.
    match webhook.version.as_deref() {
        Some("4" | "1") => {}
        Some(other) => {
            return Err(invalid("version", format!("is {other:?}"))
                .hint("this server reads version 4, which Alertmanager sends since 0.12"));
        }
        None => return Err(invalid("version", "is missing").hint("send \"version\": \"4\"")),
    }
    let named = |alert: &Alert| {
        let name = alert.labels.get("alertname").or_else(|| alert.annotations.get("title"));
        name.is_some_and(|name| !name.trim().is_empty())
    };
    if let Some(position) = webhook.alerts.iter().position(|alert| !named(alert)) {
        let problem = invalid(format!("alerts[{position}].labels.alertname"), "is missing");
        return Err(
            problem.hint("every alert needs the alertname label; Prometheus sets it to the rule's name")
        );
    }
    Ok(webhook.alerts.into_iter().map(into_incoming).collect())
}

fn into_incoming(alert: Alert) -> IncomingAlert {
    let Alert { status, labels, annotations, starts_at, ends_at, generator_url, fingerprint } = alert;
    IncomingAlert {
        fingerprint,
        status,
        labels,
        annotations,
        starts_at,
        ends_at,
        generator_url,
        source: Some("alertmanager".into()),
    }
}
