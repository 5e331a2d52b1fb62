//! Alerts and their groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use atlas_domain::{Alert, AlertGroup, AlertStatus, Corpus, RecordId, RecordKey, Timestamp};
use atlas_features::{FeatureError, Features, IncomingAlert, Listed, Stored};
use atlas_retrieval::{Hit, Leg};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::import::checked;
use super::list::{self, List};
use super::replacement::Replacement;
use super::target::Target;
use crate::auth::Tenant;
use crate::extract::{Id, Json, Params, Whole, off_worker, require_json, utf8};
use crate::problem::Problem;
use crate::wire::alertmanager;

/// Takes an Alertmanager delivery in. Repeating it changes nothing but the count of deliveries.
pub(crate) async fn webhook(
    State(features): State<Arc<Features>>,
    target: Target,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    require_json(&headers, "send Alertmanager's webhook body as application/json")?;
    let alerts = off_worker(move || alertmanager::read(utf8(&body)?)).await??;
    match target {
        Target::Check => Ok(checked(alerts.len()).into_response()),
        Target::Write(scope) => Ok(Json(features.alerts().receive(&scope, alerts).await?).into_response()),
    }
}

/// One alert from a tool that is no Alertmanager.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertDraft {
    #[serde(default)]
    status: Option<AlertStatus>,
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default, alias = "startsAt")]
    starts_at: Option<Timestamp>,
    #[serde(default, alias = "endsAt")]
    ends_at: Option<Timestamp>,
    #[serde(default, alias = "generatorURL")]
    generator_url: Option<String>,
    #[serde(default)]
    fingerprint: Option<String>,
    #[serde(default)]
    source: Option<String>,
}

/// Takes one alert in: 201, or 200 when it was known and only delivered again.
pub(crate) async fn create(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Json(draft): Json<AlertDraft>,
) -> Result<Response, Problem> {
    let incoming = IncomingAlert {
        fingerprint: draft.fingerprint,
        status: draft.status.unwrap_or(if draft.ends_at.is_some() {
            AlertStatus::Resolved
        } else {
            AlertStatus::Firing
        }),
        labels: draft.labels,
        annotations: draft.annotations,
        starts_at: draft.starts_at.unwrap_or_else(Timestamp::now),
        ends_at: draft.ends_at,
        generator_url: draft.generator_url,
        source: draft.source.or_else(|| Some("api".into())),
    };
    let id = incoming.id();
    let report = features.alerts().receive(&scope, vec![incoming]).await?;
    let stored = features.alerts().get(&scope, &id).await?;
    if report.created == 0 {
        return Ok(Json(stored).into_response());
    }
    Ok(super::created("alerts", &stored.item.id.clone(), stored))
}

/// A page of alerts.
pub(crate) async fn list(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    List(query): List,
) -> Result<Json<Listed<Alert>>, Problem> {
    Ok(Json(features.alerts().list(&scope, query).await?))
}

/// One alert.
pub(crate) async fn read(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
) -> Result<Json<Stored<Alert>>, Problem> {
    Ok(Json(features.alerts().get(&scope, &id).await?))
}

/// What an alert can be replaced with. Its name, fingerprint, begin, deliveries and group are
/// facts of its delivery: they may be sent, and stay as they are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertReplacement {
    id: Option<RecordId>,
    #[expect(dead_code, reason = "accepted, so that what GET answered can be sent back")]
    fingerprint: Option<String>,
    #[expect(dead_code, reason = "accepted, so that what GET answered can be sent back")]
    starts_at: Option<Timestamp>,
    #[expect(dead_code, reason = "accepted, so that what GET answered can be sent back")]
    deliveries: Option<u64>,
    #[expect(dead_code, reason = "accepted, so that what GET answered can be sent back")]
    group_id: Option<RecordId>,
    name: String,
    status: AlertStatus,
    severity: Option<String>,
    service: Option<String>,
    source: Option<String>,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    description: String,
    runbook_url: Option<String>,
    generator_url: Option<String>,
    ends_at: Option<Timestamp>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Replaces what people may correct in an alert.
pub(crate) async fn replace(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
    Replacement(body): Replacement<AlertReplacement>,
) -> Result<Json<Stored<Alert>>, Problem> {
    if body.id.as_ref().is_some_and(|named| *named != id) {
        return Err(invalid("id", "it is not the id in the path").hint("leave it out"));
    }
    if body.name.trim().is_empty() {
        return Err(invalid("name", "it is empty"));
    }
    let replaced = features.alerts().replace(&scope, &id, |before| -> Result<Alert, Problem> {
        if body.ends_at.is_some_and(|end| end < before.starts_at) {
            return Err(invalid("ends_at", "it is before starts_at"));
        }
        Ok(Alert {
            name: body.name,
            status: body.status,
            severity: body.severity.map(|severity| severity.trim().to_lowercase()),
            service: body.service,
            source: body.source,
            summary: body.summary,
            description: body.description,
            runbook_url: body.runbook_url,
            generator_url: body.generator_url,
            ends_at: body.ends_at,
            labels: body.labels,
            annotations: body.annotations,
            ..before
        })
    });
    Ok(Json(replaced.await?))
}

fn invalid(field: &'static str, reason: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", format!("{field}: {reason}")).field(field)
}

/// Removes an alert.
pub(crate) async fn remove(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    features.alerts().delete(&scope, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What an alert resembles.
#[derive(Debug, Serialize)]
pub(crate) struct Similar {
    /// Alerts.
    hits: Vec<Hit>,
    incidents: Vec<Hit>,
    runbooks: Vec<Hit>,
    degraded: Vec<Leg>,
    took_ms: u64,
}

/// Alerts and incidents that read like an alert, and runbooks for it.
pub(crate) async fn similar(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
    mut params: Params,
) -> Result<Json<Similar>, Problem> {
    let limit = list::limit(&mut params, 5, 50)?;
    params.nothing_else("limit")?;
    let key = RecordKey::new(Corpus::Alerts, id.clone());
    let asked = async {
        let alerts = features.alerts().similar(&scope, &id, limit).await?;
        let incidents = features.incidents().similar(&scope, &key, limit).await?;
        let runbooks = features.runbooks().matching(&scope, &key, limit).await?;
        Ok::<_, FeatureError>([alerts, incidents, runbooks])
    };
    let answers = asked.await?;
    let took: std::time::Duration = answers.iter().map(|answer| answer.took).sum();
    let mut degraded: Vec<Leg> = Vec::new();
    for leg in answers.iter().flat_map(|answer| &answer.degraded) {
        if !degraded.contains(leg) {
            degraded.push(*leg);
        }
    }
    let [hits, incidents, runbooks] = answers.map(|answer| answer.hits);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Ok(Json(Similar { hits, incidents, runbooks, degraded, took_ms }))
}

/// A page of groups.
pub(crate) async fn groups(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    List(query): List,
) -> Result<Json<Listed<AlertGroup>>, Problem> {
    Ok(Json(features.alerts().groups(&scope, query).await?))
}

/// One group.
pub(crate) async fn group(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
) -> Result<Json<Stored<AlertGroup>>, Problem> {
    Ok(Json(features.alerts().group(&scope, &id).await?))
}
