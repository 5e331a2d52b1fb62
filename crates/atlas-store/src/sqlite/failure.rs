//! What SQLite and the file system say, in the store's words.

use std::io;
use std::path::{Path, PathBuf};

use atlas_domain::TenantId;
use rusqlite::ErrorCode;

use crate::StoreError;

/// A failure inside a transaction, before it is known which tenant's.
#[derive(Debug)]
pub(super) enum Failure {
    /// From the database.
    Sql(rusqlite::Error),
    /// From our own checks.
    Refused(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// Where a failure happened.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) tenant: TenantId,
    /// The tenant's directory.
    pub(super) dir: PathBuf,
}

impl Place {
    pub(super) fn damaged(&self, detail: impl Into<String>) -> StoreError {
        StoreError::Damaged { tenant: self.tenant.clone(), detail: detail.into() }
    }

    /// `action` is `read` or `written`.
    pub(super) fn explain(&self, failure: impl Into<Failure>, action: &'static str) -> StoreError {
        match failure.into() {
            Failure::Refused(error) => error,
            Failure::Sql(error) => self.explain_sql(error, action),
        }
    }

    fn explain_sql(&self, error: rusqlite::Error, action: &'static str) -> StoreError {
        let Some(code) = error.sqlite_error_code() else {
            // What remains are conversions: a column does not hold what we write into it. The
            // error text may quote the column, so it stays out.
            return match error {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..) => self.damaged("a column holds what was never written"),
                other => self.damaged(other.to_string()),
            };
        };
        match code {
            ErrorCode::DiskFull => StoreError::Full { place: show(&self.dir) },
            ErrorCode::TooBig => {
                StoreError::Limit { what: "size of a record in bytes", limit: 1_000_000_000 }
            }
            ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory => {
                StoreError::Io { place: show(&self.dir), action, source: Box::new(error) }
            }
            _ => self.damaged(error.to_string()),
        }
    }
}

/// A failure of a file operation outside SQLite.
pub(super) fn file_failure(path: &Path, action: &'static str, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { place: show(path) },
        _ => StoreError::Io { place: show(path), action, source: Box::new(error) },
    }
}

pub(super) fn show(path: &Path) -> String {
    path.display().to_string()
}
