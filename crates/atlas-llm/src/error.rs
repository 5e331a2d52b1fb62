//! Why a chat model did not answer.

use std::time::Duration;

use atlas_domain::{Fault, Retry};

/// Why a chat model did not answer. Texts hold no key, prompt, answer or URL with a query;
/// `detail` is the provider's own message, cut to 500 characters and with credentials removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LlmError {
    /// 401: the key is wrong.
    #[error("the provider refused the credentials: {detail}")]
    Credentials {
        /// The provider's words.
        detail: String,
    },
    /// 403: the key is right and may not do this.
    #[error("the credentials may not use this model or endpoint: {detail}")]
    Forbidden {
        /// The provider's words.
        detail: String,
    },
    /// 404: no such model, deployment or path.
    #[error("the provider does not know the model or path: {detail}")]
    NotFound {
        /// The provider's words.
        detail: String,
    },
    /// 400, 422: the request is not acceptable as it is.
    #[error("the provider refused the request: {detail}")]
    BadRequest {
        /// The provider's words.
        detail: String,
    },
    /// The prompt is longer than the model's context.
    #[error("the prompt does not fit the model's context window: {detail}")]
    PromptTooLong {
        /// The provider's words.
        detail: String,
    },
    /// The provider's content filter refused the prompt.
    #[error("the provider's content filter refused the request: {detail}")]
    ContentFilter {
        /// The provider's words.
        detail: String,
    },
    /// 429 that passes.
    #[error("the provider asks to slow down: {detail}")]
    Throttled {
        /// What the provider asked for.
        retry_after: Option<Duration>,
        /// The provider's words.
        detail: String,
    },
    /// 402, 429 that does not pass: the account has no credit or is over its limit.
    #[error("the account is over its quota or out of credit: {detail}")]
    Quota {
        /// The provider's words.
        detail: String,
    },
    /// 503, 529: the provider has no capacity.
    #[error("the provider is overloaded: {detail}")]
    Overloaded {
        /// What the provider asked for.
        retry_after: Option<Duration>,
        /// The provider's words.
        detail: String,
    },
    /// 5xx: the provider failed.
    #[error("the provider failed: {detail}")]
    Server {
        /// The provider's words.
        detail: String,
    },
    /// No connection: name, address, TLS.
    #[error("the provider cannot be reached: {detail}")]
    Network {
        /// What failed, without addresses of ours.
        detail: String,
    },
    /// A time limit passed.
    #[error("the provider did not answer in time ({limit})")]
    Timeout {
        /// Which limit: connect, first token, idle.
        limit: &'static str,
    },
    /// The egress policy refused the destination.
    #[error("the egress policy does not allow this destination: {detail}")]
    Egress {
        /// Which rule.
        detail: String,
    },
    /// The stream ended or broke before the answer did.
    #[error("the stream ended before the answer did")]
    CutShort,
    /// The answer is not of the provider's protocol.
    #[error("the provider's answer is not understood: {detail}")]
    Protocol {
        /// What was wrong.
        detail: String,
    },
    /// The settings cannot work.
    #[error("{setting} is not usable: {reason}")]
    Settings {
        /// The setting's name.
        setting: &'static str,
        /// Why, and what to do.
        reason: String,
    },
}

impl LlmError {
    /// A stable word for problem bodies, metrics and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Credentials { .. } => "provider_credentials",
            Self::Forbidden { .. } => "provider_forbidden",
            Self::NotFound { .. } => "provider_model_not_found",
            Self::BadRequest { .. } => "provider_bad_request",
            Self::PromptTooLong { .. } => "prompt_too_long",
            Self::ContentFilter { .. } => "provider_content_filter",
            Self::Throttled { .. } => "provider_throttled",
            Self::Quota { .. } => "provider_quota",
            Self::Overloaded { .. } => "provider_overloaded",
            Self::Server { .. } => "provider_error",
            Self::Network { .. } => "provider_unreachable",
            Self::Timeout { .. } => "provider_timeout",
            Self::Egress { .. } => "egress_denied",
            Self::CutShort => "provider_stream_interrupted",
            Self::Protocol { .. } => "provider_protocol",
            Self::Settings { .. } => "provider_settings",
        }
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Credentials { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::Quota { .. }
            | Self::Egress { .. }
            | Self::Settings { .. } => Fault::Settings,
            Self::PromptTooLong { .. } | Self::ContentFilter { .. } => Fault::Caller,
            Self::BadRequest { .. } => Fault::Ourselves,
            Self::Throttled { .. }
            | Self::Overloaded { .. }
            | Self::Server { .. }
            | Self::Network { .. }
            | Self::Timeout { .. }
            | Self::CutShort
            | Self::Protocol { .. } => Fault::Upstream,
        }
    }

    /// Whether the same request may be sent again, given that nothing of an answer was delivered.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Throttled { retry_after, .. } | Self::Overloaded { retry_after, .. } => {
                retry_after.map_or(Retry::Now, Retry::After)
            }
            Self::Server { .. } | Self::Network { .. } | Self::Timeout { .. } => Retry::Now,
            Self::Credentials { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::BadRequest { .. }
            | Self::PromptTooLong { .. }
            | Self::ContentFilter { .. }
            | Self::Quota { .. }
            | Self::Egress { .. }
            | Self::CutShort
            | Self::Protocol { .. }
            | Self::Settings { .. } => Retry::Never,
        }
    }
}
