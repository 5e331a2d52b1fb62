//! The demo data: a small shop with one open incident, so that a first look finds something.
//!
//! The files are part of the binary; `demo/README.md` describes them. Times are relative to the
//! moment of loading.

use std::collections::{BTreeMap, HashMap};

use atlas_domain::{AlertStatus, RecordId, Runbook, TenantScope, Timestamp};
use atlas_features::{FeatureError, IncidentDraft, IncomingAlert, LogLine, from_markdown};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app::App;
use crate::auth::operator_scope;
use crate::tenant_header::DEFAULT_TENANT;

macro_rules! runbooks {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../demo/runbooks/", $name, ".md")))),*]
    };
}

const RUNBOOKS: &[(&str, &str)] = runbooks![
    "checkout-db-pool-exhausted",
    "container-oom",
    "disk-filling",
    "high-error-rate",
    "high-latency",
    "payments-provider-timeouts",
    "pod-crash-looping",
    "postgres-connections",
    "postgres-replication-lag",
    "queue-backlog",
    "redis-memory",
    "tls-certificate-expiry",
];
const ALERTS: &str = include_str!("../demo/alerts.jsonl");
const INCIDENTS: &str = include_str!("../demo/incidents.jsonl");
const LOGS: &str = include_str!("../demo/logs.jsonl");

/// Why the demo data was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file of the demo is not of its format: a defect of this build.
    #[error("the demo file {file} is damaged in line {line}: {reason}")]
    File {
        /// Which file.
        file: &'static str,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It could not be written.
    #[error(transparent)]
    Feature(#[from] FeatureError),
}

/// Loads the demo data into the tenant `default`, once: a second time changes nothing.
pub async fn load(app: &App) -> Result<(), DemoError> {
    let scope = operator_scope(DEFAULT_TENANT.parse().expect("a constant that is a tenant id"));
    let now = Timestamp::now();
    let incidents: Vec<DemoIncident> = lines("incidents.jsonl", INCIDENTS)?;
    // Incidents are written last, so the last of them stands for all.
    if let Some(last) = incidents.last().and_then(|incident| incident.rest.get("id")).and_then(Value::as_str)
        && let Ok(id) = RecordId::new(last)
        && app.features.incidents().get(&scope, &id).await.is_ok()
    {
        return Ok(());
    }
    app.features.runbooks().import(&scope, runbooks()?).await?;
    let alert_ids = load_alerts(app, &scope, now).await?;
    let logs: Vec<DemoLine> = lines("logs.jsonl", LOGS)?;
    app.features.logs().ingest(&scope, logs.into_iter().map(|line| line.at(now)).collect()).await?;
    let drafts = incidents
        .into_iter()
        .enumerate()
        .map(|(index, incident)| {
            incident.draft(now, &alert_ids).map_err(|reason| DemoError::File {
                file: "incidents.jsonl",
                line: index + 1,
                reason,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    app.features.incidents().import(&scope, drafts).await?;
    // Whoever asked for the demo searches next.
    app.retrieval.settled(&scope).await.map_err(FeatureError::from)?;
    Ok(())
}

fn runbooks() -> Result<Vec<Runbook>, DemoError> {
    let read = |(name, text): &(&str, &str)| {
        let id = RecordId::new(*name).expect("file names are short and printable");
        Ok(from_markdown(id, text, Some("demo".into()))?)
    };
    RUNBOOKS.iter().map(read).collect()
}

async fn load_alerts(
    app: &App,
    scope: &TenantScope,
    now: Timestamp,
) -> Result<HashMap<String, RecordId>, DemoError> {
    let alerts: Vec<DemoAlert> = lines("alerts.jsonl", ALERTS)?;
    let incoming: Vec<IncomingAlert> = alerts.iter().map(|alert| alert.at(now)).collect();
    let ids = incoming.iter().map(IncomingAlert::id);
    let ids = alerts.iter().map(|alert| alert.reference.clone()).zip(ids).collect();
    app.features.alerts().receive(scope, incoming).await?;
    Ok(ids)
}

#[derive(Deserialize)]
struct DemoAlert {
    #[serde(rename = "ref")]
    reference: String,
    status: AlertStatus,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    source: Option<String>,
    starts_at_offset: f64,
    ends_at_offset: Option<f64>,
}

impl DemoAlert {
    fn at(&self, now: Timestamp) -> IncomingAlert {
        IncomingAlert {
            fingerprint: None,
            status: self.status,
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            starts_at: shifted(now, self.starts_at_offset),
            ends_at: self.ends_at_offset.map(|offset| shifted(now, offset)),
            generator_url: None,
            source: self.source.clone(),
        }
    }
}

#[derive(Deserialize)]
struct DemoLine {
    at_offset: f64,
    message: String,
    level: Option<String>,
    service: Option<String>,
    source: Option<String>,
}

impl DemoLine {
    fn at(self, now: Timestamp) -> LogLine {
        let Self { at_offset, message, level, service, source } = self;
        LogLine {
            at: Some(shifted(now, at_offset)),
            message,
            level,
            service,
            source,
            attributes: BTreeMap::new(),
        }
    }
}

/// The fields of the API, with offsets for times and references for alert ids.
#[derive(Deserialize)]
struct DemoIncident {
    started_at_offset: f64,
    resolved_at_offset: Option<f64>,
    #[serde(default)]
    alert_refs: Vec<String>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Value>,
}

impl DemoIncident {
    fn draft(self, now: Timestamp, alert_ids: &HashMap<String, RecordId>) -> Result<IncidentDraft, String> {
        let mut draft: IncidentDraft =
            serde_json::from_value(Value::Object(self.rest)).map_err(|error| error.to_string())?;
        draft.started_at = Some(shifted(now, self.started_at_offset));
        draft.resolved_at = self.resolved_at_offset.map(|offset| shifted(now, offset));
        for reference in &self.alert_refs {
            let id = alert_ids.get(reference).ok_or_else(|| format!("there is no alert {reference}"))?;
            draft.alert_ids.push(id.clone());
        }
        Ok(draft)
    }
}

fn lines<T: DeserializeOwned>(file: &'static str, text: &str) -> Result<Vec<T>, DemoError> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| DemoError::File {
                file,
                line: index + 1,
                reason: error.to_string(),
            })
        })
        .collect()
}

/// `now` plus seconds, to the millisecond. The offsets are ours and small.
#[expect(clippy::cast_possible_truncation, reason = "the offsets are ours and small")]
fn shifted(now: Timestamp, seconds: f64) -> Timestamp {
    Timestamp::from_millisecond(now.as_millisecond() + (seconds * 1_000.0) as i64).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runbook_of_the_folder_is_in_the_binary() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/runbooks");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder")
            .map(|entry| {
                entry.expect("an entry").file_name().to_string_lossy().trim_end_matches(".md").to_owned()
            })
            .collect();
        found.sort();
        assert_eq!(found, RUNBOOKS.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    }

    #[test]
    fn every_file_is_of_its_format() {
        lines::<DemoAlert>("alerts.jsonl", ALERTS).expect("alerts");
        lines::<DemoIncident>("incidents.jsonl", INCIDENTS).expect("incidents");
        lines::<DemoLine>("logs.jsonl", LOGS).expect("logs");
        runbooks().expect("runbooks");
    }
}
