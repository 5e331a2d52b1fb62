//! What decides who we are to AWS.

use std::fmt;
use std::path::PathBuf;

use atlas_domain::ProviderError;
use atlas_http::Origin;
use secrecy::SecretString;

use crate::source::Source;

/// What decides who we are to AWS. This crate reads no environment; whoever reads the settings
/// fills this in. Blank values count as absent.
#[derive(Debug, Clone, Default)]
pub struct AwsIdentityOptions {
    /// `BYOC_REGION` or `AWS_REGION`: where STS is asked, and what requests are signed for.
    pub region: Option<String>,
    /// `AWS_USE_FIPS_ENDPOINT`.
    pub use_fips: bool,
    /// `BYOC_AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<String>,
    /// `BYOC_AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<SecretString>,
    /// `BYOC_AWS_SESSION_TOKEN`, of temporary keys.
    pub session_token: Option<SecretString>,
    /// Be the role of this task, pod or machine. Without it access keys are demanded, and the
    /// role is never asked for.
    pub use_task_role: bool,
    /// What the platform says about that role.
    pub platform: PlatformVariables,
}

/// The variables by which AWS platforms tell a process where its role's credentials are, under
/// the names the AWS SDKs read. All absent means an EC2 instance, or no AWS at all.
#[derive(Clone, Default)]
pub struct PlatformVariables {
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`: an ECS task.
    pub relative_uri: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`: EKS Pod Identity and others.
    pub full_uri: Option<String>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    pub auth_token: Option<SecretString>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`; goes before the token itself.
    pub auth_token_file: Option<PathBuf>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`: IAM roles for service accounts.
    pub web_identity_token_file: Option<PathBuf>,
    /// `AWS_ROLE_ARN`.
    pub role_arn: Option<String>,
    /// `AWS_ROLE_SESSION_NAME`.
    pub role_session_name: Option<String>,
    /// `AWS_EC2_METADATA_DISABLED`.
    pub imds_disabled: bool,
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub imds_endpoint: Option<String>,
    /// `AWS_ENDPOINT_URL_STS`.
    pub sts_endpoint: Option<String>,
}

impl fmt::Debug for PlatformVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths and roles say which source is meant; URIs may hold a credential's id.
        f.debug_struct("PlatformVariables")
            .field("relative_uri", &self.relative_uri.is_some())
            .field("full_uri", &self.full_uri.is_some())
            .field("web_identity_token_file", &self.web_identity_token_file)
            .field("role_arn", &self.role_arn)
            .field("imds_disabled", &self.imds_disabled)
            .finish_non_exhaustive()
    }
}

/// The origins that are asked for credentials. Both are empty with access keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialOrigins {
    /// Ordinary services, such as STS: the client that is handed to
    /// [`Identity::connect`](crate::Identity::connect) has to allow them.
    pub services: Vec<Origin>,
    /// Services of the platform, mostly at link-local addresses. A client of their own is for
    /// them, so that nothing that carries texts can reach them.
    pub platform: Vec<Origin>,
}

/// The origins that are asked for credentials under these options.
pub fn credential_origins(options: &AwsIdentityOptions) -> Result<CredentialOrigins, ProviderError> {
    let source = Source::choose(options)?;
    let origins: Vec<Origin> = source.origin()?.into_iter().collect();
    Ok(match source.is_on_platform() {
        true => CredentialOrigins { platform: origins, services: Vec::new() },
        false => CredentialOrigins { services: origins, platform: Vec::new() },
    })
}

/// A value that says something.
pub(crate) fn present(value: Option<&String>) -> Option<&str> {
    value.map(|text| text.trim()).filter(|text| !text.is_empty())
}
