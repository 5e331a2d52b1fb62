//! Liveness and readiness. Neither asks a provider: a provider's outage must not restart or
//! unplug a server that searches.

use std::sync::Arc;

use atlas_retrieval::Retrieval;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::extract::Json;
use crate::problem::Problem;

/// The process answers.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// The store can be written, so requests can be served.
pub(crate) async fn ready(State(retrieval): State<Arc<Retrieval>>) -> Result<Json<Value>, Problem> {
    retrieval.read(|store| store.check()).await.map_err(|error| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", crate::error::chain(&error))
            .hint("the store cannot be written; see the log")
    })?;
    Ok(Json(json!({"status": "ready"})))
}
