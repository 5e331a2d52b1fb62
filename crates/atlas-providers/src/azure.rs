//! Azure OpenAI (Microsoft Foundry).
//!
//! Without an api-version the v1 URLs are used, with `BYOC_AZURE_API_VERSION` the classic ones;
//! either way `BYOC_MODEL` is the name of the deployment. The key goes into `api-key`, or into the
//! header that `BYOC_AUTH_HEADER` names: `Authorization` for an Entra token, an API gateway's own.
//!
//! A deployment may have any name, so facts about the model are known only where it is called like
//! its model. Private endpoints need nothing here: the host's name stays, and DNS gives the address.
//!
//! Not here: fetching Entra tokens.

use std::sync::Arc;

use atlas_http::Origin;
use atlas_llm::{Provider, ProviderError};
use atlas_vendor::{AzureAddress, Endpoint, EndpointOptions, from_http};

use crate::chat_completions::{AZURE, ChatCompletions, Parts};
use crate::options::filled;
use crate::{ApiChoice, Options, Origins, Plug, Sockets};

pub(crate) const PLUG: Plug = Plug { labels: &["azure"], origins, make };

const SUFFIXES: [&str; 4] = [".azure.com", ".azure.us", ".azure.cn", ".microsoft.com"];

fn address(options: &Options) -> Result<AzureAddress, ProviderError> {
    match filled(options.endpoint_url.as_deref()) {
        Some(text) => AzureAddress::new(text, options.azure_api_version.as_deref(), "BYOC_ENDPOINT_URL"),
        None => Err(ProviderError::setting(
            "BYOC_ENDPOINT_URL",
            "azure needs the resource's address, such as https://my-resource.openai.azure.com",
        )),
    }
}

fn origins(_label: &'static str, options: &Options) -> Result<Origins, ProviderError> {
    let origin = Origin::of(address(options)?.base()).map_err(from_http)?;
    Ok(Origins::only(origin))
}

fn make(label: &'static str, options: Options, sockets: Sockets) -> Result<Arc<dyn Provider>, ProviderError> {
    let azure = address(&options)?;
    let endpoint = Endpoint::new(EndpointOptions {
        base: azure.base().clone(),
        key: options.api_key,
        key_setting: "BYOC_API_KEY",
        key_header: options.auth_header.or_else(|| Some("api-key".to_owned())),
        headers: Vec::new(),
        limits: options.limits.over(AZURE.first_token),
        outbound: sockets.calls,
    })?;
    // A gateway in front may have other ways to know us.
    if !endpoint.has_key() && SUFFIXES.iter().any(|suffix| endpoint.origin().host().ends_with(suffix)) {
        return Err(ProviderError::setting("BYOC_API_KEY", "Azure needs a key"));
    }
    // Responses exist under classic URLs for previews only.
    let api = match options.api {
        ApiChoice::Auto if azure.is_classic() => ApiChoice::Chat,
        api => api,
    };
    Ok(Arc::new(ChatCompletions::new(Parts {
        label,
        dialect: &AZURE,
        endpoint,
        azure: Some(azure),
        api,
        catalog: options.catalog,
    })))
}
