//! The settings, as typed values.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::{FileContent, Origin, Value};

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// Where this server stands: `TP_DEPLOYMENT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployment {
    /// With the control plane in reach.
    Cloud,
    /// In the customer's network.
    OnPrem,
    /// Without a way out.
    AirGapped,
}

/// Where connections may go: `TP_EGRESS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EgressMode {
    /// To what the settings name.
    Settings,
    /// To what the settings name, if its address is a private one.
    Private,
    /// Nowhere.
    Off,
}

/// What finds the nearest vectors: `TP_VECTOR_INDEX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorIndexChoice {
    /// A scan, and a graph where there are many vectors.
    Auto,
    /// A scan.
    Flat,
    /// A graph.
    Hnsw,
    /// The graph of another maker, to compare with.
    HnswRs,
}

/// Which interface of an OpenAI-style provider to use: `BYOC_API`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiChoice {
    /// What the facts about the model say.
    Auto,
    /// Chat Completions.
    Chat,
    /// Responses.
    Responses,
}

/// All settings, read once. Secrets are [`SecretString`], so `Debug` shows none of them.
///
/// A key, its endpoint, its model and its region stand in one value: who keeps an `Arc` of it
/// cannot meet the key of one time with the endpoint of another.
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
    /// `TP_DEPLOYMENT`.
    pub deployment: Deployment,
    /// `TP_VECTOR_INDEX`.
    pub vector_index: VectorIndexChoice,
    /// `TP_MODEL_CATALOG`: the file's bytes, not yet understood.
    pub model_catalog: Option<FileContent>,
    /// The chat provider.
    pub byoc: ByocSettings,
    /// How connections are made.
    pub network: NetworkSettings,
    /// The embedding engine.
    pub embedding: EmbeddingSettings,
    /// The control plane.
    pub control_plane: ControlPlaneSettings,
    /// What the container platform says about AWS.
    pub aws: AwsEnvironment,
    /// Names that look like settings of ours and are none: probably misspelt.
    pub unknown: Vec<String>,
    /// Values that are understood and probably not meant, in whole sentences.
    pub warnings: Vec<String>,
    pub(crate) values: BTreeMap<&'static str, Value>,
}

/// The chat provider's settings, as they were written.
#[derive(Debug, Clone)]
pub struct ByocSettings {
    /// `BYOC_PROVIDER`, in lower case; `None`: no AI answers of one's own.
    pub provider: Option<String>,
    /// `BYOC_API_KEY`.
    pub api_key: Option<SecretString>,
    /// `BYOC_API_KEY_ORG`.
    pub organisation: Option<String>,
    /// `BYOC_ENDPOINT_URL`: http or https, without credentials, query or fragment.
    pub endpoint: Option<Url>,
    /// `BYOC_MODEL`.
    pub model: Option<String>,
    /// The models of single features.
    pub models: FeatureModels,
    /// `BYOC_API`.
    pub api: ApiChoice,
    /// `BYOC_AZURE_API_VERSION`: a date, with `-preview` or without; `None`: the v1 URLs.
    pub azure_api_version: Option<String>,
    /// `BYOC_CONTEXT_TOKENS`: 512 or more.
    pub context_tokens: Option<u32>,
    /// `BYOC_AUTH_HEADER`: a header name, as written.
    pub auth_header: Option<String>,
    /// `BYOC_REGION`, else `AWS_REGION`.
    pub region: Option<String>,
    /// What only `bedrock` reads.
    pub bedrock: BedrockSettings,
}

/// The models of single features: each its own where one is set, else `BYOC_MODEL`.
#[derive(Debug, Clone)]
pub struct FeatureModels {
    /// `BYOC_MODEL_RCA`.
    pub rca: Option<String>,
    /// `BYOC_MODEL_RUNBOOK`.
    pub runbook: Option<String>,
    /// `BYOC_MODEL_COPILOT`.
    pub copilot: Option<String>,
    /// `BYOC_MODEL_SEARCH`.
    pub search: Option<String>,
}

/// What only the provider `bedrock` reads.
#[derive(Debug, Clone)]
pub struct BedrockSettings {
    /// `BYOC_AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<SecretString>,
    /// `BYOC_AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<SecretString>,
    /// `BYOC_AWS_SESSION_TOKEN`.
    pub session_token: Option<SecretString>,
    /// `TP_BEDROCK_USE_TASK_ROLE`.
    pub use_task_role: bool,
    /// `TP_BEDROCK_MODEL_ID`.
    pub model_id: Option<String>,
}

/// How connections are made. The files' bytes were read with the settings and change with them;
/// whether they are certificates is found out by who uses them.
#[derive(Debug, Clone)]
pub struct NetworkSettings {
    /// `BYOC_CA_BUNDLE`.
    pub ca_bundle: Option<FileContent>,
    /// `BYOC_CLIENT_CERT` and `BYOC_CLIENT_KEY`.
    pub client_identity: Option<ClientIdentityFiles>,
    /// `BYOC_PROXY_URL`: an http or https URL that may hold a user name and password.
    pub proxy_url: Option<SecretString>,
    /// `BYOC_NO_PROXY`, not yet understood.
    pub no_proxy: Option<String>,
    /// `BYOC_FIRST_TOKEN_TIMEOUT`; `None`: the provider's own default.
    pub first_token_timeout: Option<Duration>,
    /// `BYOC_IDLE_TIMEOUT`.
    pub idle_timeout: Duration,
    /// `BYOC_REQUEST_TIMEOUT`: for the whole answer.
    pub request_timeout: Duration,
    /// `TP_EGRESS`.
    pub egress: EgressMode,
}

