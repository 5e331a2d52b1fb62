//! AtlasAI's managed AI, behind the control plane.
//!
//! It is no value of `BYOC_PROVIDER`: it is used where no provider is configured, or where the
//! settings allow it to stand in for one.

use std::sync::Arc;

use atlas_http::Url;
use atlas_llm::{Provider, ProviderError};
use atlas_vendor::{Endpoint, EndpointOptions, openai_base};
use secrecy::SecretString;

use crate::chat_completions::{CONTROL_PLANE, ChatCompletions, Parts};
use crate::{ApiChoice, Options, Sockets};

/// The label under which the managed AI appears in answers and metrics.
pub const CONTROL_PLANE_LABEL: &str = "control_plane";

/// The managed AI at `CP_ENDPOINT_URL` with `CP_TOKEN`. Of the options only the time limits and the
/// model facts apply: what the customer has set for a provider of their own, its key above all, is
/// not the control plane's. Connected to without a model's name it chooses the model.
pub fn control_plane(
    endpoint: Url,
    token: Option<SecretString>,
    options: Options,
    sockets: Sockets,
) -> Result<Arc<dyn Provider>, ProviderError> {
    let endpoint = Endpoint::new(EndpointOptions {
        base: openai_base(endpoint.as_str(), "CP_ENDPOINT_URL")?,
        key: token,
        key_setting: "CP_TOKEN",
        key_header: None,
        headers: Vec::new(),
        limits: options.limits.over(CONTROL_PLANE.first_token),
        outbound: sockets.calls,
    })?;
    Ok(Arc::new(ChatCompletions::new(Parts {
        label: CONTROL_PLANE_LABEL,
        dialect: &CONTROL_PLANE,
        endpoint,
        azure: None,
        api: ApiChoice::Chat,
        catalog: options.catalog,
    })))
}
