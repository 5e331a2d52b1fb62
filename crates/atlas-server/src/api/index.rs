//! What is derived from the records: how far it is, and making it again.

use std::sync::Arc;

use atlas_retrieval::{IndexProgress, Retrieval};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::auth::Tenant;
use crate::extract::Json;
use crate::problem::Problem;

/// Throws the tenant's word index away and makes it again, and vectors where they are missing:
/// 202, and `GET /api/reindex` says how far it is. Search goes on with what is there.
pub(crate) async fn rebuild(
    State(retrieval): State<Arc<Retrieval>>,
    Tenant(scope): Tenant,
) -> Result<Response, Problem> {
    retrieval.reindex(&scope).await?;
    Ok((StatusCode::ACCEPTED, Json(retrieval.progress(&scope).await?)).into_response())
}

/// How far the tenant's indexes are.
pub(crate) async fn progress(
    State(retrieval): State<Arc<Retrieval>>,
    Tenant(scope): Tenant,
) -> Result<Json<IndexProgress>, Problem> {
    Ok(Json(retrieval.progress(&scope).await?))
}