/// A client certificate and its key, read together.
#[derive(Debug, Clone)]
pub struct ClientIdentityFiles {
    /// `BYOC_CLIENT_CERT`.
    pub cert: FileContent,
    /// `BYOC_CLIENT_KEY`.
    pub key: FileContent,
}

/// The embedding engine's settings.
#[derive(Debug, Clone)]
pub struct EmbeddingSettings {
    /// `EMBEDDING_PROVIDER`.
    pub provider: String,
    /// `EMBEDDING_MODEL`.
    pub model: Option<String>,
    /// `EMBEDDING_MODEL_PATH`.
    pub model_path: Option<PathBuf>,
    /// `EMBEDDING_DIMENSIONS`.
    pub dimensions: Option<NonZeroU32>,
    /// `EMBEDDING_THREADS`.
    pub threads: Option<NonZeroUsize>,
    /// `EMBEDDING_PRECISION`: one of its words. What they mean is known to the engine.
    pub precision: &'static str,
    /// `EMBEDDING_ENDPOINT_URL`.
    pub endpoint: Option<Url>,
    /// `EMBEDDING_API_KEY`.
    pub api_key: Option<SecretString>,
    /// `EMBEDDING_REGION`, else `AWS_REGION`.
    pub region: Option<String>,
    /// `OPENAI_API_KEY`: for the engine `openai` where `EMBEDDING_API_KEY` is not set.
    pub openai_api_key: Option<SecretString>,
}

/// The control plane's settings.
#[derive(Debug, Clone)]
pub struct ControlPlaneSettings {
    /// `CP_ENDPOINT_URL`.
    pub endpoint: Option<Url>,
    /// `CP_TOKEN`.
    pub token: Option<SecretString>,
    /// `AI_CREDITS_FAIL_OPEN` is exactly `1`. Not `true`, and not `1` with a space: this one
    /// lets prompts go to another party, so nothing about it is guessed.
    pub credits_fail_open: bool,
    /// `ATLASAI_PLAN`, in lower case. What it allows is decided elsewhere.
    pub plan: String,
}

/// The standard variables by which a container platform gives AWS identities.
#[derive(Debug, Clone)]
pub struct AwsEnvironment {
    /// `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    pub container_credentials_relative_uri: Option<String>,
    /// `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub container_credentials_full_uri: Option<String>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    pub container_authorization_token: Option<SecretString>,
    /// `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`; the platform renews it, so it is read per use.
    pub container_authorization_token_file: Option<PathBuf>,
    /// `AWS_WEB_IDENTITY_TOKEN_FILE`; the platform renews it, so it is read per use.
    pub web_identity_token_file: Option<PathBuf>,
    /// `AWS_ROLE_ARN`.
    pub role_arn: Option<String>,
    /// `AWS_ROLE_SESSION_NAME`.
    pub role_session_name: Option<String>,
    /// `AWS_EC2_METADATA_DISABLED`.
    pub ec2_metadata_disabled: bool,
    /// `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub ec2_metadata_endpoint: Option<Url>,
    /// `AWS_ENDPOINT_URL_STS`.
    pub sts_endpoint: Option<Url>,
}

impl Settings {
    /// Where the value of a setting came from.
    pub fn origin(&self, name: &str) -> Origin {
        self.values.get(name).map_or(Origin::Default, |value| value.origin.clone())
    }

    /// Replaces the address with the one from the command line.
    pub fn override_listen(&mut self, listen: SocketAddr) {
        self.listen = listen;
        self.values.insert("TP_LISTEN", Value::typed(&listen.to_string()));
    }

    /// Replaces the data directory with the one from the command line.
    pub fn override_data_dir(&mut self, data_dir: PathBuf) {
        self.values.insert("TP_DATA_DIR", Value::typed(&data_dir.display().to_string()));
        self.data_dir = data_dir;
    }

    /// Keeps what `running` has of the settings that wait for a restart, and names those that
    /// differ. Otherwise one part of the server could use the new data directory while the
    /// store is in the old one.
    pub(crate) fn keep_until_restart(&mut self, running: &Self) -> Vec<&'static str> {
        let waiting = crate::SETTINGS.iter().filter(|setting| !setting.live).map(|setting| setting.name);
        let mut changed = Vec::new();
        for name in waiting {
            let (kept, new) = (running.values.get(name), self.values.get(name));
            if kept.map(Value::expose) != new.map(Value::expose) {
                changed.push(name);
            }
            if let Some(kept) = kept {
                self.values.insert(name, kept.clone());
            }
        }
        self.listen = running.listen;
        self.data_dir.clone_from(&running.data_dir);
        self.log.clone_from(&running.log);
        self.log_format = running.log_format;
        self.vector_index = running.vector_index;
        let embedding = &running.embedding;
        self.embedding.provider.clone_from(&embedding.provider);
        self.embedding.model.clone_from(&embedding.model);
        self.embedding.model_path.clone_from(&embedding.model_path);
        self.embedding.dimensions = embedding.dimensions;
        self.embedding.threads = embedding.threads;
        self.embedding.precision = embedding.precision;
        changed
    }
}
