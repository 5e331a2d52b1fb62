//! From the errors of the paths and features to problems. The only place that knows which HTTP
//! status an error has.

use std::time::Duration;

use atlas_domain::Retry;
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
            FeatureError::Inference(error) => crate::api::ai::unavailable(&error),
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
        let detail = chain(&error);
        let (status, code, hint) = match &error {
            StoreError::UnknownTenant { tenant } => return unknown_tenant(tenant),
            StoreError::Cursor => {
                return Self::new(StatusCode::BAD_REQUEST, "invalid_cursor", detail)
                    .field("cursor")
                    .hint("pass `next` of the previous page as it is, with the same filters");
            }
            StoreError::Limit { .. } => {
                return Self::new(StatusCode::UNPROCESSABLE_ENTITY, "limit_exceeded", detail);
            }
            StoreError::UnknownBackup { .. } | StoreError::NotInBackup { .. } => {
                return Self::new(StatusCode::NOT_FOUND, "unknown_backup", detail)
                    .hint("GET /api/backups lists what there is");
            }
            StoreError::BackupExists { .. } => {
                return Self::new(StatusCode::CONFLICT, "backup_exists", detail)
                    .field("name")
                    .hint("choose another name, or remove the backup first");
            }
            StoreError::BackupDamaged { .. } => {
                return Self::new(StatusCode::UNPROCESSABLE_ENTITY, "backup_damaged", detail)
                    .hint("nothing was changed; restore another backup");
            }
            StoreError::Full { .. } => (
                StatusCode::INSUFFICIENT_STORAGE,
                "storage_full",
                "nothing was written; free space on that disk: reading goes on, and writing works again by itself",
            ),
            StoreError::Io { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "storage_unavailable",
                "nothing was written; look at the disk and the rights of the data directory: reading goes on where \
                 it can, and writing works again by itself",
            ),
            StoreError::Newer { .. } => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "storage_newer",
                "nothing was changed; run the version that wrote it, or a later one",
            ),
            StoreError::Damaged { .. } => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "storage_damaged",
                "other tenants are not affected; restore a backup of this one (`atlasai-tp restore`)",
            ),
            StoreError::Unavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "storage_unavailable",
                "nothing was written; the database is asked again with every request",
            ),
            StoreError::Unconfirmed { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "storage_unavailable",
                "send it again: what is there already is not written twice",
            ),
            // It was set up in another way while it was used.
            StoreError::Refused { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "storage_unavailable",
                "nothing was written; the error says what the database needs",
            ),
            StoreError::InUse { .. } | StoreError::Vector { .. } => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "storage_failed",
                "nothing was written; the log says more",
            ),
        };
        tracing::error!(error = %detail, "the store failed");
        let problem = Self::new(status, code, detail).hint(hint);
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
