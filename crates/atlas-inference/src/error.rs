//! Why a job has no answer.

use std::time::Duration;

use atlas_domain::{Fault, ProviderError, ProviderErrorKind, Retry};

/// Why a job has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InferenceError {
    /// No provider is configured; features that need one are off.
    #[error("no AI provider is configured")]
    NotConfigured,
    /// The provider is down, throttling, or was down a moment ago.
    #[error("AI provider temporarily unavailable")]
    Unavailable {
        /// What the provider did last.
        #[source]
        source: ProviderError,
        /// When to come back, as far as it is known.
        retry_after: Option<Duration>,
    },
    /// The settings or the request cannot work as they are.
    #[error("the AI provider cannot serve this with the present settings or request")]
    Refused {
        /// Why.
        #[source]
        source: ProviderError,
    },
    /// The job names a model that is not one of the configured ones.
    #[error("the model {model:?} is not configured here; configured: {}", known.join(", "))]
    UnknownModel {
        /// What was asked for.
        model: String,
        /// What may be asked for.
        known: Vec<String>,
    },
    /// As many jobs as may run are running.
    #[error("too many AI requests at once")]
    Capacity,
    /// The job's time is over.
    #[error("the AI answer was not ready in time")]
    Deadline,
    /// The model answered, twice, and neither answer has the asked shape.
    #[error("the AI answer does not have the expected form")]
    Unusable {
        /// What is wrong with the last one. May quote the answer: for its reader, not for logs.
        problems: Vec<String>,
    },
}

impl InferenceError {
    /// Sorts a provider's error by who can do something about it.
    pub(crate) fn from_provider(source: ProviderError) -> Self {
        match source.fault() {
            Fault::Upstream | Fault::Capacity => {
                let retry_after = match source.retry() {
                    Retry::After(wait) => Some(wait),
                    Retry::Now | Retry::Never => None,
                };
                Self::Unavailable { source, retry_after }
            }
            Fault::Settings | Fault::Caller | Fault::Ourselves => Self::Refused { source },
        }
    }

    /// Whether a shorter prompt may be answered.
    pub fn wants_shorter_prompt(&self) -> bool {
        matches!(self, Self::Refused { source } if source.kind() == ProviderErrorKind::PromptTooLong)
    }

    /// A stable word for problem bodies, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured => "ai_not_configured",
            Self::Unavailable { .. } => "ai_unavailable",
            Self::Refused { source } => source.code(),
            Self::UnknownModel { .. } => "ai_model_unknown",
            Self::Capacity => "ai_busy",
            Self::Deadline => "ai_deadline",
            Self::Unusable { .. } => "ai_answer_unusable",
        }
    }

    /// What the provider did, where it did something.
    pub fn provider_error(&self) -> Option<&ProviderError> {
        match self {
            Self::Unavailable { source, .. } | Self::Refused { source } => Some(source),
            Self::NotConfigured
            | Self::UnknownModel { .. }
            | Self::Capacity
            | Self::Deadline
            | Self::Unusable { .. } => None,
        }
    }

    /// The most telling word for the audit log and the status: the provider's failure where there
    /// is one.
    pub(crate) fn cause(&self) -> &'static str {
        self.provider_error().map_or_else(|| self.code(), ProviderError::code)
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotConfigured => Fault::Settings,
            Self::Unavailable { .. } | Self::Deadline | Self::Unusable { .. } => Fault::Upstream,
            Self::Refused { source } => source.fault(),
            Self::UnknownModel { .. } => Fault::Caller,
            Self::Capacity => Fault::Capacity,
        }
    }

    /// Whether the caller may ask again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unavailable { retry_after, .. } => retry_after.map_or(Retry::Now, Retry::After),
            Self::Capacity | Self::Deadline => Retry::Now,
            Self::NotConfigured
            | Self::Refused { .. }
            | Self::UnknownModel { .. }
            | Self::Unusable { .. } => Retry::Never,
        }
    }
}
