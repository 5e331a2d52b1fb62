//! The client.

use std::error::Error as _;
use std::fmt;
use std::sync::{Arc, Once};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{BoxStream, StreamExt, unfold};
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout_at};

use crate::call::Call;
use crate::error::HttpError;
use crate::ledger::Ledger;
use crate::policy::{EgressPolicy, Origin};
use crate::resolver::CheckedResolver;

/// Long enough for a lost packet or two, short enough that a wrong address is noticed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes outbound requests under one policy. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Outbound {
    client: reqwest::Client,
    policy: EgressPolicy,
    ledger: Arc<Ledger>,
}

impl Outbound {
    /// A client that calls what `policy` allows and writes into `ledger`. Opens no connection.
    pub fn new(policy: EgressPolicy, ledger: Arc<Ledger>) -> Result<Self, HttpError> {
        install_crypto();
        let builder = || {
            reqwest::Client::builder()
                .user_agent(concat!("atlasai-byoc/", env!("CARGO_PKG_VERSION")))
                .dns_resolver(CheckedResolver { policy: policy.clone() })
                // A redirect would carry the prompt to an origin nobody configured.
                .redirect(reqwest::redirect::Policy::none())
                // A proxy from the environment would see every prompt of plain http.
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
        };
        let client = builder().build().or_else(|error| {
            // An image without root certificates can still call plain http on its own network;
            // https then trusts nobody instead of the server not starting.
            tracing::warn!(error = %root_cause(&error), "no system root certificates; https will be refused");
            builder().tls_certs_only([]).build()
        });
        let client = client.map_err(|_| HttpError::Protocol { reason: "the client cannot be made" })?;
        Ok(Self { client, policy, ledger })
    }

    /// What this client may call.
    pub fn policy(&self) -> &EgressPolicy {
        &self.policy
    }

    /// Sends a request and waits for the head of the answer, whatever its status. Dropping the
    /// future, or the reply, closes the connection.
    pub async fn send(&self, call: Call) -> Result<Reply, HttpError> {
        let origin = self.policy.check(&call.url)?;
        let host = origin.host().to_owned();
        let deadline = Instant::now() + call.limits.first_token;
        self.ledger.sent(&origin, call.purpose, call.body.len());
        let request = self.client.request(call.method, call.url).headers(call.headers).body(call.body);
        let response = timeout_at(deadline, request.send())
            .await
            .map_err(|_| HttpError::Timeout { host: host.clone(), limit: "first token" })?
            .map_err(|error| translate(&host, &error))?;
        let meter = Meter { ledger: Arc::clone(&self.ledger), origin, purpose: call.purpose };
        Ok(Reply { response, meter, deadline, limit: "first token", idle: call.limits.idle })
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// The head of an answer; its body is still on the way.
#[derive(Debug)]
pub struct Reply {
    response: reqwest::Response,
    meter: Meter,
    /// When the next byte must be here.
    deadline: Instant,
    /// What that deadline is called.
    limit: &'static str,
    idle: Duration,
}

#[derive(Debug)]
struct Meter {
    ledger: Arc<Ledger>,
    origin: Origin,
    purpose: &'static str,
}

impl Reply {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The content type without parameters, in lower case; empty when the answer names none.
    pub fn content_type(&self) -> String {
        let value = self.headers().get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        value.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The whole body, if it is at most `limit_bytes` long.
    pub async fn bytes(mut self, limit_bytes: usize) -> Result<Bytes, HttpError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit_bytes {
                return Err(HttpError::TooLarge { host: self.meter.origin.host().to_owned(), limit_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The body as it arrives. It ends after the last byte or the first error.
    pub fn chunks(self) -> BoxStream<'static, Result<Bytes, HttpError>> {
        unfold(Some(self), |reply| async {
            let mut reply = reply?;
            match reply.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), Some(reply))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let host = || self.meter.origin.host().to_owned();
        let chunk = match timeout_at(self.deadline, self.response.chunk()).await {
            Err(_) => return Err(HttpError::Timeout { host: host(), limit: self.limit }),
            Ok(Err(_)) => return Err(HttpError::Interrupted { host: host() }),
            Ok(Ok(chunk)) => chunk,
        };
        (self.deadline, self.limit) = (Instant::now() + self.idle, "idle");
        if let Some(chunk) = &chunk {
            self.meter.ledger.received(&self.meter.origin, self.meter.purpose, chunk.len());
        }
        Ok(chunk)
    }
}

/// reqwest takes the process's default TLS provider. Another part of the process may have
/// installed one already, which is as good.
fn install_crypto() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("a TLS provider was installed before");
        }
    });
}

/// What went wrong before the head of the answer arrived. reqwest's own text would name the URL.
fn translate(host: &str, error: &reqwest::Error) -> HttpError {
    let host = host.to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        // The resolver's own verdict, as it went into the connector.
        if let Some(ours) = cause.downcast_ref::<HttpError>() {
            return ours.clone();
        }
        if let Some(tls) = tls_error(cause) {
            return HttpError::Tls { host, reason: tls.to_string() };
        }
        source = cause.source();
    }
    if error.is_timeout() {
        HttpError::Timeout { host, limit: "connect" }
    } else if error.is_dns() {
        HttpError::Dns { host }
    } else if error.is_connect() {
        HttpError::Connect { host, reason: root_cause(error) }
    } else if error.is_builder() {
        HttpError::Url { reason: "no request can be made from it" }
    } else {
        HttpError::Interrupted { host }
    }
}

/// A TLS error, also inside of I/O errors: `io::Error::source` skips the error it wraps.
fn tls_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().and_then(|inner| tls_error(inner)),
        None => cause.downcast_ref(),
    }
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // The outermost text would name the URL; an error without a cause is not worth that.
    if std::ptr::addr_eq(cause, error) { "unknown reason".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
