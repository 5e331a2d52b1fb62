//! The settings, checked.

use std::time::Duration;

use atlas_http::{Origin, Url};
use atlas_llm::ProviderError;
use atlas_vendor::{Endpoint, EndpointOptions};

use crate::options::filled;
use crate::{Options, Sockets};

/// Where Ollama listens unless told otherwise.
const BASE: &str = "http://127.0.0.1:11434";
const SETTING: &str = "BYOC_ENDPOINT_URL";
/// The first request after a pause loads the model, which takes minutes from a slow disk.
const FIRST_TOKEN: Duration = Duration::from_secs(300);
/// Ends of paths that people paste along with the base; operations bring their own `/api`.
const PASTED: [&str; 5] = ["/api/chat", "/api/generate", "/api", "/v1/chat/completions", "/v1"];

/// The endpoint of these options. Opens no connection.
pub(super) fn endpoint(options: &Options, sockets: Sockets) -> Result<Endpoint, ProviderError> {
    Endpoint::new(EndpointOptions {
        base: base(options.endpoint_url.as_deref())?,
        // The server itself knows no keys; a proxy in front of it may.
        key: options.api_key.clone(),
        key_setting: "BYOC_API_KEY",
        key_header: filled(options.auth_header.as_deref()).map(str::to_owned),
        headers: Vec::new(),
        limits: options.limits.over(FIRST_TOKEN),
        outbound: sockets.calls,
    })
}

/// Where requests go.
pub(super) fn origin(options: &Options) -> Result<Origin, ProviderError> {
    let base = base(options.endpoint_url.as_deref())?;
    Origin::of(&base).map_err(|error| ProviderError::setting(SETTING, error.to_string()))
}

/// The base without `/api` or `/v1`, whatever was pasted.
pub(super) fn base(endpoint_url: Option<&str>) -> Result<Url, ProviderError> {
    atlas_vendor::base(filled(endpoint_url).unwrap_or(BASE), SETTING, &PASTED)
}
