//! Why something outside this process did not answer.
//!
//! Chat models, embedding engines and the control plane fail in the same ways, and whoever reads
//! such an error asks the same questions: who has to act, may it be tried again, what did the
//! other side say. So there is one type for all of them.

use std::fmt;
use std::time::Duration;

use crate::fault::{Fault, Retry};

/// What happened, as something a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderErrorKind {
    /// 401: the credentials are wrong.
    Credentials,
    /// 403: the credentials are right and may not do this.
    Forbidden,
    /// 404: no such model, deployment or path.
    NotFound,
    /// 400, 422: the request is not acceptable as it is.
    BadRequest,
    /// The prompt is longer than the model's context.
    PromptTooLong,
    /// The provider's content filter refused the request.
    ContentFilter,
    /// 429 that passes.
    Throttled,
    /// 402, 429 that does not pass: the account has no credit or is over its limit.
    Quota,
    /// 409: something else was in the way; it passes.
    Conflict,
    /// 503, 529: no capacity.
    Overloaded,
    /// 5xx: the provider failed.
    Server,
    /// No connection: name, address, proxy, TLS.
    Network,
    /// A time limit passed, ours or the provider's.
    Timeout,
    /// The egress policy refused the destination.
    Egress,
    /// The answer ended or broke before it was whole.
    CutShort,
    /// The answer is not of the provider's protocol.
    Protocol,
    /// The settings cannot work.
    Settings,
}

impl ProviderErrorKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 17] = [
        Self::Credentials,
        Self::Forbidden,
        Self::NotFound,
        Self::BadRequest,
        Self::PromptTooLong,
        Self::ContentFilter,
        Self::Throttled,
        Self::Quota,
        Self::Conflict,
        Self::Overloaded,
        Self::Server,
        Self::Network,
        Self::Timeout,
        Self::Egress,
        Self::CutShort,
        Self::Protocol,
        Self::Settings,
    ];

    /// A stable word for problem bodies, metrics and tests.
    pub fn code(self) -> &'static str {
        match self {
            Self::Credentials => "provider_credentials",
            Self::Forbidden => "provider_forbidden",
            Self::NotFound => "provider_model_not_found",
            Self::BadRequest => "provider_bad_request",
            Self::PromptTooLong => "prompt_too_long",
            Self::ContentFilter => "provider_content_filter",
            Self::Throttled => "provider_throttled",
            Self::Quota => "provider_quota",
            Self::Conflict => "provider_conflict",
            Self::Overloaded => "provider_overloaded",
            Self::Server => "provider_error",
            Self::Network => "provider_unreachable",
            Self::Timeout => "provider_timeout",
            Self::Egress => "egress_denied",
            Self::CutShort => "provider_stream_interrupted",
            Self::Protocol => "provider_protocol",
            Self::Settings => "provider_settings",
        }
    }

    /// What happened, in our words: nothing of the provider's, so it may be shown to anyone.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Credentials => "the provider refused the credentials",
            Self::Forbidden => "the credentials may not use this model or endpoint",
            Self::NotFound => "the provider does not know the model or path",
            Self::BadRequest => "the provider refused the request",
            Self::PromptTooLong => "the prompt does not fit the model's context window",
            Self::ContentFilter => "the provider's content filter refused the request",
            Self::Throttled => "the provider asks to slow down",
            Self::Quota => "the account is over its quota or out of credit",
            Self::Conflict => "the provider was busy with a conflicting request",
            Self::Overloaded => "the provider is overloaded",
            Self::Server => "the provider failed",
            Self::Network => "the provider cannot be reached",
            Self::Timeout => "the provider did not answer in time",
            Self::Egress => "the egress policy does not allow this destination",
            Self::CutShort => "the answer ended before it was whole",
            Self::Protocol => "the provider's answer is not understood",
            Self::Settings => "the settings cannot work",
        }
    }

    /// Who has to act.
    pub fn fault(self) -> Fault {
        match self {
            Self::Credentials
            | Self::Forbidden
            | Self::NotFound
            | Self::Quota
            | Self::Egress
            | Self::Settings => Fault::Settings,
            Self::PromptTooLong | Self::ContentFilter => Fault::Caller,
            Self::BadRequest => Fault::Ourselves,
            Self::Throttled
            | Self::Conflict
            | Self::Overloaded
            | Self::Server
            | Self::Network
            | Self::Timeout
            | Self::CutShort
            | Self::Protocol => Fault::Upstream,
        }
    }

    /// Whether the provider is down, rather than saying no: what a fallback may be allowed for,
    /// and what speaks against the provider when failures are counted.
    pub fn is_unavailable(self) -> bool {
        match self {
            Self::Overloaded | Self::Server | Self::Network | Self::Timeout | Self::CutShort => true,
            Self::Credentials
            | Self::Forbidden
            | Self::NotFound
            | Self::BadRequest
            | Self::PromptTooLong
            | Self::ContentFilter
            | Self::Throttled
            | Self::Quota
            | Self::Conflict
            | Self::Egress
            | Self::Protocol
            | Self::Settings => false,
        }
    }

    /// Whether the same request may be sent again, given that nothing of an answer was delivered
    /// and that the provider said nothing about it.
    fn retry(self) -> Retry {
        match self {
            Self::Throttled
            | Self::Conflict
            | Self::Overloaded
            | Self::Server
            | Self::Network
            | Self::Timeout => Retry::Now,
            Self::Credentials
            | Self::Forbidden
            | Self::NotFound
            | Self::BadRequest
            | Self::PromptTooLong
            | Self::ContentFilter
            | Self::Quota
            | Self::Egress
            | Self::CutShort
            | Self::Protocol
            | Self::Settings => Retry::Never,
        }
    }
}

