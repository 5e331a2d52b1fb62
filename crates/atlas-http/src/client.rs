//! reqwest, told everything that it would otherwise look for on its own.
//!
//! It gets our TLS configuration, our resolver and our decision about the proxy, the same that the
//! [`Dialer`] uses for the connection test. What is not said here it does not do: no proxy from the
//! environment, no redirects, no retries.

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::retry;
use rustls::ClientConfig;

use crate::dial::Dialer;
use crate::error::HttpError;
use crate::origin::Origin;
use crate::proxy::Proxy;
use crate::resolver;

/// Below the idle limits of the usual gateways, so that it is mostly us who close.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// A burst of streams leaves its connections behind; the next burst pays for the rest again.
const POOL_CONNECTIONS: usize = 64;
/// Below the idle limits of the usual gateways and load balancers: an answer may take minutes to
/// begin, and a connection that was forgotten on the way would only be noticed at the time limit.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A client whose connections are allowed, resolved and secured as the dialer's are.
pub(crate) fn build(dialer: &Arc<Dialer>) -> Result<reqwest::Client, HttpError> {
    let builder = reqwest::Client::builder()
        // It speaks HTTP/1.1 only, by the protocols in this configuration.
        .tls_backend_preconfigured(ClientConfig::clone(&dialer.tls))
        .dns_resolver(CheckedResolver(Arc::clone(dialer)))
        // A redirect would carry the prompt to an origin nobody configured.
        .redirect(Policy::none())
        // Retries have a budget that other crates keep. With none allowed, reqwest also saves the
        // copy of each request that it would hold ready.
        .retry(retry::never().max_retries_per_request(0))
        .connect_timeout(dialer.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(KEEPALIVE)
        .tcp_keepalive_interval(KEEPALIVE)
        .pool_idle_timeout(POOL_IDLE)
        .pool_max_idle_per_host(POOL_CONNECTIONS)
        // A proxy from the environment would see every prompt of plain http.
        .no_proxy();
    // reqwest's 30 seconds would end an upload to a server that loads its model before it reads.
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(None);
    let builder = match &dialer.proxy {
        Some(proxy) => builder.proxy(explicit(proxy, dialer)?),
        None => builder,
    };
    builder.build().map_err(|_| HttpError::Protocol { reason: "the client cannot be made" })
}

/// The proxy of the settings, asked for each target whether it serves it. Its credentials are a
/// header and no part of the URL, which reqwest logs.
fn explicit(proxy: &Proxy, dialer: &Arc<Dialer>) -> Result<reqwest::Proxy, HttpError> {
    let url: url::Url = proxy
        .origin
        .to_string()
        .parse()
        .map_err(|_| HttpError::Options { what: "proxy", reason: "its URL does not parse".to_owned() })?;
    let dialer = Arc::clone(dialer);
    let made = reqwest::Proxy::custom(move |target| {
        // What cannot be read goes to the proxy: the way without it is the one that needs a reason.
        let direct = Origin::of(target).is_ok_and(|target| dialer.proxy_for(&target).is_none());
        (!direct).then(|| url.clone())
    });
    Ok(match &proxy.authorization {
        Some(authorization) => made.custom_http_auth(authorization.clone()),
        None => made,
    })
}

/// Names to addresses that the policy allows. Literals do not come here: reqwest dials them as they
/// are, so they are checked before a request is made.
struct CheckedResolver(Arc<Dialer>);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let dialer = Arc::clone(&self.0);
        Box::pin(async move {
            // Port 0 stands for the one of the URL.
            let found = resolver::resolve(&dialer.policy, name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
