//! OpenAI, and whatever imitates it at another address.
//!
//! For OpenAI's own models from gpt-5.4 on, `BYOC_API=auto` uses the Responses API, because chat
//! completions refuse them tools; the model catalog can say otherwise for a model. Where chat
//! completions turn out to refuse tools in this way, the model is asked through Responses from then
//! on. With `BYOC_ENDPOINT_URL` the server is any that speaks OpenAI's protocol, and is expected to
//! know the least of it.

use std::sync::Arc;

use atlas_http::{HeaderValue, Origin};
use atlas_llm::{Provider, ProviderError};
use atlas_vendor::{Endpoint, EndpointOptions, OPENAI_BASE, from_http, is_openai, openai_base};

use crate::chat_completions::{ChatCompletions, GATEWAY, OPENAI, Parts};
use crate::options::filled;
use crate::{Options, Origins, Plug, Sockets};

pub(crate) const PLUG: Plug = Plug { labels: &["openai"], origins, make };

fn origins(_label: &'static str, options: &Options) -> Result<Origins, ProviderError> {
    let base = openai_base(endpoint_url(options), "BYOC_ENDPOINT_URL")?;
    Ok(Origins::only(Origin::of(&base).map_err(from_http)?))
}

fn endpoint_url(options: &Options) -> &str {
    filled(options.endpoint_url.as_deref()).unwrap_or(OPENAI_BASE)
}

fn make(label: &'static str, options: Options, sockets: Sockets) -> Result<Arc<dyn Provider>, ProviderError> {
    let base = openai_base(endpoint_url(&options), "BYOC_ENDPOINT_URL")?;
    let is_openai = is_openai(&base);
    let dialect = if is_openai { &OPENAI } else { &GATEWAY };
    let endpoint = Endpoint::new(EndpointOptions {
        headers: organization(&options)?,
        limits: options.limits.over(dialect.first_token),
        base,
        key: options.api_key,
        key_setting: "BYOC_API_KEY",
        key_header: options.auth_header,
        outbound: sockets.calls,
    })?;
    if is_openai && !endpoint.has_key() {
        return Err(ProviderError::setting("BYOC_API_KEY", "OpenAI needs a key"));
    }
    Ok(Arc::new(ChatCompletions::new(Parts {
        label,
        dialect,
        endpoint,
        azure: None,
        api: options.api,
        catalog: options.catalog,
    })))
}

/// For keys that belong to several organizations.
fn organization(options: &Options) -> Result<Vec<(&'static str, String)>, ProviderError> {
    let Some(name) = filled(options.organization.as_deref()) else { return Ok(Vec::new()) };
    if HeaderValue::try_from(name).is_err() {
        let reason = "it has characters that no HTTP header can hold";
        return Err(ProviderError::setting("BYOC_API_KEY_ORG", reason));
    }
    Ok(vec![("openai-organization", name.to_owned())])
}
