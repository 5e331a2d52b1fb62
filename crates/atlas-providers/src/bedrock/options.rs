//! From the settings to an endpoint and an identity.

use std::time::Duration;

use atlas_aws::{RuntimeEndpoint, credential_origins};
use atlas_http::Limits;
use atlas_llm::ProviderError;

use crate::Origins;
use crate::options::Options;

/// Hosted models begin within seconds; the rest is room for long prompts and for reasoning.
const FIRST_TOKEN: Duration = Duration::from_secs(120);

pub(super) fn endpoint(options: &Options) -> Result<RuntimeEndpoint, ProviderError> {
    RuntimeEndpoint::new(options.aws.region.as_ref(), options.endpoint_url.as_ref(), options.aws.use_fips)
}

pub(super) fn origins(options: &Options) -> Result<Origins, ProviderError> {
    let credentials = credential_origins(&options.aws)?;
    let mut calls = vec![endpoint(options)?.origin().clone()];
    // STS is a service like any other: behind the proxy, by the settings' trust.
    calls.extend(credentials.services);
    Ok(Origins { calls, credentials: credentials.platform })
}

pub(super) fn limits(options: &Options) -> Limits {
    options.limits.over(FIRST_TOKEN)
}

/// Where an answer comes in one piece, its first byte is no sign of life.
pub(super) fn limits_of_whole(options: &Options) -> Limits {
    let limits = limits(options);
    Limits { first_token: limits.total.unwrap_or(limits.first_token), ..limits }
}

pub(super) fn model(model: &str) -> Result<&str, ProviderError> {
    let model = model.trim();
    if model.is_empty() {
        return Err(ProviderError::setting(
            "BYOC_MODEL",
            "it is empty; name a Bedrock model or inference profile (TP_BEDROCK_MODEL_ID with the task role)",
        ));
    }
    // What the service accepts in a model identifier or ARN; anything else is a pasted mistake.
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._:/".contains(c);
    if model.len() > 2048 || !model.chars().all(is_part) {
        return Err(ProviderError::setting("BYOC_MODEL", "it is neither a Bedrock model id nor an ARN"));
    }
    Ok(model)
}
