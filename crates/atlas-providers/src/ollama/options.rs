//! The settings, checked.

use std::time::Duration;

use atlas_http::{Origin, Url};
use atlas_llm::ProviderError;
use atlas_vendor::{Endpoint, EndpointOptions, openai_base};

use crate::{Options, Sockets};

/// Where Ollama listens unless told otherwise.
const BASE: &str = "http://127.0.0.1:11434";
const SETTING: &str = "BYOC_ENDPOINT_URL";
/// The first request after a pause loads the model, which takes minutes from a slow disk.
const FIRST_TOKEN: Duration = Duration::from_secs(300);
/// Ends of paths that people paste along with the base; operations bring their own `/api`.
const PASTED: [&str; 4] = ["/api/chat", "/api/generate", "/api", "/v1"];

/// The endpoint of these options. Opens no connection.
pub(super) fn endpoint(options: &Options, sockets: Sockets) -> Result<Endpoint, ProviderError> {
    // The server itself knows no keys; a proxy in front of it may.
    let named = options.auth_header.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let key_header = named.filter(|name| !name.eq_ignore_ascii_case("authorization"));
    Endpoint::new(EndpointOptions {
        base: base(options.endpoint_url.as_deref())?,
        key: options.api_key.clone(),
        key_setting: "BYOC_API_KEY",
        key_header: key_header.map(str::to_owned),
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
    let text = endpoint_url.map(str::trim).filter(|text| !text.is_empty()).unwrap_or(BASE);
    // The rules for what may be an endpoint at all are the same; the `/v1` it adds goes again.
    let mut url = openai_base(text, SETTING)?;
    let path = PASTED.iter().find_map(|end| url.path().strip_suffix(end)).unwrap_or(url.path()).to_owned();
    url.set_path(&path);
    Ok(url)
}
