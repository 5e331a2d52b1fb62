//! Who we are on AWS, as the settings and the platform say.

use atlas_aws::{AwsIdentityOptions, PlatformVariables};
use atlas_config::{ExposeSecret, Settings};

/// The identity for chat (`region`: `BYOC_REGION`) or embeddings (`EMBEDDING_REGION`): the same
/// keys or the same role for both.
pub(super) fn identity(settings: &Settings, region: Option<&String>) -> AwsIdentityOptions {
    let (bedrock, aws) = (&settings.byoc.bedrock, &settings.aws);
    AwsIdentityOptions {
        region: region.cloned(),
        use_fips: false,
        access_key_id: bedrock.access_key_id.as_ref().map(|id| id.expose_secret().to_owned()),
        secret_access_key: bedrock.secret_access_key.clone(),
        session_token: bedrock.session_token.clone(),
        use_task_role: bedrock.use_task_role,
        platform: PlatformVariables {
            relative_uri: aws.container_credentials_relative_uri.clone(),
            full_uri: aws.container_credentials_full_uri.clone(),
            auth_token: aws.container_authorization_token.clone(),
            auth_token_file: aws.container_authorization_token_file.clone(),
            web_identity_token_file: aws.web_identity_token_file.clone(),
            role_arn: aws.role_arn.clone(),
            role_session_name: aws.role_session_name.clone(),
            imds_disabled: aws.ec2_metadata_disabled,
            imds_endpoint: aws.ec2_metadata_endpoint.as_ref().map(ToString::to_string),
            sts_endpoint: aws.sts_endpoint.as_ref().map(ToString::to_string),
        },
    }
}
