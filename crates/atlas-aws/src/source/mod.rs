//! Where credentials come from: which source it is, and how it is asked.

mod container;
mod document;
mod instance;
mod web_identity;

use std::fmt;
use std::time::Duration;

use atlas_domain::{ProviderError, ProviderErrorKind as Kind, Retry};
use atlas_http::{HttpError, Limits, Origin, Outbound};
use atlas_vendor::from_http;
use aws_credential_types::Credentials;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::options::{AwsIdentityOptions, present};
use container::Container;
pub(crate) use document::Issued;
use instance::Instance;
use web_identity::WebIdentity;

/// These services are a hop away and answer from memory; waiting longer means they are not there.
const LIMITS: Limits = Limits {
    first_token: Duration::from_secs(5),
    idle: Duration::from_secs(5),
    total: Some(Duration::from_secs(10)),
};
/// Credential documents are a page long.
const ANSWER_LIMIT: usize = 64 * 1024;

/// The one place credentials come from.
pub(crate) enum Source {
    AccessKeys(Credentials),
    Container(Container),
    WebIdentity(WebIdentity),
    Instance(Instance),
}

impl Source {
    /// The first source that is configured. Nothing is tried: whether it works is another
    /// question, and its failure is an error rather than a reason to become somebody else.
    pub(crate) fn choose(options: &AwsIdentityOptions) -> Result<Self, ProviderError> {
        if !options.use_task_role {
            return access_keys(options).map(Self::AccessKeys);
        }
        let platform = &options.platform;
        if let Some(container) = Container::of(platform)? {
            return Ok(Self::Container(container));
        }
        if let Some(web_identity) = WebIdentity::of(platform, options.region.as_ref())? {
            return Ok(Self::WebIdentity(web_identity));
        }
        Instance::of(platform).map(Self::Instance)
    }

    /// What the connection test calls it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::AccessKeys(_) => "access keys",
            Self::Container(container) => container.name(),
            Self::WebIdentity(_) => "web identity (irsa)",
            Self::Instance(_) => "instance role",
        }
    }

    fn url(&self) -> Option<&Url> {
        match self {
            Self::AccessKeys(_) => None,
            Self::Container(container) => Some(container.url()),
            Self::WebIdentity(web_identity) => Some(web_identity.url()),
            Self::Instance(instance) => Some(instance.url()),
        }
    }

    /// The origin that is asked.
    pub(crate) fn origin(&self) -> Result<Option<Origin>, ProviderError> {
        let origin = self.url().map(Origin::of).transpose();
        origin.map_err(|error| failed(self.name(), error.to_string(), "Check its address."))
    }

    /// Whether it is a service of the platform, beside this process and not behind any proxy.
    pub(crate) fn is_on_platform(&self) -> bool {
        match self {
            Self::AccessKeys(_) | Self::WebIdentity(_) => false,
            Self::Container(container) => container.url().scheme() == "http",
            Self::Instance(_) => true,
        }
    }

    /// Asks for credentials. Access keys are not asked for.
    pub(crate) async fn fetch(&self, outbound: &Outbound) -> Result<Issued, ProviderError> {
        match self {
            Self::AccessKeys(credentials) => Ok(Issued { credentials: credentials.clone(), who: None }),
            Self::Container(container) => container.fetch(outbound).await,
            Self::WebIdentity(web_identity) => web_identity.fetch(outbound).await,
            Self::Instance(instance) => instance.fetch(outbound).await,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn access_keys(options: &AwsIdentityOptions) -> Result<Credentials, ProviderError> {
    let absent = |setting| {
        ProviderError::setting(
            setting,
            "it is not set; give access keys, or ask for the task role with TP_BEDROCK_USE_TASK_ROLE=1",
        )
    };
    let id = present(options.access_key_id.as_ref()).ok_or_else(|| absent("BYOC_AWS_ACCESS_KEY_ID"))?;
    let secret = filled(options.secret_access_key.as_ref());
    let secret = secret.ok_or_else(|| absent("BYOC_AWS_SECRET_ACCESS_KEY"))?;
    // Both end up in headers, or sign them.
    if !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(ProviderError::setting("BYOC_AWS_ACCESS_KEY_ID", "it has characters that no key ID has"));
    }
    let token = filled(options.session_token.as_ref());
    if token.is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
        return Err(ProviderError::setting("BYOC_AWS_SESSION_TOKEN", "it has characters that no token has"));
    }
    Ok(Credentials::new(id, secret, token.map(str::to_owned), None, "settings"))
}

fn filled(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(|secret| secret.expose_secret().trim()).filter(|secret| !secret.is_empty())
}

/// A source that was asked and gave nothing: which one, why, and what to do. Its being away is
/// not the provider's being away, so it never counts as that.
fn failed(source: &'static str, reason: impl fmt::Display, fix: &str) -> ProviderError {
    ProviderError::new(Kind::Credentials, format!("{source}: {reason}. {fix}"))
}

/// A source that could not be asked.
fn unreachable(source: &'static str, error: HttpError, fix: &str) -> ProviderError {
    let retry = if error.retry() { Retry::Now } else { Retry::Never };
    match error {
        HttpError::Denied { .. } | HttpError::ForeignCredential { .. } => from_http(error),
        error => failed(source, error, fix).with_retry(retry),
    }
}

#[cfg(test)]
mod tests;
