//! The settings, checked.

use std::time::Duration;

use atlas_domain::ProviderError;
use atlas_http::{Limits, Origin, Url};
use atlas_vendor::{Endpoint, EndpointOptions, ModelFamily, from_http};

use crate::options::{RemoteOptions, filled};
use crate::remote::{Known, given, ours};
use crate::{Origins, Sockets};

/// Where Ollama listens unless it is told otherwise.
const USUAL_ADDRESS: &str = "http://127.0.0.1:11434";
/// The first request after a pause loads the model, which takes minutes from a slow disk.
const LIMITS: Limits = Limits {
    first_token: Duration::from_secs(300),
    idle: Duration::from_secs(60),
    total: Some(Duration::from_secs(300)),
};

/// One model of one server.
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    /// Components to ask for, where they are not the model's own.
    pub(super) dimensions: Option<usize>,
    pub(super) known: Known,
}

pub(super) fn origins(options: &RemoteOptions) -> Result<Origins, ProviderError> {
    let origin = Origin::of(&base(options)?).map_err(|error| ours(from_http(error)))?;
    Ok(Origins::only(origin))
}

impl Target {
    pub(super) fn new(options: &RemoteOptions, sockets: Option<Sockets>) -> Result<Self, ProviderError> {
        let base = base(options)?;
        let model = filled(options.model.as_ref()).ok_or_else(|| {
            ProviderError::setting(
                "EMBEDDING_MODEL",
                "it is not set; `ollama list` shows what the server has",
            )
        })?;
        let endpoint = Endpoint::new(EndpointOptions {
            base,
            // Ollama wants none; a proxy in front of it may.
            key: options.api_key.clone(),
            key_setting: "EMBEDDING_API_KEY",
            key_header: None,
            headers: Vec::new(),
            limits: LIMITS,
            outbound: given(sockets)?.calls,
        })
        .map_err(ours)?;
        let entry = options.catalog.find(ModelFamily::Local, model);
        let facts = entry.map(|entry| entry.embedding.clone()).unwrap_or_default();
        Ok(Self {
            endpoint,
            dimensions: options.dimensions.filter(|wanted| facts.dimension != Some(*wanted)),
            known: Known::new(super::PLUG.label, model, options.dimensions, &facts)?,
        })
    }
}

/// The server's root, however it was pasted: bare, with `/v1`, with `/api` or with an operation.
fn base(options: &RemoteOptions) -> Result<Url, ProviderError> {
    let written = filled(options.endpoint_url.as_ref()).unwrap_or(USUAL_ADDRESS);
    atlas_vendor::base(written, "EMBEDDING_ENDPOINT_URL", &["/api/embed", "/api", "/v1/embeddings", "/v1"])
}
