//! The snapshot.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use secrecy::SecretString;
use serde::Serialize;
use url::Url;

use crate::read::Reader;
use crate::{SETTINGS, SettingError, Source};

/// Where a setting's value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// An environment variable.
    Environment,
    /// An argument of the command line.
    CommandLine,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// All settings, read once. Secrets are [`SecretString`], so `Debug` shows none of them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Directory that holds all data.
    pub data_dir: PathBuf,
    /// Bearer token for the API.
    pub admin_token: Option<SecretString>,
    /// Log filter.
    pub log: String,
    /// Form of log lines.
    pub log_format: LogFormat,
    /// The chat provider.
    pub byoc: ByocSettings,
    /// The embedding engine.
    pub embedding: EmbeddingSettings,
    /// The control plane.
    pub control_plane: ControlPlaneSettings,
    /// Variables that look like settings of ours and are none: probably misspelt.
    pub unknown: Vec<String>,
    origins: BTreeMap<&'static str, Origin>,
}

/// The chat provider's settings, as they were written.
#[derive(Debug, Clone)]
pub struct ByocSettings {
    /// `BYOC_PROVIDER`; `None`: no AI answers.
    pub provider: Option<String>,
    /// `BYOC_API_KEY`.
    pub api_key: Option<SecretString>,
    /// `BYOC_API_KEY_ORG`.
    pub organisation: Option<String>,
    /// `BYOC_ENDPOINT_URL`: http or https, without credentials, query or fragment.
    pub endpoint: Option<Url>,
    /// `BYOC_MODEL`.
    pub model: Option<String>,
    /// `BYOC_REGION`, else `AWS_REGION`.
    pub region: Option<String>,
    /// What only `bedrock` reads.
    pub bedrock: BedrockSettings,
}

/// What only the provider `bedrock` reads.
#[derive(Debug, Clone)]
pub struct BedrockSettings {
    /// `BYOC_AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<SecretString>,
    /// `BYOC_AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<SecretString>,
    /// `TP_BEDROCK_USE_TASK_ROLE`.
    pub use_task_role: bool,
    /// `TP_BEDROCK_MODEL_ID`.
    pub model_id: Option<String>,
}

/// The embedding engine's settings.
#[derive(Debug, Clone)]
pub struct EmbeddingSettings {
    /// `EMBEDDING_PROVIDER`.
    pub provider: String,
    /// `EMBEDDING_MODEL_PATH`.
    pub model_path: Option<PathBuf>,
    /// `EMBEDDING_THREADS`.
    pub threads: Option<NonZeroUsize>,
    /// `OPENAI_API_KEY`.
    pub openai_api_key: Option<SecretString>,
}

/// The control plane's settings.
#[derive(Debug, Clone)]
pub struct ControlPlaneSettings {
    /// `CP_ENDPOINT_URL`.
    pub endpoint: Option<Url>,
    /// `CP_TOKEN`.
    pub token: Option<SecretString>,
    /// `AI_CREDITS_FAIL_OPEN`.
    pub credits_fail_open: bool,
}

impl Settings {
    /// Reads and checks every setting.
    pub fn read(source: &dyn Source) -> Result<Self, SettingError> {
        let mut reader = Reader::new(source);
        let region = reader.text("BYOC_REGION")?;
        let aws_region = reader.text("AWS_REGION")?;
        Ok(Self {
            listen: reader.address("TP_LISTEN")?,
            data_dir: reader.required("TP_DATA_DIR")?.into(),
            admin_token: reader.secret("ADMIN_TOKEN")?,
            log: reader.required("TP_LOG")?,
            log_format: reader.log_format("TP_LOG_FORMAT")?,
            byoc: ByocSettings {
                provider: reader.text("BYOC_PROVIDER")?.map(|label| label.to_ascii_lowercase()),
                api_key: reader.secret("BYOC_API_KEY")?,
                organisation: reader.text("BYOC_API_KEY_ORG")?,
                endpoint: reader.url("BYOC_ENDPOINT_URL")?,
                model: reader.text("BYOC_MODEL")?,
                region: region.or(aws_region),
                bedrock: BedrockSettings {
                    access_key_id: reader.secret("BYOC_AWS_ACCESS_KEY_ID")?,
                    secret_access_key: reader.secret("BYOC_AWS_SECRET_ACCESS_KEY")?,
                    use_task_role: reader.switch("TP_BEDROCK_USE_TASK_ROLE")?,
                    model_id: reader.text("TP_BEDROCK_MODEL_ID")?,
                },
            },
            embedding: EmbeddingSettings {
                provider: reader.required("EMBEDDING_PROVIDER")?.to_ascii_lowercase(),
                model_path: reader.text("EMBEDDING_MODEL_PATH")?.map(PathBuf::from),
                threads: reader.threads("EMBEDDING_THREADS")?,
                openai_api_key: reader.secret("OPENAI_API_KEY")?,
            },
            control_plane: ControlPlaneSettings {
                endpoint: reader.url("CP_ENDPOINT_URL")?,
                token: reader.secret("CP_TOKEN")?,
                credits_fail_open: reader.switch("AI_CREDITS_FAIL_OPEN")?,
            },
            unknown: unknown(source),
            origins: reader.into_origins(),
        })
    }

    /// Where the value of a setting came from.
    pub fn origin(&self, name: &str) -> Origin {
        self.origins.get(name).copied().unwrap_or(Origin::Default)
    }

    /// Replaces the address with the one from the command line.
    pub fn override_listen(&mut self, listen: SocketAddr) {
        self.listen = listen;
        self.origins.insert("TP_LISTEN", Origin::CommandLine);
    }

    /// Replaces the data directory with the one from the command line.
    pub fn override_data_dir(&mut self, data_dir: PathBuf) {
        self.data_dir = data_dir;
        self.origins.insert("TP_DATA_DIR", Origin::CommandLine);
    }
}

/// Names with a prefix of ours that no setting has. They are reported, not refused: Kubernetes
/// puts variables such as `TP_SERVICE_HOST` beside a service of that name.
fn unknown(source: &dyn Source) -> Vec<String> {
    let ours =
        |name: &str| ["TP_", "BYOC_", "EMBEDDING_", "CP_"].iter().any(|prefix| name.starts_with(prefix));
    let mut names: Vec<String> = source
        .names()
        .into_iter()
        .filter(|name| ours(name) && SETTINGS.iter().all(|setting| setting.name != name))
        .collect();
    names.sort();
    names
}
