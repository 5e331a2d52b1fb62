//! From the errors of the paths and features to problems. The only place that knows which HTTP
//! status an error has.

use std::time::Duration;

use atlas_domain::{Fault, Retry};
use atlas_features::FeatureError;
use atlas_retrieval::RetrievalError;
use atlas_store::StoreError;
use axum::http::StatusCode;

use crate::auth::unknown_tenant;
use crate::problem::Problem;

/// When nobody said how long to wait.
const RETRY_DEFAULT: Duration = Duration::from_secs(5);

impl From<FeatureError> for Problem {
    fn from(error: FeatureError) -> Self {
        let code = error.code();
        match error {
            FeatureError::Retrieval(error) => error.into(),
            FeatureError::Inference(error) => crate::api::ai::unavailable(error),
            FeatureError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, code, error.to_string()),
            FeatureError::Exists { .. } => {
                with_hint(Self::new(StatusCode::CONFLICT, code, error.to_string()), &error)
            }
            FeatureError::Invalid { ref field, .. } => {
                let problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, error.to_string());
                with_hint(problem.field(field.as_str()), &error)
            }
            FeatureError::Unreadable { .. } => internal(code, &error),
        }
    }
}

fn with_hint(problem: Problem, error: &FeatureError) -> Problem {
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

impl From<RetrievalError> for Problem {
    fn from(error: RetrievalError) -> Self {
        match error {
            RetrievalError::Store(error) => error.into(),
            RetrievalError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", error.to_string()),
            RetrievalError::Request { field, .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", error.to_string()).field(field)
            }
            RetrievalError::Stopped => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", error.to_string())
                    .retry_after(RETRY_DEFAULT)
            }
            RetrievalError::Guard(_) | RetrievalError::Embed(_) | RetrievalError::Index { .. } => {
                search_unavailable(&error)
            }
        }
    }
}

/// Only a search of one leg gets here: with a second leg, search degrades instead.
fn search_unavailable(error: &RetrievalError) -> Problem {
    let detail = chain(error);
    tracing::warn!(error = %detail, "a search leg is not available");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "search_leg_unavailable", detail)
        .hint("leave out `legs`, and the other legs answer")
        .retry_after(RETRY_DEFAULT)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::UnknownTenant { tenant } => return unknown_tenant(tenant),
            StoreError::Cursor => {
                return Self::new(StatusCode::BAD_REQUEST, "invalid_cursor", error.to_string())
                    .field("cursor")
                    .hint("pass `next` of the previous page as it is, with the same filters");
            }
            StoreError::Limit { .. } => {
                return Self::new(StatusCode::UNPROCESSABLE_ENTITY, "limit_exceeded", error.to_string());
            }
            StoreError::InUse { .. }
            | StoreError::Vector { .. }
            | StoreError::Full { .. }
            | StoreError::Io { .. }
            | StoreError::Damaged { .. }
            | StoreError::Unavailable { .. }
            | StoreError::Unconfirmed { .. }
            | StoreError::Refused { .. }
            | StoreError::Newer { .. } => {}
        }
        let status = match error.fault() {
            Fault::Capacity => StatusCode::INSUFFICIENT_STORAGE,
            // The database is away, or was set up in another way while it was used.
            Fault::Upstream | Fault::Settings => StatusCode::SERVICE_UNAVAILABLE,
            Fault::Caller | Fault::Ourselves => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let hint = match &error {
            StoreError::Unconfirmed { .. } => "send it again: what is there already is not written twice",
            _ => "nothing was written",
        };
        let detail = chain(&error);
        tracing::error!(error = %detail, "the store failed");
        let problem = Self::new(status, "store_unavailable", detail).hint(hint);
        match error.retry() {
            Retry::Never => problem,
            Retry::Now => problem.retry_after(RETRY_DEFAULT),
            Retry::After(after) => problem.retry_after(after),
        }
    }
}

fn internal(code: &'static str, error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::error!(error = %chain(error), "the request failed");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, error.to_string())
        .hint("the log of the server has a line with this request id")
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
