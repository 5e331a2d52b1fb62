//! What is shown about the provider: status, the connection test, and what to do.

use std::time::Duration;

use atlas_domain::Timestamp;
use atlas_llm::LlmError;
use serde::Serialize;

use crate::breaker::BreakerState;
use crate::job::ServedBy;

/// The provider's state as this process knows it.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `not_configured`, `misconfigured` or `ready`.
    pub state: &'static str,
    /// What is wrong with the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// Who would answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_by: Option<ServedBy>,
    /// Whether calls go through.
    pub breaker: BreakerState,
    /// When the breaker last opened or closed; at first, when these settings took effect.
    pub since: Timestamp,
    /// The last answer.
    pub last_success: Option<Timestamp>,
    /// The last failure.
    pub last_failure: Option<Failure>,
}

/// When a call failed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// The error's stable word.
    pub code: &'static str,
}

/// The outcome of the connection test.
#[derive(Debug, Clone, Serialize)]
pub struct TestReport {
    /// `ok`, `error` or `not_configured`.
    pub status: &'static str,
    /// The provider's label.
    pub provider: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// How long the round trip took.
    pub latency_ms: Option<u64>,
    /// What went wrong.
    pub error: Option<Problem>,
}

/// An error for a person: no byte of it is the provider's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The error's stable word.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to check.
    pub hint: &'static str,
}

impl TestReport {
    pub(crate) fn not_configured() -> Self {
        Self { status: "not_configured", provider: None, model: None, latency_ms: None, error: None }
    }

    pub(crate) fn ok(served_by: &ServedBy, latency: Duration) -> Self {
        Self {
            status: "ok",
            provider: Some(served_by.provider.clone()),
            model: Some(served_by.model.clone()),
            latency_ms: Some(latency.as_millis() as u64),
            error: None,
        }
    }

    pub(crate) fn failed(served_by: Option<&ServedBy>, error: &LlmError, latency: Duration) -> Self {
        Self {
            status: "error",
            provider: served_by.map(|served_by| served_by.provider.clone()),
            model: served_by.map(|served_by| served_by.model.clone()),
            latency_ms: served_by.map(|_| latency.as_millis() as u64),
            error: Some(describe(error)),
        }
    }
}

pub(crate) fn describe(error: &LlmError) -> Problem {
    Problem { code: error.code(), message: summary(error), hint: hint(error) }
}

/// What happened, without the provider's own words: a test must not become a way to read what
/// stands behind an address. The words are in the log.
pub fn summary(error: &LlmError) -> String {
    let text = match error {
        // These details are ours.
        LlmError::Network { .. }
        | LlmError::Timeout { .. }
        | LlmError::Egress { .. }
        | LlmError::CutShort
        | LlmError::Settings { .. } => return error.to_string(),
        LlmError::Credentials { .. } => "the provider refused the credentials",
        LlmError::Forbidden { .. } => "the credentials may not use this model or endpoint",
        LlmError::NotFound { .. } => "the provider does not know the model or path",
        LlmError::BadRequest { .. } => "the provider refused the request",
        LlmError::PromptTooLong { .. } => "the prompt does not fit the model's context window",
        LlmError::ContentFilter { .. } => "the provider's content filter refused the request",
        LlmError::Throttled { .. } => "the provider asks to slow down",
        LlmError::Quota { .. } => "the account is over its quota or out of credit",
        LlmError::Overloaded { .. } => "the provider is overloaded",
        LlmError::Server { .. } => "the provider failed",
        LlmError::Protocol { .. } => "the provider's answer is not understood",
    };
    text.to_owned()
}

/// What to check or do about an error.
pub fn hint(error: &LlmError) -> &'static str {
    match error {
        LlmError::Credentials { .. } => {
            "Check BYOC_API_KEY: it may be mistyped, revoked, or of another provider than BYOC_ENDPOINT_URL."
        }
        LlmError::Forbidden { .. } => {
            "The key works but may not use this model or endpoint. Check its permissions, project and region."
        }
        LlmError::NotFound { .. } => {
            "Check BYOC_MODEL against the provider's list of models, and the path of BYOC_ENDPOINT_URL."
        }
        LlmError::BadRequest { .. } => {
            "Check that BYOC_MODEL is a chat model. If it is, the log has the provider's reason; please report it."
        }
        LlmError::PromptTooLong { .. } => {
            "Ask about less at once, or use a model or server setting with a larger context window."
        }
        LlmError::ContentFilter { .. } => {
            "Rephrase the request, or review the provider's content filter settings."
        }
        LlmError::Throttled { .. } => "Wait a little. If this persists, raise the account's rate limit.",
        LlmError::Quota { .. } => "Check the account's billing and spend limits; waiting does not help.",
        LlmError::Overloaded { .. } => "Wait a little. A server of your own may still be loading the model.",
        LlmError::Server { .. } => "Look at the provider's status page, or at the log of your own server.",
        LlmError::Network { .. } => {
            "Check the host and port of BYOC_ENDPOINT_URL, that the server runs, DNS, firewalls and certificates."
        }
        LlmError::Timeout { .. } => {
            "The server accepts calls and does not answer in time: it may be loading the model, or a firewall drops packets."
        }
        LlmError::Egress { .. } => {
            "The egress policy forbids this destination. Check BYOC_ENDPOINT_URL and where its name resolves to."
        }
        LlmError::CutShort => {
            "The connection broke in the middle. Check time limits of proxies between here and the provider."
        }
        LlmError::Protocol { .. } => {
            "Something else than an OpenAI-compatible API answers there. Check BYOC_ENDPOINT_URL; it usually ends in /v1."
        }
        LlmError::Settings { .. } => "Correct the named setting.",
    }
}
