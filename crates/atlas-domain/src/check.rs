//! One rung of a connection test.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::provider_error::ProviderError;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should be.
    Passed,
    /// It works, and something about it should be known.
    Warning,
    /// It does not work.
    Failed,
    /// Not tried: a check it rests on failed, or it does not apply.
    Skipped,
}

/// One rung of a connection test: what was looked at, how it went, and what to do about it.
/// No text in it is the provider's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its stable name: `config`, `policy`, `dns`, `tcp`, `proxy`, `tls`, `auth`, `model`,
    /// `chat`, `stream`, `json_schema`, `tools`, `context`, `embeddings`, `index`,
    /// `control_plane` and, on the command line, those of the machine.
    pub id: &'static str,
    /// How it went.
    pub status: CheckStatus,
    /// How long it took.
    pub ms: u64,
    /// The stable word of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// What was found.
    pub detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// It works.
    pub fn passed(id: &'static str, started: Instant, detail: impl Into<String>) -> Self {
        Self::new(id, CheckStatus::Passed, started.elapsed(), None, detail, None)
    }

    /// It works, and something about it should be known.
    pub fn warning(
        id: &'static str,
        started: Instant,
        code: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(id, CheckStatus::Warning, started.elapsed(), Some(code), detail, Some(hint.into()))
    }

    /// It does not work.
    pub fn failed(
        id: &'static str,
        started: Instant,
        code: &'static str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(id, CheckStatus::Failed, started.elapsed(), Some(code), detail, Some(hint.into()))
    }

    /// It was not tried, and why.
    pub fn skipped(id: &'static str, reason: impl Into<String>) -> Self {
        Self::new(id, CheckStatus::Skipped, Duration::ZERO, None, reason, None)
    }

    /// A provider's failure, without the provider's words.
    pub fn provider(
        id: &'static str,
        started: Instant,
        error: &ProviderError,
        hint: impl Into<String>,
    ) -> Self {
        Self::failed(id, started, error.code(), error.summary(), hint)
    }

    fn new(
        id: &'static str,
        status: CheckStatus,
        took: Duration,
        code: Option<&'static str>,
        detail: impl Into<String>,
        hint: Option<String>,
    ) -> Self {
        Self { id, status, ms: took.as_millis() as u64, code, detail: detail.into(), hint }
    }
}
