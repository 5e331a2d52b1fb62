//! From settings to clients that can call what the settings name, and nothing else.

use std::sync::Arc;

use atlas_config::{EgressMode, ExposeSecret, FileContent, NetworkSettings};
use atlas_domain::ProviderError;
use atlas_http::{
    ClientIdentity, ConnectOptions, EgressPolicy, HttpError, Ledger, NoProxy, Origin, Outbound, ProxyOptions,
    Url,
};
use atlas_vendor::{Origins, Sockets, from_http};

/// How connections are made under these settings. Each part of the server gets a client of its
/// own from it, which can call the origins of that part alone.
#[derive(Debug)]
pub(crate) struct Network {
    options: ConnectOptions,
    egress: EgressMode,
    ledger: Arc<Ledger>,
}

impl Network {
    /// Reads certificates and the proxy.
    pub(crate) fn new(settings: &NetworkSettings, ledger: Arc<Ledger>) -> Result<Self, ProviderError> {
        let bytes = |file: &FileContent| file.bytes.to_vec();
        let identity = settings.client_identity.as_ref().map(|files| {
            let key = String::from_utf8(bytes(&files.key))
                .map_err(|_| ProviderError::setting("BYOC_CLIENT_KEY", "it is no PEM file"))?;
            Ok::<_, ProviderError>(ClientIdentity { chain: bytes(&files.cert), key: key.into() })
        });
        let options = ConnectOptions {
            ca_bundle: settings.ca_bundle.as_ref().map(bytes),
            client_identity: identity.transpose()?,
            proxy: proxy(settings)?,
            ..ConnectOptions::default()
        };
        let network = Self { options, egress: settings.egress, ledger };
        // Certificates are understood when a client is made; a bad one is found here, with the
        // setting it is from, rather than by every part of the server in turn.
        network.client([]).map_err(|error| certificates(settings, &error))?;
        Ok(network)
    }

    /// The clients of one provider or engine, which can call its origins alone.
    pub(crate) fn sockets(&self, origins: Origins) -> Result<Sockets, ProviderError> {
        let calls = self.client(origins.calls).map_err(from_http)?;
        let credentials = self.platform_client(origins.credentials).map_err(from_http)?;
        Ok(Sockets { calls, credentials })
    }

    fn client(&self, origins: impl IntoIterator<Item = Origin>) -> Result<Outbound, HttpError> {
        let mut policy = match self.egress {
            EgressMode::Settings => EgressPolicy::allow(origins),
            EgressMode::Private => EgressPolicy::allow(origins).private_only(),
            EgressMode::Off => EgressPolicy::default(),
        };
        if let (Some(proxy), false) = (&self.options.proxy, self.egress == EgressMode::Off) {
            policy = policy.with_proxy(proxy.origin()?);
        }
        Outbound::new(policy, &self.options, Arc::clone(&self.ledger))
    }

    /// A client for the services of the platform that hand out credentials, at link-local
    /// addresses that nothing else may call. No proxy stands before them. `None` without any.
    fn platform_client(&self, origins: Vec<Origin>) -> Result<Option<Outbound>, HttpError> {
        if origins.is_empty() || self.egress == EgressMode::Off {
            return Ok(None);
        }
        let policy = EgressPolicy::credential_sources(origins);
        Outbound::new(policy, &ConnectOptions::default(), Arc::clone(&self.ledger)).map(Some)
    }
}

fn proxy(settings: &NetworkSettings) -> Result<Option<ProxyOptions>, ProviderError> {
    let Some(url) = &settings.proxy_url else { return Ok(None) };
    let url = Url::parse(url.expose_secret())
        .map_err(|_| ProviderError::setting("BYOC_PROXY_URL", "it is no URL"))?;
    let no_proxy = NoProxy::parse(settings.no_proxy.as_deref().unwrap_or_default())
        .map_err(|error| ProviderError::setting("BYOC_NO_PROXY", error.to_string()))?;
    Ok(Some(ProxyOptions { url, no_proxy }))
}

/// Which of the settings a client could not be made of.
fn certificates(settings: &NetworkSettings, error: &HttpError) -> ProviderError {
    let setting = match (&settings.ca_bundle, &settings.client_identity) {
        (Some(_), None) => "BYOC_CA_BUNDLE",
        (None, Some(_)) => "BYOC_CLIENT_CERT",
        (Some(_), Some(_)) => "BYOC_CA_BUNDLE or BYOC_CLIENT_CERT",
        (None, None) => "BYOC_PROXY_URL",
    };
    ProviderError::setting(setting, error.to_string())
}
