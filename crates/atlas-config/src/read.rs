//! From a source to the settings.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use crate::forms::needs;
use crate::reader::Reader;
use crate::{
    ApiChoice, AwsEnvironment, BedrockSettings, ByocSettings, ClientIdentityFiles, ControlPlaneSettings,
    Deployment, EgressMode, EmbeddingSettings, FeatureModels, LogFormat, NetworkSettings, SETTINGS,
    SettingDoc, SettingError, SettingErrors, Settings, Source, VectorIndexChoice,
};

impl Settings {
    /// Reads and checks every setting; the first thing that is wrong ends it.
    pub fn read(source: &dyn Source) -> Result<Self, SettingError> {
        Self::read_all(source).map_err(|errors| errors.first().expect("never empty").clone())
    }

    /// Everything that is wrong. Empty: the settings can be used.
    pub fn check(source: &dyn Source) -> Vec<SettingError> {
        Self::read_all(source).err().map(SettingErrors::into_vec).unwrap_or_default()
    }

    /// Reads and checks every setting; the error is everything that is wrong, and never empty.
    pub fn read_all(source: &dyn Source) -> Result<Self, SettingErrors> {
        let mut reader = Reader::new(source);
        let settings = Self {
            listen: reader.address("TP_LISTEN"),
            data_dir: reader.required("TP_DATA_DIR").into(),
            admin_token: reader.secret("ADMIN_TOKEN"),
            log: reader.required("TP_LOG"),
            log_format: reader
                .one_of("TP_LOG_FORMAT", &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
            deployment: reader.one_of(
                "TP_DEPLOYMENT",
                &[
                    ("cloud", Deployment::Cloud),
                    ("on_prem", Deployment::OnPrem),
                    ("air_gapped", Deployment::AirGapped),
                ],
            ),
            vector_index: reader.one_of(
                "TP_VECTOR_INDEX",
                &[
                    ("auto", VectorIndexChoice::Auto),
                    ("flat", VectorIndexChoice::Flat),
                    ("hnsw", VectorIndexChoice::Hnsw),
                    ("hnsw_rs", VectorIndexChoice::HnswRs),
                ],
            ),
            model_catalog: reader.content("TP_MODEL_CATALOG"),
            byoc: byoc(&mut reader),
            network: network(&mut reader),
            embedding: embedding(&mut reader),
            control_plane: control_plane(&mut reader),
            aws: aws(&mut reader),
            unknown: unknown_names(source),
            warnings: Vec::new(),
            values: Default::default(),
        };
        // Read so that they are shown; what they point to is the source.
        reader.text("TP_SETTINGS_DIR");
        reader.text("TP_ENV_FILE");
        let (values, problems) = reader.finish();
        SettingErrors::new(problems)?;
        let fail_open = values.get("AI_CREDITS_FAIL_OPEN").and_then(|value| value.expose());
        let warnings = fail_open.and_then(fail_open_warning).into_iter().collect();
        Ok(Self { values, warnings, ..settings })
    }
}

fn byoc(reader: &mut Reader<'_>) -> ByocSettings {
    let model = reader.text("BYOC_MODEL");
    let model_for = |reader: &mut Reader<'_>, name| reader.text(name).or_else(|| model.clone());
    let models = FeatureModels {
        rca: model_for(reader, "BYOC_MODEL_RCA"),
        runbook: model_for(reader, "BYOC_MODEL_RUNBOOK"),
        copilot: model_for(reader, "BYOC_MODEL_COPILOT"),
        search: model_for(reader, "BYOC_MODEL_SEARCH"),
    };
    ByocSettings {
        provider: reader.word("BYOC_PROVIDER"),
        api_key: reader.secret("BYOC_API_KEY"),
        organisation: reader.text("BYOC_API_KEY_ORG"),
        endpoint: reader.url("BYOC_ENDPOINT_URL"),
        model,
        models,
        api: reader.one_of(
            "BYOC_API",
            &[("auto", ApiChoice::Auto), ("chat", ApiChoice::Chat), ("responses", ApiChoice::Responses)],
        ),
        azure_api_version: reader.azure_version("BYOC_AZURE_API_VERSION"),
        context_tokens: reader.number("BYOC_CONTEXT_TOKENS"),
        auth_header: reader.header_name("BYOC_AUTH_HEADER"),
        region: region(reader, "BYOC_REGION"),
        bedrock: BedrockSettings {
            access_key_id: reader.secret("BYOC_AWS_ACCESS_KEY_ID"),
            secret_access_key: reader.secret("BYOC_AWS_SECRET_ACCESS_KEY"),
            session_token: reader.secret("BYOC_AWS_SESSION_TOKEN"),
            use_task_role: reader.switch("TP_BEDROCK_USE_TASK_ROLE"),
            model_id: reader.text("TP_BEDROCK_MODEL_ID"),
        },
    }
}

/// A region of its own, else the one of the cloud.
fn region(reader: &mut Reader<'_>, name: &'static str) -> Option<String> {
    let own = reader.text(name);
    let cloud = reader.text("AWS_REGION");
    own.or(cloud)
}

fn network(reader: &mut Reader<'_>) -> NetworkSettings {
    let cert = reader.content("BYOC_CLIENT_CERT");
    let key = reader.content("BYOC_CLIENT_KEY");
    // A path that is set and cannot be read is one problem, not two.
    let named = |name| reader.is_set(name);
    match (named("BYOC_CLIENT_CERT"), named("BYOC_CLIENT_KEY")) {
        (true, false) => reader.problem(needs("BYOC_CLIENT_CERT", "BYOC_CLIENT_KEY")),
        (false, true) => reader.problem(needs("BYOC_CLIENT_KEY", "BYOC_CLIENT_CERT")),
        (true, true) | (false, false) => {}
    }
    NetworkSettings {
        ca_bundle: reader.content("BYOC_CA_BUNDLE"),
        client_identity: cert.zip(key).map(|(cert, key)| ClientIdentityFiles { cert, key }),
        proxy_url: reader.proxy("BYOC_PROXY_URL"),
        no_proxy: reader.text("BYOC_NO_PROXY"),
        first_token_timeout: reader.duration("BYOC_FIRST_TOKEN_TIMEOUT"),
        idle_timeout: reader.duration("BYOC_IDLE_TIMEOUT").unwrap_or(Duration::from_secs(60)),
        request_timeout: reader.duration("BYOC_REQUEST_TIMEOUT").unwrap_or(Duration::from_secs(600)),
        egress: reader.one_of(
            "TP_EGRESS",
            &[("settings", EgressMode::Settings), ("private", EgressMode::Private), ("off", EgressMode::Off)],
        ),
    }
}

fn embedding(reader: &mut Reader<'_>) -> EmbeddingSettings {
    EmbeddingSettings {
        provider: reader.required("EMBEDDING_PROVIDER").to_ascii_lowercase(),
        model: reader.text("EMBEDDING_MODEL"),
        model_path: reader.path("EMBEDDING_MODEL_PATH"),
        dimensions: reader.number("EMBEDDING_DIMENSIONS").and_then(NonZeroU32::new),
        threads: reader.number("EMBEDDING_THREADS").and_then(|n| NonZeroUsize::new(n as usize)),
        precision: reader
            .one_of("EMBEDDING_PRECISION", &["auto", "f32", "exact", "fast", "max"].map(|word| (word, word))),
        endpoint: reader.url("EMBEDDING_ENDPOINT_URL"),
        api_key: reader.secret("EMBEDDING_API_KEY"),
        region: region(reader, "EMBEDDING_REGION"),
        openai_api_key: reader.secret("OPENAI_API_KEY"),
    }
}

fn control_plane(reader: &mut Reader<'_>) -> ControlPlaneSettings {
    ControlPlaneSettings {
        endpoint: reader.url("CP_ENDPOINT_URL"),
        token: reader.secret("CP_TOKEN"),
        credits_fail_open: reader.text("AI_CREDITS_FAIL_OPEN").as_deref() == Some("1"),
        plan: reader.required("ATLASAI_PLAN").to_ascii_lowercase(),
    }
}

fn aws(reader: &mut Reader<'_>) -> AwsEnvironment {
    AwsEnvironment {
        container_credentials_relative_uri: reader.text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        container_credentials_full_uri: reader.text("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        container_authorization_token: reader.header_value("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        container_authorization_token_file: reader.path("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        web_identity_token_file: reader.path("AWS_WEB_IDENTITY_TOKEN_FILE"),
        role_arn: reader.text("AWS_ROLE_ARN"),
        role_session_name: reader.text("AWS_ROLE_SESSION_NAME"),
        ec2_metadata_disabled: reader.switch("AWS_EC2_METADATA_DISABLED"),
        ec2_metadata_endpoint: reader.url("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
        sts_endpoint: reader.url("AWS_ENDPOINT_URL_STS"),
    }
}

/// Why a value of `AI_CREDITS_FAIL_OPEN` is probably not meant. `None`: it is clear.
pub fn fail_open_warning(written: &str) -> Option<String> {
    (!matches!(written, "" | "0" | "1")).then(|| {
        "AI_CREDITS_FAIL_OPEN is neither 0 nor exactly 1, so it is off; to let the managed AI answer while your \
         provider is unavailable, set it to 1, without spaces"
            .to_owned()
    })
}

/// Names with a prefix of ours that no setting has. They are reported, not refused: Kubernetes
/// puts variables such as `TP_SERVICE_HOST` beside a service of that name.
pub fn unknown_names(source: &dyn Source) -> Vec<String> {
    const OURS: [&str; 7] = ["TP_", "BYOC_", "EMBEDDING_", "CP_", "ATLASAI_", "AI_CREDITS_", "ADMIN_TOKEN"];
    let mut names: Vec<String> = source
        .names()
        .into_iter()
        .filter(|name| OURS.iter().any(|prefix| name.starts_with(prefix)))
        .chain(source.strays())
        .filter(|name| !is_known(name))
        .collect();
    names.sort();
    names.dedup();
    names
}

pub(crate) fn is_known(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.name == name) || SettingDoc::find_by_file(name).is_some()
}
