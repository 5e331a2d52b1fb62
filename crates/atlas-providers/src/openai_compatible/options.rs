//! The settings, checked.

use std::sync::Arc;

use atlas_http::{Call, Credential, HttpError, Origin, Outbound, Url};
use atlas_llm::LlmError;
use secrecy::{ExposeSecret, SecretString};

use super::error::{Redactor, from_http};

const OPENAI_BASE: &str = "https://api.openai.com/v1";

/// What the settings say about a provider. `Debug` shows no key.
#[derive(Debug, Clone)]
pub struct Options {
    /// `BYOC_ENDPOINT_URL`: the base that operations are appended to. Optional for `openai`.
    pub endpoint_url: Option<String>,
    /// `BYOC_API_KEY`: sent to the endpoint's origin and nowhere else. OpenAI needs one.
    pub api_key: Option<SecretString>,
    /// OpenAI's organization, when the key belongs to several.
    pub organization: Option<String>,
    /// `BYOC_MODEL`. There is no default: model names are retired within months.
    pub model: String,
    /// The client, whose policy must allow the endpoint; see [`crate::origin`].
    pub outbound: Outbound,
}

/// An endpoint that can be called.
pub(super) struct Endpoint {
    pub(super) origin: Origin,
    pub(super) model: String,
    pub(super) outbound: Outbound,
    pub(super) redactor: Arc<Redactor>,
    base: Url,
    credential: Option<Credential>,
    organization: Option<String>,
}

impl Endpoint {
    pub(super) fn new(label: &str, options: &Options) -> Result<Self, LlmError> {
        let base = base_url(label, options.endpoint_url.as_deref())?;
        let origin = Origin::of(&base).map_err(|error| endpoint_setting(&error))?;
        options.outbound.policy().check(&base).map_err(from_http)?;
        let model = options.model.trim().to_owned();
        if model.is_empty() {
            return Err(LlmError::Settings {
                setting: "BYOC_MODEL",
                reason: "it is empty, and there is no default model; set the name the provider uses".into(),
            });
        }
        let key =
            options.api_key.as_ref().map(|key| key.expose_secret().trim()).filter(|key| !key.is_empty());
        let organization =
            options.organization.clone().filter(|organization| !organization.trim().is_empty());
        let endpoint = Self {
            credential: key.map(|key| Credential::bearer(origin.clone(), key)).transpose().map_err(|_| {
                LlmError::Settings {
                    setting: "BYOC_API_KEY",
                    reason: "it has characters that no HTTP header can hold".into(),
                }
            })?,
            redactor: Arc::new(Redactor::new(key)),
            outbound: options.outbound.clone(),
            origin,
            model,
            base,
            organization,
        };
        if endpoint.is_openai() && endpoint.credential.is_none() {
            return Err(LlmError::Settings { setting: "BYOC_API_KEY", reason: "OpenAI needs a key".into() });
        }
        Ok(endpoint)
    }

    /// Whether this is OpenAI itself, in any of its regions.
    pub(super) fn is_openai(&self) -> bool {
        let host = self.origin.host();
        host == "api.openai.com" || host.ends_with(".api.openai.com")
    }

    /// The URL of an operation.
    pub(super) fn url(&self, operation: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{operation}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Adds what every call carries.
    pub(super) fn dress(&self, call: Call) -> Result<Call, LlmError> {
        let call = match &self.credential {
            Some(credential) => call.authorized(credential).map_err(from_http)?,
            None => call,
        };
        match &self.organization {
            Some(organization) => {
                call.header("openai-organization", organization.trim()).map_err(|_| LlmError::Settings {
                    setting: "BYOC_API_KEY_ORG",
                    reason: "it has characters that no HTTP header can hold".into(),
                })
            }
            None => Ok(call),
        }
    }
}

pub(crate) fn endpoint_origin(label: &str, endpoint_url: Option<&str>) -> Result<Origin, LlmError> {
    Origin::of(&base_url(label, endpoint_url)?).map_err(|error| endpoint_setting(&error))
}

/// The base of all operations: a pasted operation is cut off, and `/v1` is added only where there
/// is no path at all, because a gateway's path is its own business.
pub(super) fn base_url(label: &str, endpoint_url: Option<&str>) -> Result<Url, LlmError> {
    let text = match endpoint_url.map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => text,
        None if label == "openai" => OPENAI_BASE,
        None => {
            return Err(LlmError::Settings {
                setting: "BYOC_ENDPOINT_URL",
                reason: format!("{label} needs the address of the server, such as http://host:8000/v1"),
            });
        }
    };
    let unusable = |reason: &str| LlmError::Settings { setting: "BYOC_ENDPOINT_URL", reason: reason.into() };
    let mut url = Url::parse(text).map_err(|_| unusable("it is no URL; write http:// or https:// first"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(unusable("it has a query or fragment; give the base address only"));
    }
    Origin::of(&url).map_err(|error| endpoint_setting(&error))?;
    let mut path = url.path().trim_end_matches('/');
    for operation in ["/chat/completions", "/completions", "/responses", "/embeddings", "/models"] {
        if let Some(base) = path.strip_suffix(operation) {
            path = base.trim_end_matches('/');
            break;
        }
    }
    let path = if path.is_empty() { "/v1".to_owned() } else { path.to_owned() };
    url.set_path(&path);
    Ok(url)
}

fn endpoint_setting(error: &HttpError) -> LlmError {
    LlmError::Settings { setting: "BYOC_ENDPOINT_URL", reason: error.to_string() }
}
