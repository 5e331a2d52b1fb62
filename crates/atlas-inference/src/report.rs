//! What is shown about the provider: its status and the outcome of the connection test.

use std::time::Duration;

use atlas_domain::{Check, CheckStatus, ProviderError, Timestamp};
use atlas_llm::CapabilityProfile;
use serde::Serialize;

use crate::breaker::BreakerState;
use crate::hints::hint_for;
use crate::job::{Feature, ServedBy};

/// The provider's state as this process knows it.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `not_configured`, `misconfigured` or `ready`.
    pub state: &'static str,
    /// What is wrong with the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// Who would answer a feature without a model of its own.
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
    /// The model of every feature.
    pub models: Vec<FeatureModel>,
    /// The managed AI may answer when the provider is down.
    pub fallback_allowed: bool,
    /// The number of the settings in force.
    pub generation: u64,
}

/// A feature's model, and what should be known about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureModel {
    /// The feature.
    pub feature: Feature,
    /// Its model.
    pub model: String,
    /// What the feature does without, because the model lacks it.
    pub degraded: Vec<&'static str>,
    /// Such as a model that is about to be turned off.
    pub warnings: Vec<String>,
    /// Why this model cannot be used at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
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
    /// `ok` when the model answered, whatever else it lacks; `error`; or `not_configured`.
    pub status: &'static str,
    /// The provider's label.
    pub provider: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// How long the short answer took, from the request to its end.
    pub latency_ms: Option<u64>,
    /// What went wrong: the first check that failed on the way to an answer.
    pub error: Option<Problem>,
    /// Every rung of the ladder, in order.
    pub checks: Vec<Check>,
    /// What is known by measurement now.
    pub profile: Option<CapabilityProfile>,
}

/// An error for a person: no byte of it is the provider's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The error's stable word.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What to check.
    pub hint: String,
}

impl Problem {
    pub(crate) fn of(provider: &str, error: &ProviderError) -> Self {
        Self { code: error.code(), message: error.summary(), hint: hint_for(provider, error).to_owned() }
    }

    fn of_check(check: &Check) -> Self {
        Self {
            code: check.code.unwrap_or("check_failed"),
            message: check.detail.clone(),
            hint: check.hint.clone().unwrap_or_default(),
        }
    }
}

impl TestReport {
    pub(crate) fn not_configured() -> Self {
        Self {
            status: "not_configured",
            provider: None,
            model: None,
            latency_ms: None,
            error: None,
            checks: Vec::new(),
            profile: None,
        }
    }

    /// The settings cannot work, so there is nothing to climb to.
    pub(crate) fn refused(problem: Problem) -> Self {
        Self { status: "error", error: Some(problem), ..Self::not_configured() }
    }

    /// `latency` is there when the model answered.
    pub(crate) fn of(
        served_by: &ServedBy,
        checks: Vec<Check>,
        latency: Option<Duration>,
        profile: Option<CapabilityProfile>,
    ) -> Self {
        let failed = || checks.iter().find(|check| check.status == CheckStatus::Failed);
        Self {
            status: if latency.is_some() { "ok" } else { "error" },
            provider: Some(served_by.provider.clone()),
            model: Some(served_by.model.clone()),
            latency_ms: latency.map(|latency| latency.as_millis() as u64),
            error: if latency.is_some() { None } else { failed().map(Problem::of_check) },
            checks,
            profile,
        }
    }
}
