//! Why a feature could not do what was asked.

use atlas_domain::{Corpus, Fault, RecordKey, Retry};
use atlas_inference::InferenceError;
use atlas_retrieval::RetrievalError;

/// Why a feature could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum FeatureError {
    /// The search path could not.
    #[error(transparent)]
    Retrieval(RetrievalError),
    /// The inference path could not.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// There is no such record.
    #[error("there is no {} with id {id}", noun(*.corpus))]
    NotFound {
        /// Which kind.
        corpus: Corpus,
        /// Which one.
        id: String,
    },
    /// A record of this id is already there.
    #[error("there is already a {} with id {id}", noun(*.corpus))]
    Exists {
        /// Which kind.
        corpus: Corpus,
        /// Which one.
        id: String,
    },
    /// What was sent cannot be used.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, as the caller wrote it (`alerts[3].labels`).
        field: String,
        /// What is wrong with it.
        reason: String,
        /// What to do instead.
        hint: String,
    },
    /// A stored body is not the noun it should be.
    #[error("the stored {} {} cannot be read", noun(.key.corpus), .key.id)]
    Unreadable {
        /// Which record.
        key: RecordKey,
        /// Where the reading stopped.
        #[source]
        source: serde_json::Error,
    },
}

impl FeatureError {
    pub(crate) fn not_found(key: &RecordKey) -> Self {
        Self::NotFound { corpus: key.corpus, id: key.id.to_string() }
    }

    pub(crate) fn invalid(
        field: impl Into<String>,
        reason: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into(), hint: hint.into() }
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Retrieval(error) => error.fault(),
            Self::Inference(error) => error.fault(),
            Self::NotFound { .. } | Self::Exists { .. } | Self::Invalid { .. } => Fault::Caller,
            Self::Unreadable { .. } => Fault::Ourselves,
        }
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Retrieval(error) => error.retry(),
            Self::Inference(error) => error.retry(),
            Self::NotFound { .. } | Self::Exists { .. } | Self::Invalid { .. } | Self::Unreadable { .. } => {
                Retry::Never
            }
        }
    }

    /// A stable word for problem bodies, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Retrieval(error) => retrieval_code(error),
            Self::Inference(error) => error.code(),
            Self::NotFound { .. } => "not_found",
            Self::Exists { .. } => "already_exists",
            Self::Invalid { .. } => "invalid_field",
            Self::Unreadable { .. } => "record_unreadable",
        }
    }

    /// What the caller can do about it, where that is more than the message says.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Invalid { hint, .. } => Some(hint),
            Self::Exists { .. } => Some("choose another id, or replace the record"),
            Self::Retrieval(_) | Self::Inference(_) | Self::NotFound { .. } | Self::Unreadable { .. } => None,
        }
    }
}

/// A missing record is one situation, whichever path noticed it.
impl From<RetrievalError> for FeatureError {
    fn from(error: RetrievalError) -> Self {
        match error {
            RetrievalError::NotFound(key) => Self::not_found(&key),
            other => Self::Retrieval(other),
        }
    }
}

fn retrieval_code(error: &RetrievalError) -> &'static str {
    match error {
        RetrievalError::Store(_) => "store_unavailable",
        RetrievalError::Guard(_) | RetrievalError::Embed(_) | RetrievalError::Index { .. } => {
            "search_leg_unavailable"
        }
        RetrievalError::NotFound(_) => "not_found",
        RetrievalError::Request { .. } => "invalid_field",
        RetrievalError::Stopped => "stopping",
    }
}

/// The singular, for messages.
fn noun(corpus: Corpus) -> &'static str {
    match corpus {
        Corpus::Runbooks => "runbook",
        Corpus::Incidents => "incident",
        Corpus::Alerts => "alert",
        Corpus::Logs => "log line",
        Corpus::LogTemplates => "log template",
        Corpus::AlertGroups => "alert group",
    }
}
