//! The handlers: extract, call one feature, shape the answer.

pub(crate) mod ai;
pub(crate) mod alerts;
pub(crate) mod ask;
pub(crate) mod backups;
mod events;
pub(crate) mod health;
pub(crate) mod import;
pub(crate) mod incidents;
pub(crate) mod index;
mod list;
pub(crate) mod logs;
pub(crate) mod openai;
pub(crate) mod page;
mod replacement;
pub(crate) mod runbooks;
pub(crate) mod search;
mod target;
pub(crate) mod tenants;

use atlas_domain::RecordId;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::extract::Json;

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        // By way of a `Value`: it holds every name once, also where a record and the noun in it
        // both have an `updated_at`.
        match serde_json::to_value(&self.0) {
            Ok(value) => {
                let kind = HeaderValue::from_static("application/json");
                ([(header::CONTENT_TYPE, kind)], value.to_string()).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// 201 with the place of what was made.
fn created<T: Serialize>(collection: &str, id: &RecordId, item: T) -> Response {
    // Only what a path segment may hold; `/` stays, runbooks are found by it.
    let path: String = url::form_urlencoded::byte_serialize(id.as_str().as_bytes()).collect();
    let path = path.replace('+', "%20").replace("%2F", "/");
    let path = if collection == "runbooks" { path } else { path.replace('/', "%2F") };
    let mut response = (StatusCode::CREATED, Json(item)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/{collection}/{path}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}
