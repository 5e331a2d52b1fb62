//! An address with its credential, ready to be called.

use atlas_domain::{Destination, ProviderError};
use atlas_http::{Call, Credential, HeaderName, HttpError, Limits, Origin, Outbound, Reply};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::destination::destination;
use crate::refusal::from_http;
use crate::scrub::Scrubber;

/// What an endpoint is made of.
pub struct EndpointOptions {
    /// The base that operations are appended to; a query in it goes along with every call.
    pub base: Url,
    /// The key, if there is one.
    pub key: Option<SecretString>,
    /// The setting the key comes from, for errors.
    pub key_setting: &'static str,
    /// The header that carries the key as it is, from `BYOC_AUTH_HEADER` or the provider's usual
    /// one; `None`, and `Authorization` by name: `Authorization: Bearer`.
    pub key_header: Option<String>,
    /// Headers of every call, such as a version. They hold no secret.
    pub headers: Vec<(&'static str, String)>,
    /// Time limits of every call.
    pub limits: Limits,
    /// The client.
    pub outbound: Outbound,
}

/// An address with its credential. Shared by the models of one provider.
#[derive(Debug)]
pub struct Endpoint {
    base: Url,
    origin: Origin,
    destination: Destination,
    credential: Option<Credential>,
    headers: Vec<(&'static str, String)>,
    limits: Limits,
    outbound: Outbound,
    scrubber: Scrubber,
}

impl Endpoint {
    /// Checks the parts and seals the key to the origin. Opens no connection.
    pub fn new(options: EndpointOptions) -> Result<Self, ProviderError> {
        let EndpointOptions { base, key, key_setting, key_header, headers, limits, outbound } = options;
        let origin = Origin::of(&base).map_err(from_http)?;
        outbound.policy().check(&base).map_err(from_http)?;
        let filled = key.as_ref().map(|key| key.expose_secret().trim()).filter(|key| !key.is_empty());
        let header = key_header.as_deref().map(header_name).transpose()?;
        let credential = filled.map(|key| seal(&origin, header, key)).transpose().map_err(|_| {
            ProviderError::setting(key_setting, "it has characters that no HTTP header can hold")
        })?;
        let destination = destination(&origin);
        let scrubber = Scrubber::new(key.as_ref());
        Ok(Self { base, origin, destination, credential, headers, limits, outbound, scrubber })
    }

    /// The origin of every call.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where texts go.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Whether calls carry a key.
    pub fn has_key(&self) -> bool {
        self.credential.is_some()
    }

    /// Takes the key out of the provider's words.
    pub fn scrubber(&self) -> &Scrubber {
        &self.scrubber
    }

    /// The client.
    pub fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// The URL of an operation below the base, such as `chat/completions`.
    pub fn url(&self, operation: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{operation}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Sends JSON. `purpose` is its line in the ledger.
    pub async fn post(
        &self,
        operation: &str,
        purpose: &'static str,
        accept: &'static str,
        body: &Value,
    ) -> Result<Reply, ProviderError> {
        let call = Call::post_json(self.url(operation), purpose, body).map_err(from_http)?;
        self.send(call.accepting(accept)).await
    }

    /// Asks for something.
    pub async fn get(&self, operation: &str, purpose: &'static str) -> Result<Reply, ProviderError> {
        self.send(Call::get(self.url(operation), purpose)).await
    }

    /// Sends a call to this endpoint's origin with what every call carries.
    pub async fn send(&self, call: Call) -> Result<Reply, ProviderError> {
        let mut call = call.limits(self.limits);
        for (name, value) in &self.headers {
            call = call.header(name, value).map_err(from_http)?;
        }
        if let Some(credential) = &self.credential {
            call = call.authorized(credential).map_err(from_http)?;
        }
        self.outbound.send(call).await.map_err(from_http)
    }
}

/// The header a setting names.
fn header_name(name: &str) -> Result<HeaderName, ProviderError> {
    name.trim().parse().map_err(|_| ProviderError::setting("BYOC_AUTH_HEADER", "it is no name of a header"))
}

/// The key for its one origin. Whoever names `Authorization` means the usual scheme, unless the key
/// brings its own (`Basic ...`).
fn seal(origin: &Origin, header: Option<HeaderName>, key: &str) -> Result<Credential, HttpError> {
    match header {
        Some(name) if name != "authorization" || key.contains(' ') => {
            Credential::header(origin.clone(), name, key)
        }
        _ => Credential::bearer(origin.clone(), key),
    }
}
