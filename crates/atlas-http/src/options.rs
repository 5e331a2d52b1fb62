//! How connections are made: trust, identity, proxy, patience.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::error::HttpError;
use crate::no_proxy::NoProxy;
use crate::origin::Origin;

/// What the settings say about connections. A proxy comes from here or from nowhere: `HTTPS_PROXY`
/// and its kin are read by the settings or by nobody.
#[derive(Clone)]
pub struct ConnectOptions {
    /// PEM certificates that are trusted in addition to the system's (which are where the platform
    /// keeps them, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` say).
    pub ca_bundle: Option<Vec<u8>>,
    /// What is shown to servers that ask who we are.
    pub client_identity: Option<ClientIdentity>,
    /// The way out, where there is no direct one.
    pub proxy: Option<ProxyOptions>,
    /// For everything before the request can be sent: name, address, proxy, TLS.
    pub connect_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            ca_bundle: None,
            client_identity: None,
            proxy: None,
            // Long enough for a lost packet or two, short enough that a wrong address is noticed.
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("ca_bundle_bytes", &self.ca_bundle.as_ref().map(Vec::len))
            .field("client_identity", &self.client_identity)
            .field("proxy", &self.proxy)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// A client certificate. `Debug` shows the size of the chain and nothing of the key.
#[derive(Clone)]
pub struct ClientIdentity {
    /// PEM certificates, our own first, then those that lead to the authority.
    pub chain: Vec<u8>,
    /// The PEM key of the first certificate: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: SecretString,
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity").field("chain_bytes", &self.chain.len()).finish_non_exhaustive()
    }
}

/// An HTTP proxy. `Debug` shows its origin, never its credentials.
#[derive(Clone)]
pub struct ProxyOptions {
    /// `http://` or `https://`, with a user name and password where the proxy wants them.
    pub url: Url,
    /// What is reached without the proxy. Nothing is implied: a target on this machine goes
    /// through the proxy too unless it is listed.
    pub no_proxy: NoProxy,
}

impl ProxyOptions {
    /// The proxy's own origin, for [`EgressPolicy::with_proxy`](crate::EgressPolicy::with_proxy).
    pub fn origin(&self) -> Result<Origin, HttpError> {
        Origin::without_credentials(&self.url)
    }
}

impl fmt::Debug for ProxyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin().map(|origin| origin.to_string());
        f.debug_struct("ProxyOptions")
            .field("origin", &origin.as_deref().unwrap_or("unusable"))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}
