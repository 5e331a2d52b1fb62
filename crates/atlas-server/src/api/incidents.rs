//! Incidents.

use std::sync::Arc;

use atlas_domain::{Corpus, Incident, RecordKey};
use atlas_features::{Features, IncidentDraft, Listed, Stored};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::list::{self, List};
use super::replacement::Replacement;
use super::search::SearchResult;
use crate::auth::Tenant;
use crate::extract::{Id, Json, Params};
use crate::problem::Problem;

/// Records an incident.
pub(crate) async fn create(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Json(draft): Json<IncidentDraft>,
) -> Result<Response, Problem> {
    let stored = features.incidents().create(&scope, draft).await?;
    Ok(super::created("incidents", &stored.item.id.clone(), stored))
}

/// A page of incidents.
pub(crate) async fn list(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    List(query): List,
) -> Result<Json<Listed<Incident>>, Problem> {
    Ok(Json(features.incidents().list(&scope, query).await?))
}

/// One incident.
pub(crate) async fn read(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
) -> Result<Json<Stored<Incident>>, Problem> {
    Ok(Json(features.incidents().get(&scope, &id).await?))
}

/// Replaces an incident.
pub(crate) async fn replace(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
    Replacement(draft): Replacement<IncidentDraft>,
) -> Result<Json<Stored<Incident>>, Problem> {
    Ok(Json(features.incidents().update(&scope, &id, draft).await?))
}

/// Removes an incident.
pub(crate) async fn remove(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    features.incidents().delete(&scope, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Past incidents that resemble one.
pub(crate) async fn similar(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
    mut params: Params,
) -> Result<Json<SearchResult>, Problem> {
    let limit = list::limit(&mut params, 5, 50)?;
    params.nothing_else("limit")?;
    let answer = features.incidents().similar(&scope, &RecordKey::new(Corpus::Incidents, id), limit).await?;
    Ok(Json(answer.into()))
}
