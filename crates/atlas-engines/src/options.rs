//! What the settings say about an engine.

use std::sync::Arc;

use atlas_aws::AwsIdentityOptions;
use atlas_vendor::Catalog;
use secrecy::SecretString;

use crate::LocalOptions;

/// What any engine may need to know; each reads its own part.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// For `local`.
    pub local: LocalOptions,
    /// For engines outside this process.
    pub remote: RemoteOptions,
}

/// What the settings say about an engine outside this process, as they were written. `Debug`
/// shows no key.
#[derive(Debug, Clone, Default)]
pub struct RemoteOptions {
    /// `EMBEDDING_ENDPOINT_URL`.
    pub endpoint_url: Option<String>,
    /// `EMBEDDING_API_KEY`: sent to the endpoint's origin and nowhere else.
    pub api_key: Option<SecretString>,
    /// `OPENAI_API_KEY`: for `openai` where the other is not set, and for nothing else.
    pub openai_api_key: Option<SecretString>,
    /// `EMBEDDING_MODEL`; for `azure` the name of the deployment.
    pub model: Option<String>,
    /// `EMBEDDING_DIMENSIONS`.
    pub dimensions: Option<usize>,
    /// `EMBEDDING_REGION`.
    pub region: Option<String>,
    /// Who `bedrock` is, and in which region where the other is not set.
    pub aws: AwsIdentityOptions,
    /// `BYOC_AZURE_API_VERSION`: selects Azure's classic URLs.
    pub azure_api_version: Option<String>,
    /// Facts about models.
    pub catalog: Arc<Catalog>,
}

/// A setting without blanks; `None` when nothing is left.
pub(crate) fn filled(setting: Option<&String>) -> Option<&str> {
    setting.map(|text| text.trim()).filter(|text| !text.is_empty())
}