/// Why something outside this process did not answer. No text in it holds a key, a prompt, an
/// answer or a URL with a query; `detail` may be the provider's own message, scrubbed and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderError {
    kind: ProviderErrorKind,
    detail: String,
    retry: Option<Retry>,
    setting: Option<&'static str>,
    status: Option<u16>,
    request_id: Option<String>,
}

impl ProviderError {
    /// An error with its detail: the provider's words or ours, free of secrets.
    pub fn new(kind: ProviderErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry: None, setting: None, status: None, request_id: None }
    }

    /// A setting that cannot work, and why.
    pub fn setting(name: &'static str, reason: impl Into<String>) -> Self {
        Self { setting: Some(name), ..Self::new(ProviderErrorKind::Settings, reason) }
    }

    /// The answer ended before it was whole.
    pub fn cut_short() -> Self {
        Self::new(ProviderErrorKind::CutShort, "the stream ended before the answer did")
    }

    /// A time limit of ours passed; `limit` names it: connect, first token, idle, total.
    pub fn timeout(limit: &str) -> Self {
        Self::new(ProviderErrorKind::Timeout, format!("limit: {limit}"))
    }

    /// With the provider's own wish about a repetition.
    pub fn with_retry(self, retry: Retry) -> Self {
        Self { retry: Some(retry), ..self }
    }

    /// To be repeated after this time, where the provider named one and the kind passes at all.
    pub fn with_retry_after(self, wait: Option<Duration>) -> Self {
        match wait {
            Some(wait) if self.retry() != Retry::Never => self.with_retry(Retry::After(wait)),
            _ => self,
        }
    }

    /// With the HTTP status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status: Some(status), ..self }
    }

    /// With the provider's id of the request.
    pub fn with_request_id(self, request_id: Option<String>) -> Self {
        Self { request_id, ..self }
    }

    /// What happened.
    pub fn kind(&self) -> ProviderErrorKind {
        self.kind
    }

    /// The provider's words, or ours where the failure is on our side of the connection.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The setting to correct, where it is one setting.
    pub fn named_setting(&self) -> Option<&'static str> {
        self.setting
    }

    /// The HTTP status, where there was one.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// The provider's id of the request, for its support.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// A stable word for problem bodies, metrics and tests.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        self.kind.fault()
    }

    /// Whether the same request may be sent again, given that nothing of an answer was delivered.
    pub fn retry(&self) -> Retry {
        self.retry.unwrap_or_else(|| self.kind.retry())
    }

    /// Whether the provider is down, rather than saying no.
    pub fn is_unavailable(&self) -> bool {
        self.kind.is_unavailable()
    }

    /// What happened, without the provider's own words: a connection test must not become a way
    /// to read what stands behind an address. Where nothing spoke the words are ours, and stay.
    pub fn summary(&self) -> String {
        use ProviderErrorKind::{CutShort, Egress, Network, Settings, Timeout};
        match (self.kind, self.status) {
            (Network | Timeout | Egress | CutShort | Settings, None) => self.to_string(),
            (kind, _) => kind.sentence().to_owned(),
        }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.setting {
            Some(setting) => write!(f, "{setting} is not usable: {}", self.detail),
            None if self.detail.is_empty() => f.write_str(self.kind.sentence()),
            None => write!(f, "{}: {}", self.kind.sentence(), self.detail),
        }
    }
}

impl std::error::Error for ProviderError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        let mut codes: Vec<_> = ProviderErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ProviderErrorKind::ALL.len());
    }

    #[test]
    fn what_is_unavailable_is_the_providers_fault() {
        for kind in ProviderErrorKind::ALL.into_iter().filter(|kind| kind.is_unavailable()) {
            assert_eq!(kind.fault(), Fault::Upstream, "{kind:?}");
        }
    }

    #[test]
    fn a_wait_does_not_make_the_final_passing() {
        let wait = Some(Duration::from_secs(3));
        let quota = ProviderError::new(ProviderErrorKind::Quota, "").with_retry_after(wait);
        assert_eq!(quota.retry(), Retry::Never);
        let throttled = ProviderError::new(ProviderErrorKind::Throttled, "").with_retry_after(wait);
        assert_eq!(throttled.retry(), Retry::After(Duration::from_secs(3)));
    }

    #[test]
    fn a_setting_is_named_in_the_text() {
        let error = ProviderError::setting("BYOC_MODEL", "it is empty");
        assert_eq!(error.to_string(), "BYOC_MODEL is not usable: it is empty");
        assert_eq!(error.named_setting(), Some("BYOC_MODEL"));
    }
}
