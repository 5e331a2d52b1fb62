//! Requests, sent and counted.

use std::fmt;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, USER_AGENT};
use http::{HeaderValue, Method, StatusCode};
use reqwest::{Client, Request};

use crate::call::Call;
use crate::dial::Dialer;
use crate::error::HttpError;
use crate::ledger::Ledger;
use crate::options::ConnectOptions;
use crate::origin::Origin;
use crate::policy::EgressPolicy;
use crate::reply::{Patience, Reply};
use crate::translate::{Way, is_untold_refusal};
use crate::{client, tls, tunnel};

const AGENT: HeaderValue = HeaderValue::from_static(concat!("atlasai-byoc/", env!("CARGO_PKG_VERSION")));

/// Makes outbound requests under one policy. Cheap to clone; clones share connections.
///
/// A proxy is one that the options name; none is looked for in the environment.
#[derive(Clone)]
pub struct Outbound {
    client: Client,
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Outbound {
    /// A client that calls what `policy` allows and writes into `ledger`. Opens no connection.
    ///
    /// A proxy must be named by the policy too, with [`EgressPolicy::with_proxy`].
    pub fn new(
        policy: EgressPolicy,
        options: &ConnectOptions,
        ledger: Arc<Ledger>,
    ) -> Result<Self, HttpError> {
        let dialer = Arc::new(Dialer::new(policy, options)?);
        let client = client::build(&dialer)?;
        Ok(Self { client, dialer, ledger })
    }

    /// What this client may call.
    pub fn policy(&self) -> &EgressPolicy {
        &self.dialer.policy
    }

    /// Sends a request and waits for the head of the answer, whatever its status: a redirect is an
    /// answer too. Dropping the future, or the reply, closes the connection.
    pub async fn send(&self, call: Call) -> Result<Reply, HttpError> {
        let origin = self.dialer.check(&call.url)?;
        let mut patience = Patience::new(&call.limits);
        let counts = self.ledger.counts(&origin, call.purpose);
        let n_bytes = call.body.len();
        let request = request(call);
        counts.sent(n_bytes);
        let (sent, asked) = tls::noticing(patience.within(self.client.execute(request))).await;
        let response = match sent {
            None => return Err(patience.timeout(&origin)),
            // On the heap: it may hold a handshake, and most calls have nothing to explain.
            Some(Err(error)) => {
                return Err(Box::pin(self.explain(&error, &origin, asked, &mut patience)).await);
            }
            Some(Ok(response)) => response,
        };
        if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            && let Some(proxy) = self.dialer.proxy_for(&origin)
        {
            return Err(tunnel::refused(&proxy.origin, 407, proxy.authorization.is_some(), &origin));
        }
        Ok(Reply { response, origin, counts, patience })
    }

    async fn explain(
        &self,
        error: &reqwest::Error,
        target: &Origin,
        asked: bool,
        patience: &mut Patience,
    ) -> HttpError {
        let proxy = self.dialer.proxy_for(target);
        // Whether a proxy forbids a target or cannot reach it is the difference between a mistake
        // in the settings and a call worth repeating, so it is asked for the status once more.
        if let Some(proxy) = proxy
            && is_untold_refusal(error)
            && let Some(Err(told)) = patience.within(self.dialer.ask(proxy, target)).await
        {
            return told;
        }
        let presented = self.dialer.tls.client_auth_cert_resolver.has_certs();
        Way { target, proxy, asked, presented }.explain(error)
    }
}

fn request(call: Call) -> Request {
    let is_empty = call.body.is_empty();
    let mut request = Request::new(call.method, call.url);
    *request.headers_mut() = call.headers;
    *request.body_mut() = Some(call.body.into());
    // The library leaves this out, and some gateways then wait for a body or answer 411.
    if is_empty && matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH) {
        request.headers_mut().insert(CONTENT_LENGTH, const { HeaderValue::from_static("0") });
    }
    // Not a default of the client's: it would tell the proxy too, which did not ask.
    request.headers_mut().entry(USER_AGENT).or_insert(AGENT);
    request
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("policy", self.policy()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
