//! Credentials for a service account of a cluster (IRSA): its token is exchanged at STS.

use std::path::PathBuf;

use atlas_domain::{ProviderError, Retry};
use atlas_http::{Call, Method, Outbound};
use atlas_vendor::Scrubber;
use aws_credential_types::Credentials;
use secrecy::SecretString;
use url::Url;
use url::form_urlencoded::Serializer;

use super::document::{Issued, time};
use super::{ANSWER_LIMIT, LIMITS, failed, unreachable};
use crate::options::{PlatformVariables, present};
use crate::region;
use crate::xml::element;

const NAME: &str = "web identity (irsa)";
const AWAY: &str =
    "Check that the region's STS endpoint can be reached, or name a VPC endpoint with AWS_ENDPOINT_URL_STS";

/// A token in a file and the role it is good for.
pub(crate) struct WebIdentity {
    url: Url,
    token_file: PathBuf,
    role_arn: String,
    session_name: String,
}

impl WebIdentity {
    /// The exchange, where the platform has put a token file.
    pub(super) fn of(
        platform: &PlatformVariables,
        region: Option<&String>,
    ) -> Result<Option<Self>, ProviderError> {
        let token_file = platform.web_identity_token_file.as_ref();
        let Some(token_file) = token_file.filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(None);
        };
        let role_arn = present(platform.role_arn.as_ref()).ok_or_else(|| {
            ProviderError::setting(
                "AWS_ROLE_ARN",
                "it is not set, and AWS_WEB_IDENTITY_TOKEN_FILE is nothing without it",
            )
        })?;
        let url = match present(platform.sts_endpoint.as_ref()) {
            None => region::sts(region::check(region)?)?,
            Some(text) => Url::parse(text)
                .ok()
                .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
                .ok_or_else(|| ProviderError::setting("AWS_ENDPOINT_URL_STS", "it is no URL of a host"))?,
        };
        let session_name = present(platform.role_session_name.as_ref()).unwrap_or("atlasai-byoc");
        Ok(Some(Self {
            url,
            token_file: token_file.clone(),
            role_arn: role_arn.to_owned(),
            session_name: session_name.to_owned(),
        }))
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) async fn fetch(&self, outbound: &Outbound) -> Result<Issued, ProviderError> {
        // Read every time: the cluster replaces it long before it ends.
        let token = tokio::fs::read_to_string(&self.token_file).await.map_err(|error| {
            failed(
                NAME,
                format_args!(
                    "the token file {} cannot be read ({})",
                    self.token_file.display(),
                    error.kind()
                ),
                "Check AWS_WEB_IDENTITY_TOKEN_FILE, and that the pod has the service account with the role",
            )
        })?;
        let token = SecretString::from(token);
        let reply =
            outbound.send(self.call(&token)?).await.map_err(|error| unreachable(NAME, error, AWAY))?;
        let status = reply.status().as_u16();
        let body = reply.bytes(ANSWER_LIMIT).await.map_err(|error| unreachable(NAME, error, AWAY))?;
        let body = String::from_utf8_lossy(&body);
        if status == 200 {
            let issued = read(&body)
                .map_err(|missing| failed(NAME, format_args!("the answer of STS has no {missing}"), AWAY));
            return issued;
        }
        let code = element(&body, "Code").unwrap_or_default();
        let message = element(&body, "Message").unwrap_or_default();
        let words = Scrubber::new([&token]).clean(&format!("{code}: {message}"));
        let error = failed(NAME, format_args!("STS refused with status {status} ({words})"), fix(&code));
        let passes = matches!(code.as_str(), "IDPCommunicationError" | "Throttling" | "ThrottlingException");
        Err(if passes || status >= 500 { error.with_retry(Retry::Now) } else { error })
    }

    fn call(&self, token: &SecretString) -> Result<Call, ProviderError> {
        use secrecy::ExposeSecret as _;
        let form = Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("RoleArn", &self.role_arn)
            .append_pair("RoleSessionName", &self.session_name)
            .append_pair("WebIdentityToken", token.expose_secret().trim())
            .finish();
        let call = Call::new(Method::POST, self.url.clone(), "aws credentials")
            .body(form.into())
            .limits(LIMITS)
            .header("content-type", "application/x-www-form-urlencoded");
        call.map_err(|error| unreachable(NAME, error, AWAY))
    }
}

fn fix(code: &str) -> &'static str {
    match code {
        "AccessDenied" => {
            "The role's trust policy has to name the cluster's identity provider and this service account"
        }
        "InvalidIdentityToken" | "InvalidIdentityTokenException" => {
            "The account has to have the cluster's identity provider, and the token its audience"
        }
        "ExpiredTokenException" => "The token in AWS_WEB_IDENTITY_TOKEN_FILE is not renewed; check the mount",
        _ => "Check AWS_ROLE_ARN and the role's trust policy",
    }
}

/// Reads STS's answer, or says what is missing in it.
fn read(xml: &str) -> Result<Issued, &'static str> {
    let expiration = element(xml, "Expiration").and_then(|text| time(&text)).ok_or("Expiration")?;
    let credentials = Credentials::new(
        element(xml, "AccessKeyId").ok_or("AccessKeyId")?,
        element(xml, "SecretAccessKey").ok_or("SecretAccessKey")?,
        Some(element(xml, "SessionToken").ok_or("SessionToken")?),
        Some(expiration),
        NAME,
    );
    Ok(Issued { credentials, who: element(xml, "Arn") })
}
