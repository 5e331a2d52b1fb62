//! The list of all settings.

/// What one environment variable means.
#[derive(Debug, Clone, Copy)]
pub struct SettingDoc {
    /// The variable.
    pub name: &'static str,
    /// The value when it is not set; empty: none.
    pub default: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// One sentence for help texts.
    pub doc: &'static str,
}

const fn plain(name: &'static str, default: &'static str, doc: &'static str) -> SettingDoc {
    SettingDoc { name, default, secret: false, doc }
}

const fn secret(name: &'static str, doc: &'static str) -> SettingDoc {
    SettingDoc { name, default: "", secret: true, doc }
}

/// Every setting, in the order in which help shows them.
pub const SETTINGS: &[SettingDoc] = &[
    plain("TP_LISTEN", "127.0.0.1:8080", "Address and port to listen on."),
    plain("TP_DATA_DIR", "./atlas-data", "Directory that holds all data; one running server per directory."),
    secret(
        "ADMIN_TOKEN",
        "Bearer token for every API call. Required when listening beyond loopback; on loopback one is generated \
         into admin-token in the data directory.",
    ),
    plain("TP_LOG", "info", "Log filter, for example `info` or `atlas_server=debug,info`."),
    plain("TP_LOG_FORMAT", "text", "Form of log lines: `text` or `json`."),
    plain(
        "BYOC_PROVIDER",
        "",
        "Your chat provider, for example `openai`. Not set: AI answers are off, search works.",
    ),
    secret("BYOC_API_KEY", "API key of the provider."),
    plain(
        "BYOC_API_KEY_ORG",
        "",
        "Organisation that the API key's use is billed to, where the provider has them.",
    ),
    plain("BYOC_ENDPOINT_URL", "", "Base URL of the provider, when it is not the vendor's own."),
    plain("BYOC_MODEL", "", "Model, as the provider names it."),
    plain("BYOC_REGION", "", "Cloud region of the provider. Not set: AWS_REGION."),
    secret("BYOC_AWS_ACCESS_KEY_ID", "AWS access key id for the provider `bedrock`."),
    secret("BYOC_AWS_SECRET_ACCESS_KEY", "AWS secret access key for the provider `bedrock`."),
    plain(
        "TP_BEDROCK_USE_TASK_ROLE",
        "false",
        "`true`: the provider `bedrock` uses the role of the ECS task.",
    ),
    plain("TP_BEDROCK_MODEL_ID", "", "Model id for the provider `bedrock`."),
    plain("AWS_REGION", "", "AWS region, when BYOC_REGION is not set."),
    plain(
        "EMBEDDING_PROVIDER",
        "local",
        "Embedding engine: `local` (in this process) or `fallback` (keywords only).",
    ),
    plain(
        "EMBEDDING_MODEL_PATH",
        "",
        "Directory of another sentence embedding model for the engine `local`.",
    ),
    plain(
        "EMBEDDING_THREADS",
        "",
        "Threads for the engine `local`, 1 to 256. Not set: as many as there are cores.",
    ),
    secret("OPENAI_API_KEY", "API key for the embedding engine `openai`."),
    plain(
        "AI_CREDITS_FAIL_OPEN",
        "false",
        "`true`: go on when the control plane cannot be asked for AI credits.",
    ),
    plain(
        "CP_ENDPOINT_URL",
        "",
        "URL of the control plane. Not set: there is none, and nothing is asked of it.",
    ),
    secret("CP_TOKEN", "Token for the control plane."),
];
