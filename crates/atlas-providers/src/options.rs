//! What the settings say about a provider.

use std::sync::Arc;
use std::time::Duration;

use atlas_aws::AwsIdentityOptions;
use atlas_http::Limits;
use atlas_vendor::Catalog;
use secrecy::SecretString;

/// Which of OpenAI's two request APIs is used (`BYOC_API`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ApiChoice {
    /// By model: Responses where chat completions refuse tools.
    #[default]
    Auto,
    /// Chat completions.
    Chat,
    /// Responses.
    Responses,
}

/// Time limits as the settings have them; what is not set depends on the provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeLimits {
    /// `BYOC_FIRST_TOKEN_TIMEOUT`.
    pub first_token: Option<Duration>,
    /// `BYOC_IDLE_TIMEOUT`.
    pub idle: Option<Duration>,
    /// `BYOC_REQUEST_TIMEOUT`.
    pub total: Option<Duration>,
}

impl TimeLimits {
    /// The limits of a call, given how long this provider may take to begin.
    pub(crate) fn over(self, first_token: Duration) -> Limits {
        Limits {
            first_token: self.first_token.unwrap_or(first_token),
            idle: self.idle.unwrap_or(Duration::from_secs(60)),
            total: Some(self.total.unwrap_or(Duration::from_secs(600))),
        }
    }
}

/// What the settings say about a provider, as they were written. `Debug` shows no key.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `BYOC_ENDPOINT_URL`.
    pub endpoint_url: Option<String>,
    /// `BYOC_API_KEY`: sent to the endpoint's origin and nowhere else.
    pub api_key: Option<SecretString>,
    /// `BYOC_AUTH_HEADER`: the header that carries the key instead of the provider's usual one.
    pub auth_header: Option<String>,
    /// `BYOC_API_KEY_ORG`.
    pub organization: Option<String>,
    /// `BYOC_API`.
    pub api: ApiChoice,
    /// `BYOC_AZURE_API_VERSION`: selects Azure's classic URLs.
    pub azure_api_version: Option<String>,
    /// `BYOC_CONTEXT_TOKENS`: the context to ask a server of one's own for.
    pub context_tokens: Option<u32>,
    /// Who `bedrock` is, and in which region.
    pub aws: AwsIdentityOptions,
    /// Time limits.
    pub limits: TimeLimits,
    /// Facts about models.
    pub catalog: Arc<Catalog>,
}

/// A setting without blanks; `None` when nothing is left.
pub(crate) fn filled(setting: Option<&str>) -> Option<&str> {
    setting.map(str::trim).filter(|text| !text.is_empty())
}
