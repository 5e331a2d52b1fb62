//! Servers of one's own that speak OpenAI's chat completions: vLLM, TGI, and any other.

use std::sync::Arc;

use atlas_http::{Origin, Url};
use atlas_llm::{Provider, ProviderError};
use atlas_vendor::{Endpoint, EndpointOptions, from_http, openai_base};

use crate::chat_completions::{COMPATIBLE, ChatCompletions, Dialect, Parts, TGI, VLLM};
use crate::options::filled;
use crate::{Options, Origins, Plug, Sockets};

pub(crate) const PLUG: Plug = Plug { labels: &["vllm", "tgi", "compatible"], origins, make };

fn dialect(label: &str) -> &'static Dialect {
    match label {
        "vllm" => &VLLM,
        "tgi" => &TGI,
        _ => &COMPATIBLE,
    }
}

fn base(label: &str, options: &Options) -> Result<Url, ProviderError> {
    match filled(options.endpoint_url.as_deref()) {
        Some(text) => openai_base(text, "BYOC_ENDPOINT_URL"),
        None => Err(ProviderError::setting(
            "BYOC_ENDPOINT_URL",
            format!("{label} needs the address of the server, such as http://host:8000/v1"),
        )),
    }
}

fn origins(label: &'static str, options: &Options) -> Result<Origins, ProviderError> {
    let origin = Origin::of(&base(label, options)?).map_err(from_http)?;
    Ok(Origins::only(origin))
}

fn make(label: &'static str, options: Options, sockets: Sockets) -> Result<Arc<dyn Provider>, ProviderError> {
    let dialect = dialect(label);
    let endpoint = Endpoint::new(EndpointOptions {
        base: base(label, &options)?,
        key: options.api_key,
        key_setting: "BYOC_API_KEY",
        key_header: options.auth_header,
        headers: Vec::new(),
        limits: options.limits.over(dialect.first_token),
        outbound: sockets.calls,
    })?;
    Ok(Arc::new(ChatCompletions::new(Parts {
        label,
        dialect,
        endpoint,
        azure: None,
        api: options.api,
        catalog: options.catalog,
    })))
}
