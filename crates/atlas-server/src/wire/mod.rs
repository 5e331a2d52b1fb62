//! Formats of others, read into our nouns. Pure: text in, values or a problem out.
//!
//! Everything is read before anything is written, and an error names the line or index and the
//! field. Unknown fields are ignored here and only here: these formats belong to somebody else.

pub(crate) mod alertmanager;
pub(crate) mod gzip;
pub(crate) mod loki;
pub(crate) mod ndjson;
pub(crate) mod otlp;
pub(crate) mod time;

use axum::http::StatusCode;

use crate::problem::Problem;

/// A value of a foreign format that cannot be used.
pub(crate) fn invalid(field: impl Into<String>, reason: impl AsRef<str>) -> Problem {
    let field = field.into();
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", format!("{field} {}", reason.as_ref()))
        .field(field)
}

#[cfg(test)]
mod tests;
