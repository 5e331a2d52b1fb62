//! Credentials of an ECS task, an EKS pod, or another container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use atlas_domain::{ProviderError, Retry};
use atlas_http::{Call, Credential, HeaderName, Origin, Outbound};
use atlas_vendor::Scrubber;
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::document::{Issued, read};
use super::{ANSWER_LIMIT, LIMITS, failed, filled, unreachable};
use crate::options::{PlatformVariables, present};

const ECS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const EKS_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 23);
const EKS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23);

/// An endpoint beside the container that hands out the credentials of its role.
pub(crate) struct Container {
    name: &'static str,
    url: Url,
    token: Token,
}

enum Token {
    None,
    Literal(SecretString),
    /// Read again for every fetch: EKS replaces the file.
    File(PathBuf),
}

impl Container {
    /// The endpoint, where the platform names one.
    pub(super) fn of(platform: &PlatformVariables) -> Result<Option<Self>, ProviderError> {
        let (name, url) = if let Some(path) = present(platform.relative_uri.as_ref()) {
            ("ecs task role", relative(path)?)
        } else if let Some(text) = present(platform.full_uri.as_ref()) {
            full(text)?
        } else {
            return Ok(None);
        };
        let token = match &platform.auth_token_file {
            Some(path) if !path.as_os_str().is_empty() => Token::File(path.clone()),
            _ => match &platform.auth_token {
                Some(token) if filled(Some(token)).is_some() => Token::Literal(token.clone()),
                _ => Token::None,
            },
        };
        Ok(Some(Self { name, url, token }))
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) async fn fetch(&self, outbound: &Outbound) -> Result<Issued, ProviderError> {
        let mut call = Call::get(self.url.clone(), "aws credentials").limits(LIMITS);
        let token = self.token().await?;
        if let Some(token) = &token {
            call = self.authorize(call, token)?;
        }
        let away = "Check that this is the container the variables were made for";
        let reply = outbound.send(call).await.map_err(|error| unreachable(self.name, error, away))?;
        let status = reply.status();
        let body = reply.bytes(ANSWER_LIMIT).await.map_err(|error| unreachable(self.name, error, away))?;
        if status.is_success() {
            let fix = "Check the role of the task or pod";
            return read(&body, self.name)
                .map_err(|refused| failed(self.name, self.clean(&refused.0, &token), fix));
        }
        let words = read(&body, self.name).err().map_or_else(String::new, |refused| refused.0);
        let reason = format!("status {} ({})", status.as_u16(), self.clean(&words, &token));
        Err(match status.as_u16() {
            401 | 403 => failed(
                self.name,
                reason,
                "Check AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE or AWS_CONTAINER_AUTHORIZATION_TOKEN, and that the role trusts this task or pod",
            ),
            429 | 500..=599 => failed(self.name, reason, "It may pass").with_retry(Retry::Now),
            _ => failed(self.name, reason, "Check that the task or pod has a role"),
        })
    }

    async fn token(&self) -> Result<Option<SecretString>, ProviderError> {
        match &self.token {
            Token::None => Ok(None),
            Token::Literal(token) => Ok(Some(token.clone())),
            Token::File(path) => {
                let text = tokio::fs::read_to_string(path).await.map_err(|error| {
                    failed(
                        self.name,
                        format_args!(
                            "the authorization token file {} cannot be read ({})",
                            path.display(),
                            error.kind()
                        ),
                        "Check AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE and the mount behind it",
                    )
                })?;
                Ok(Some(text.into()))
            }
        }
    }

    fn authorize(&self, call: Call, token: &SecretString) -> Result<Call, ProviderError> {
        let origin = Origin::of(&self.url);
        let credential = origin.and_then(|origin| {
            Credential::header(origin, HeaderName::from_static("authorization"), token.expose_secret().trim())
        });
        credential.and_then(|credential| call.authorized(&credential)).map_err(|_| {
            failed(
                self.name,
                "the authorization token has characters that no header can hold",
                "Check AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE or AWS_CONTAINER_AUTHORIZATION_TOKEN",
            )
        })
    }

    fn clean(&self, words: &str, token: &Option<SecretString>) -> String {
        Scrubber::new(token).clean(words)
    }
}

fn unusable(setting: &'static str, reason: &str) -> ProviderError {
    ProviderError::setting(setting, reason)
}

fn relative(path: &str) -> Result<Url, ProviderError> {
    let setting = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    if !path.starts_with('/') {
        return Err(unusable(setting, "it does not begin with a slash"));
    }
    let url = Url::parse(&format!("http://{ECS}{path}")).map_err(|_| unusable(setting, "it is no path"))?;
    // A path cannot change the host; should one ever, the role's credentials would go there.
    if url.host() != Some(Host::Ipv4(ECS)) {
        return Err(unusable(setting, "it is no path"));
    }
    Ok(url)
}

/// What the AWS SDKs demand too: without TLS only this machine and the two known addresses are
/// told the authorization token, and only their credentials are believed.
fn full(text: &str) -> Result<(&'static str, Url), ProviderError> {
    let setting = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let url = Url::parse(text).map_err(|_| unusable(setting, "it is no URL"))?;
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::from(address)),
        _ => None,
    };
    let name = match address {
        Some(IpAddr::V4(EKS_V4)) | Some(IpAddr::V6(EKS_V6)) => "eks pod identity",
        Some(IpAddr::V4(ECS)) => "ecs task role",
        _ => "container credentials",
    };
    let is_known = name != "container credentials" || address.is_some_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok((name, url)),
        // The connector sees to it that `localhost` is this machine.
        "http" if is_known || url.host_str() == Some("localhost") => Ok((name, url)),
        _ => Err(unusable(
            setting,
            "without https only this machine, 169.254.170.2, 169.254.170.23 and fd00:ec2::23 are asked for credentials",
        )),
    }
}
