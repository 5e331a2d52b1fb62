//! Credentials of an EC2 instance, by version 2 of its metadata service.
//!
//! Version 1 answers any GET, so a server that can be talked into fetching a URL gives its
//! credentials away. It is not spoken, not even when nothing else is.

use atlas_domain::{ProviderError, ProviderErrorKind as Kind, Retry};
use atlas_http::{Bytes, Call, Method, Outbound, StatusCode};
use atlas_vendor::Scrubber;
use url::Url;

use super::document::{Issued, read};
use super::{ANSWER_LIMIT, LIMITS, failed, unreachable};
use crate::options::{PlatformVariables, present};

const NAME: &str = "instance role";
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

/// The metadata service of the machine.
pub(crate) struct Instance {
    base: Url,
}

impl Instance {
    /// The metadata service, unless it is not to be asked.
    pub(super) fn of(platform: &PlatformVariables) -> Result<Self, ProviderError> {
        if platform.imds_disabled {
            return Err(ProviderError::new(
                Kind::Settings,
                "no task role is configured: this is no ECS task (AWS_CONTAINER_CREDENTIALS_RELATIVE_URI), has no EKS Pod Identity (AWS_CONTAINER_CREDENTIALS_FULL_URI) and no IRSA (AWS_WEB_IDENTITY_TOKEN_FILE), and AWS_EC2_METADATA_DISABLED is true",
            ));
        }
        let text = present(platform.imds_endpoint.as_ref()).unwrap_or("http://169.254.169.254");
        let unusable =
            || ProviderError::setting("AWS_EC2_METADATA_SERVICE_ENDPOINT", "it is no URL of a host");
        let mut base = Url::parse(text).map_err(|_| unusable())?;
        if !base.has_host() || !matches!(base.scheme(), "http" | "https") {
            return Err(unusable());
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        base.set_query(None);
        base.set_fragment(None);
        Ok(Self { base })
    }

    pub(super) fn url(&self) -> &Url {
        &self.base
    }

    pub(super) async fn fetch(&self, outbound: &Outbound) -> Result<Issued, ProviderError> {
        let token = self.token(outbound).await?;
        let (status, body) = self.get(outbound, ROLES, &token).await?;
        if status == StatusCode::NOT_FOUND {
            return Err(failed(NAME, "the instance has no role", "Attach an instance profile"));
        }
        let role = String::from_utf8_lossy(&body).lines().next().unwrap_or_default().trim().to_owned();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
        if !status.is_success() || role.is_empty() || !role.chars().all(is_name) {
            return Err(refused(status, "no role was named"));
        }
        let (status, body) = self.get(outbound, &format!("{ROLES}{role}"), &token).await?;
        if !status.is_success() {
            return Err(refused(status, "no credentials were given"));
        }
        let issued = read(&body, NAME).map_err(|words| {
            failed(NAME, Scrubber::default().clean(&words.0), "Check the trust policy of the instance's role")
        })?;
        Ok(Issued { who: issued.who.or(Some(role)), ..issued })
    }

    /// The session token without which version 2 says nothing.
    async fn token(&self, outbound: &Outbound) -> Result<String, ProviderError> {
        let call = Call::new(Method::PUT, self.at("latest/api/token"), "aws credentials")
            .body(Bytes::new())
            .limits(LIMITS)
            .header("x-aws-ec2-metadata-token-ttl-seconds", "300")
            .map_err(away)?;
        let reply = outbound.send(call).await.map_err(away)?;
        let status = reply.status();
        let body = reply.bytes(ANSWER_LIMIT).await.map_err(away)?;
        let token = String::from_utf8_lossy(&body).trim().to_owned();
        if status.is_success() && !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(token);
        }
        if status.as_u16() == 429 || status.is_server_error() {
            return Err(refused(status, "no session token was given"));
        }
        Err(failed(
            NAME,
            format_args!(
                "no session token was given (status {}): version 2 of the metadata service is needed",
                status.as_u16()
            ),
            "Allow IMDSv2 on the instance; version 1 is never asked",
        ))
    }

    async fn get(
        &self,
        outbound: &Outbound,
        path: &str,
        token: &str,
    ) -> Result<(StatusCode, Bytes), ProviderError> {
        let call = Call::get(self.at(path), "aws credentials")
            .limits(LIMITS)
            .header("x-aws-ec2-metadata-token", token)
            .map_err(away)?;
        let reply = outbound.send(call).await.map_err(away)?;
        let status = reply.status();
        Ok((status, reply.bytes(ANSWER_LIMIT).await.map_err(away)?))
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        url
    }
}

fn away(error: atlas_http::HttpError) -> ProviderError {
    unreachable(
        NAME,
        error,
        "Elsewhere than on EC2 give access keys instead; in a container on EC2 raise the hop limit of the metadata service to 2",
    )
}

fn refused(status: StatusCode, reason: &str) -> ProviderError {
    let error =
        failed(NAME, format_args!("{reason} (status {})", status.as_u16()), "Check the instance profile");
    if status.as_u16() == 429 || status.is_server_error() { error.with_retry(Retry::Now) } else { error }
}
