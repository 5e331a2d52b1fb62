//! The settings, checked.

use std::time::Duration;

use atlas_http::{Origin, Url};
use atlas_llm::ProviderError;
use atlas_vendor::{Endpoint, EndpointOptions};

use super::VERSION;
use crate::options::filled;
use crate::{Options, Sockets};

const BASE: &str = "https://api.anthropic.com";
const SETTING: &str = "BYOC_ENDPOINT_URL";
/// A long prompt to a model that thinks takes a minute or two before its first event.
const FIRST_TOKEN: Duration = Duration::from_secs(120);
/// Ends of paths that people paste along with the base; operations bring their own `/v1`.
const PASTED: [&str; 3] = ["/v1/messages", "/v1/models", "/v1"];

/// The endpoint of these options. Opens no connection.
pub(super) fn endpoint(options: &Options, sockets: Sockets) -> Result<Endpoint, ProviderError> {
    let base = base(options.endpoint_url.as_deref())?;
    let is_anthropic = base.host_str() == Some("api.anthropic.com");
    // The API accepts either header; a gateway in front of it may know only one.
    let key_header = filled(options.auth_header.as_deref()).unwrap_or("x-api-key").to_owned();
    let endpoint = Endpoint::new(EndpointOptions {
        base,
        key: options.api_key.clone(),
        key_setting: "BYOC_API_KEY",
        key_header: Some(key_header),
        headers: vec![("anthropic-version", VERSION.to_owned())],
        limits: options.limits.over(FIRST_TOKEN),
        outbound: sockets.calls,
    })?;
    if is_anthropic && !endpoint.has_key() {
        return Err(ProviderError::setting("BYOC_API_KEY", "Anthropic needs a key"));
    }
    Ok(endpoint)
}

/// Where requests go.
pub(super) fn origin(options: &Options) -> Result<Origin, ProviderError> {
    let base = base(options.endpoint_url.as_deref())?;
    Origin::of(&base).map_err(|error| ProviderError::setting(SETTING, error.to_string()))
}

/// The base without `/v1`, whatever was pasted.
pub(super) fn base(endpoint_url: Option<&str>) -> Result<Url, ProviderError> {
    atlas_vendor::base(filled(endpoint_url).unwrap_or(BASE), SETTING, &PASTED)
}
