//! The list of all settings.

use crate::{Form, Group, SettingDoc};

/// Every setting, in the order in which help shows them.
pub const SETTINGS: &[SettingDoc] = &[
    server("TP_LISTEN", Form::Address, "Address and port to listen on.")
        .default("127.0.0.1:8080")
        .waits_for_restart(),
    server(
        "TP_DATA_DIR",
        Form::Path,
        "Directory that holds all data; one running server per directory.",
    )
    .default("./atlas-data")
    .waits_for_restart(),
    server(
        "TP_SETTINGS_DIR",
        Form::Path,
        "Directory with one file per setting, as a mounted Secret or ConfigMap gives; comes before TP_ENV_FILE. \
         Read from the process environment only.",
    )
    .waits_for_restart(),
    server(
        "TP_ENV_FILE",
        Form::Path,
        "File with NAME=VALUE lines; comes before the process environment. Read from the process environment only.",
    )
    .waits_for_restart(),
    server(
        "ADMIN_TOKEN",
        Form::Text,
        "Bearer token for every API call. Required when listening beyond loopback; on loopback one is generated \
         into admin-token in the data directory.",
    )
    .secret(),
    server("TP_LOG", Form::Text, "Log filter, for example `info` or `atlas_server=debug,info`.")
        .default("info")
        .waits_for_restart(),
    server("TP_LOG_FORMAT", Form::OneOf(&["text", "json"]), "Form of log lines.")
        .default("text")
        .waits_for_restart(),
    server(
        "TP_DEPLOYMENT",
        Form::OneOf(&["cloud", "on_prem", "air_gapped"]),
        "Where this server stands. On-prem and air-gapped deployments never use the managed AI.",
    )
    .default("cloud"),
    server(
        "TP_VECTOR_INDEX",
        Form::OneOf(&["auto", "flat", "hnsw", "hnsw_rs"]),
        "What finds the nearest vectors. `auto` scans up to 65,536 of them, which is exact, and uses `hnsw` above; \
         `hnsw_rs` is another maker's graph, to compare with.",
    )
    .default("auto")
    .waits_for_restart(),
    server("TP_MODEL_CATALOG", Form::Content, "JSON file that overrides the shipped facts about models."),
    provider(
        "BYOC_PROVIDER",
        Form::Text,
        "Your chat provider, for example `openai`. Not set: AI answers are off, search works.",
    ),
    provider("BYOC_API_KEY", Form::Text, "API key of the provider.").secret(),
    provider(
        "BYOC_API_KEY_ORG",
        Form::Text,
        "Organisation that the API key's use is billed to, where the provider has them.",
    ),
    provider(
        "BYOC_ENDPOINT_URL",
        Form::Url,
        "Base URL of the provider, when it is not the vendor's own.",
    ),
    provider(
        "BYOC_MODEL",
        Form::Text,
        "Model, as the provider names it; for `azure` the name of the deployment.",
    ),
    provider("BYOC_MODEL_RCA", Form::Text, "Model for root cause analysis. Not set: BYOC_MODEL."),
    provider("BYOC_MODEL_RUNBOOK", Form::Text, "Model for writing runbooks. Not set: BYOC_MODEL."),
    provider("BYOC_MODEL_COPILOT", Form::Text, "Model for the copilot. Not set: BYOC_MODEL."),
    provider("BYOC_MODEL_SEARCH", Form::Text, "Model for search in plain words. Not set: BYOC_MODEL."),
    provider(
        "BYOC_API",
        Form::OneOf(&["auto", "chat", "responses"]),
        "Which interface of an OpenAI-style provider to use; `auto` asks the facts about the model.",
    )
    .default("auto"),
    provider(
        "BYOC_AZURE_API_VERSION",
        Form::Text,
        "API version for the provider `azure`, such as 2024-10-21: uses its classic URLs. Not set: its v1 URLs.",
    ),
    provider(
        "BYOC_CONTEXT_TOKENS",
        Form::Number(512, u32::MAX),
        "Context in tokens: asked of the provider `ollama`, and the most that features send to any provider.",
    ),
    provider(
        "BYOC_AUTH_HEADER",
        Form::Text,
        "Header that carries the API key instead of `Authorization: Bearer`, for gateways that want their own.",
    ),
    provider("BYOC_REGION", Form::Text, "Cloud region of the provider. Not set: AWS_REGION."),
    provider("BYOC_AWS_ACCESS_KEY_ID", Form::Text, "AWS access key id for the provider `bedrock`.").secret(),
    provider(
        "BYOC_AWS_SECRET_ACCESS_KEY",
        Form::Text,
        "AWS secret access key for the provider `bedrock`.",
    )
    .secret(),
    provider(
        "BYOC_AWS_SESSION_TOKEN",
        Form::Text,
        "AWS session token, when the access key is a temporary one.",
    )
    .secret(),
    provider(
        "TP_BEDROCK_USE_TASK_ROLE",
        Form::Switch,
        "`1`: Bedrock with the identity that the platform gives this server (ECS, EKS, instance role).",
    )
    .default("false"),
    provider("TP_BEDROCK_MODEL_ID", Form::Text, "Model id for Bedrock with the platform's identity."),
    network(
        "BYOC_CA_BUNDLE",
        Form::Content,
        "PEM file with certificates to trust in addition to the system's.",
    ),
    network(
        "BYOC_CLIENT_CERT",
        Form::Content,
        "PEM file with the certificate to show to servers that ask for one.",
    ),
    network("BYOC_CLIENT_KEY", Form::Content, "PEM file with the key of BYOC_CLIENT_CERT."),
    network(
        "BYOC_PROXY_URL",
        Form::Url,
        "HTTP proxy, with user name and password where it wants them. HTTPS_PROXY and its kin are not read.",
    )
    .secret(),
    network(
        "BYOC_NO_PROXY",
        Form::Text,
        "What is reached without the proxy: hosts, .suffixes, networks such as 10.0.0.0/8, separated by commas.",
    ),
    network(
        "BYOC_FIRST_TOKEN_TIMEOUT",
        Form::Duration,
        "Longest wait for the first token, as 90, 90s or 2m. Not set: 120 s, for `ollama` 300 s.",
    ),
    network("BYOC_IDLE_TIMEOUT", Form::Duration, "Longest silence within an answer, as 90, 90s or 2m.")
        .default("60"),
    network("BYOC_REQUEST_TIMEOUT", Form::Duration, "Longest time for a whole answer, as 90, 90s or 10m.")
        .default("600"),
    network(
        "TP_EGRESS",
        Form::OneOf(&["settings", "private", "off"]),
        "Where connections may go: what the settings name, of that only private addresses, or nowhere.",
    )
    .default("settings"),
    provider("AWS_REGION", Form::Text, "AWS region, when BYOC_REGION or EMBEDDING_REGION is not set."),
    embedding(
        "EMBEDDING_PROVIDER",
        Form::Text,
        "Embedding engine: `local` (in this process), `fallback` (keywords only), `openai`, `bedrock`, `azure`, \
         `ollama` or `compatible`.",
    )
    .default("local")
    .waits_for_restart(),
    embedding("EMBEDDING_MODEL", Form::Text, "Embedding model, as the provider names it.")
        .waits_for_restart(),
    embedding(
        "EMBEDDING_MODEL_PATH",
        Form::Path,
        "Directory of another sentence embedding model for the engine `local`.",
    )
    .waits_for_restart(),
    embedding(
        "EMBEDDING_DIMENSIONS",
        Form::Number(1, 65_536),
        "Numbers in a vector, for models that let one choose. Not set: the model's own.",
    )
    .waits_for_restart(),
    embedding(
        "EMBEDDING_THREADS",
        Form::Number(1, 256),
        "Threads for the engine `local`. Not set: as many as there are cores.",
    )
    .waits_for_restart(),
    embedding(
        "EMBEDDING_PRECISION",
        Form::OneOf(&["auto", "f32", "exact", "fast", "max"]),
        "How the engine `local` computes: `exact` in bfloat16, `fast` and `max` in integers; `auto` is `exact` where \
         the processor can do it, else `f32`. Vectors of another precision are another index.",
    )
    .default("auto")
    .waits_for_restart(),
    embedding(
        "EMBEDDING_ENDPOINT_URL",
        Form::Url,
        "Base URL of the embedding provider, when it is not the vendor's own.",
    ),
    embedding(
        "EMBEDDING_API_KEY",
        Form::Text,
        "API key of the embedding provider. Not set, for `openai`: OPENAI_API_KEY.",
    )
    .secret(),
    embedding(
        "EMBEDDING_REGION",
        Form::Text,
        "Cloud region of the embedding provider. Not set: AWS_REGION.",
    ),
    embedding("OPENAI_API_KEY", Form::Text, "API key for the embedding engine `openai`.").secret(),
    control_plane(
        "ATLASAI_PLAN",
        Form::Text,
        "The plan this deployment is on; it decides whether your own provider may be used.",
    )
    .default("enterprise"),
    control_plane(
        "AI_CREDITS_FAIL_OPEN",
        Form::Exact,
        "Exactly `1`: while your provider is unavailable, the managed AI may answer. Anything else: never.",
    ),
    control_plane(
        "CP_ENDPOINT_URL",
        Form::Url,
        "URL of the control plane. Not set: there is none, and nothing is asked of it.",
    ),
    control_plane("CP_TOKEN", Form::Text, "Token for the control plane.").secret(),
    platform(
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        Form::Text,
        "Set by ECS: where the task role's keys are.",
    ),
    platform(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        Form::Text,
        "Set by EKS Pod Identity: where the pod's keys are.",
    ),
    platform("AWS_CONTAINER_AUTHORIZATION_TOKEN", Form::Text, "Set with it: the token to show there.")
        .secret(),
    platform(
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        Form::Path,
        "Set by EKS Pod Identity: the file that holds that token, read again for every use.",
    ),
    platform(
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        Form::Path,
        "Set by EKS for service accounts: the file that holds the pod's identity, read again for every use.",
    ),
    platform("AWS_ROLE_ARN", Form::Text, "Set with it: the role to take."),
    platform(
        "AWS_ROLE_SESSION_NAME",
        Form::Text,
        "Set with it: the name under which the role is seen in audit logs.",
    ),
    platform(
        "AWS_EC2_METADATA_DISABLED",
        Form::Switch,
        "`true`: the instance's role is not asked for.",
    )
    .default("false"),
    platform(
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        Form::Url,
        "Where the instance's metadata service is, when it is not the usual address.",
    ),
    platform("AWS_ENDPOINT_URL_STS", Form::Url, "Where AWS STS is, when it is not the region's own."),
];

impl SettingDoc {
    const fn waits_for_restart(self) -> Self {
        Self { live: false, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }
}

const fn setting(group: Group, name: &'static str, form: Form, doc: &'static str) -> SettingDoc {
    SettingDoc { name, default: "", secret: false, live: true, form, group, doc }
}

const fn server(name: &'static str, form: Form, doc: &'static str) -> SettingDoc {
    setting(Group::Server, name, form, doc)
}

const fn provider(name: &'static str, form: Form, doc: &'static str) -> SettingDoc {
    setting(Group::Provider, name, form, doc)
}

const fn network(name: &'static str, form: Form, doc: &'static str) -> SettingDoc {
    setting(Group::Network, name, form, doc)
}

const fn embedding(name: &'static str, form: Form, doc: &'static str) -> SettingDoc {
    setting(Group::Embedding, name, form, doc)
}

const fn control_plane(name: &'static str, form: Form, doc: &'static str) -> SettingDoc {
    setting(Group::ControlPlane, name, form, doc)
}

const fn platform(name: &'static str, form: Form, doc: &'static str) -> SettingDoc {
    setting(Group::Platform, name, form, doc)
}
