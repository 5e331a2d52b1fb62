//! Tenants: made by the operator, never by a request for one that is missing.

use std::sync::Arc;

use atlas_domain::TenantId;
use atlas_retrieval::Retrieval;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::extract::Json;
use crate::problem::Problem;

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantBody {
    id: TenantId,
}

/// Creates a tenant: 201, or 200 when it was there.
pub(crate) async fn create(
    State(retrieval): State<Arc<Retrieval>>,
    Json(body): Json<TenantBody>,
) -> Result<Response, Problem> {
    let id = body.id.clone();
    let new = retrieval.read(move |store| store.create_tenant(&id)).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(body)).into_response())
}

/// All tenants, by name.
pub(crate) async fn list(State(retrieval): State<Arc<Retrieval>>) -> Result<Json<Value>, Problem> {
    let tenants = retrieval.read(|store| store.tenants()).await?;
    let items: Vec<TenantBody> = tenants.into_iter().map(|id| TenantBody { id }).collect();
    Ok(Json(json!({"items": items, "next": null})))
}
