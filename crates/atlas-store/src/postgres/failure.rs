//! What PostgreSQL and the way to it say, in the store's words.

use std::error::Error;

use tokio_postgres::error::SqlState;

use crate::StoreError;

/// A failure before it is known which database's.
#[derive(Debug)]
pub(super) enum Failure {
    /// From the database, or from the connection to it.
    Sql(tokio_postgres::Error),
    /// There is no connection.
    Unreachable(Box<dyn Error + Send + Sync>),
    /// Every connection was in use for too long.
    Busy,
    /// No answer in time.
    Late,
    /// The connection was lost while a transaction was being confirmed.
    Unconfirmed,
    /// A column does not hold what we write into it.
    Odd(&'static str),
    /// From our own checks.
    Refused(StoreError),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// What the database said, without the detail that quotes values.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {code})")]
struct Said {
    message: String,
    code: String,
}

impl Failure {
    fn state(&self) -> Option<&SqlState> {
        match self {
            Self::Sql(error) => error.code(),
            _ => None,
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn is_lost(&self) -> bool {
        match self {
            Self::Sql(error) => match error.as_db_error() {
                Some(said) => matches!(
                    *said.code(),
                    SqlState::ADMIN_SHUTDOWN
                        | SqlState::CRASH_SHUTDOWN
                        | SqlState::CANNOT_CONNECT_NOW
                        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                ),
                None => error.is_closed() || caused_by_io(error),
            },
            Self::Unreachable(_) | Self::Late | Self::Unconfirmed => true,
            Self::Busy | Self::Odd(_) | Self::Refused(_) => false,
        }
    }

    /// Whether the same again has a fresh chance: the transaction was undone for another's sake.
    pub(super) fn is_collision(&self) -> bool {
        matches!(self.state(), Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED))
    }

    /// `action` is `read` or `written`.
    pub(super) fn explain(self, place: &str, action: &'static str) -> StoreError {
        let place = place.to_owned();
        let unavailable =
            |place, source: Box<dyn Error + Send + Sync>| StoreError::Unavailable { place, source };
        let lost = self.is_lost();
        match self {
            Self::Refused(error) => error,
            Self::Unreachable(source) => unavailable(place, source),
            Self::Busy => unavailable(place, "all connections to it are in use".into()),
            Self::Late => unavailable(place, "it did not answer in time".into()),
            Self::Unconfirmed => StoreError::Unconfirmed { place },
            Self::Odd(what) => StoreError::Io { place, action, source: what.into() },
            Self::Sql(error) => {
                let Some(said) = error.as_db_error() else {
                    return match lost {
                        true => unavailable(place, Box::new(error)),
                        false => StoreError::Io { place, action, source: Box::new(error) },
                    };
                };
                let code = said.code().clone();
                let words = Said { message: said.message().to_owned(), code: code.code().to_owned() };
                explain_state(place, action, &code, words)
            }
        }
    }
}

fn explain_state(place: String, action: &'static str, code: &SqlState, said: Said) -> StoreError {
    let refused = |fix: &str| StoreError::Refused {
        place: place.clone(),
        reason: said.message.clone(),
        fix: fix.to_owned(),
    };
    match *code {
        SqlState::DISK_FULL => StoreError::Full { place },
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            refused("check the user in TP_STORE and the password in TP_STORE_PASSWORD")
        }
        SqlState::INVALID_CATALOG_NAME => refused("create the database, or correct its name in TP_STORE"),
        SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME | SqlState::UNDEFINED_COLUMN => {
            refused("run `atlasai-tp migrate` with the role that owns the tables")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => {
            refused("run `atlasai-tp migrate`, which grants the serving role what it needs")
        }
        SqlState::PROGRAM_LIMIT_EXCEEDED => {
            StoreError::Limit { what: "size of an indexed value in bytes", limit: 2_600 }
        }
        // A standby, or one that is starting, stopping, out of memory or out of connections; and
        // statements that were ended because they took too long.
        SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => {
            StoreError::Unavailable { place, source: Box::new(said) }
        }
        _ if ["08", "53", "57"].iter().any(|class| code.code().starts_with(class)) => {
            StoreError::Unavailable { place, source: Box::new(said) }
        }
        _ => StoreError::Io { place, action, source: Box::new(said) },
    }
}

fn caused_by_io(error: &tokio_postgres::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<std::io::Error>() {
            return true;
        }
        cause = inner.source();
    }
    false
}
