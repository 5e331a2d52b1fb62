//! Bodies that replace a record.

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::extract::{Json, parse};
use crate::problem::Problem;

/// A JSON body in which the times that the server adds may stay, so that what GET answered can be
/// changed and sent back.
pub(crate) struct Replacement<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Replacement<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(mut value) = Json::<Value>::from_request(request, state).await?;
        if let Some(fields) = value.as_object_mut() {
            fields.remove("created_at");
            fields.remove("updated_at");
        }
        parse(&value.to_string()).map(Self)
    }
}
