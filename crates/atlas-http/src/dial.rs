//! From an origin to a connection, step by step: policy, name, address, proxy, TLS.
//!
//! Traffic does not need this: reqwest opens its connections. But its connector is one step that
//! says afterwards that it failed; it cannot be stopped after each part to take the time, does not
//! show the certificate it saw, and reuses what is open already. The connection test wants a new
//! connection and a verdict on every part of it, so it goes the way on its own, with all that
//! decides about the way shared: the policy, the resolver, the choice of proxy and the TLS
//! configuration are these for both. What can differ is the code in between, and
//! `agreement_tests.rs` holds both ways to the same verdicts.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::client::TlsStream;
use url::Url;

use crate::certificate::Fields;
use crate::error::{ConnectFailure, HttpError};
use crate::options::ConnectOptions;
use crate::origin::Origin;
use crate::policy::EgressPolicy;
use crate::proxy::Proxy;
use crate::reach::Steps;
use crate::tls::{self, Secured};
use crate::{resolver, tunnel};

/// Before the next address is tried beside the one that has not answered yet, from RFC 8305.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// Everything that decides about new connections.
pub(crate) struct Dialer {
    pub(crate) policy: EgressPolicy,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) connect_timeout: Duration,
}

/// A connection that HTTP can be spoken on.
pub(crate) struct Wire {
    pub(crate) io: Box<dyn Io>,
    /// The server asked for a client certificate.
    pub(crate) asked: bool,
}

/// Bytes in, bytes out.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Dialer {
    pub(crate) fn new(policy: EgressPolicy, options: &ConnectOptions) -> Result<Self, HttpError> {
        let tls = tls::client_config(options)?;
        let proxy = options.proxy.as_ref().map(|proxy| Proxy::new(proxy, &policy)).transpose()?;
        Ok(Self { policy, tls, proxy, connect_timeout: options.connect_timeout })
    }

    /// The proxy that calls to the target go through.
    pub(crate) fn proxy_for(&self, target: &Origin) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| proxy.serves(target))
    }

    /// Whether the URL may be requested, the way it would be.
    pub(crate) fn check(&self, url: &Url) -> Result<Origin, HttpError> {
        let target = self.policy.check(url)?;
        self.check_way(&target)?;
        Ok(target)
    }

    fn check_way(&self, target: &Origin) -> Result<(), HttpError> {
        if self.proxy_for(target).is_none() {
            return Ok(());
        }
        // reqwest looks for a certificate of the literal with its brackets, after the tunnel.
        if target.is_https() && target.host().starts_with('[') {
            return Err(HttpError::Url { reason: "https through a proxy needs a name, not an IPv6 address" });
        }
        self.policy.check_proxied(target)
    }

    /// When a connection that is begun now must stand.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.connect_timeout
    }

    /// Opens a connection to the target. `tls` is [`Self::tls`] or derived from it.
    pub(crate) async fn dial(
        &self,
        target: &Origin,
        tls: &Arc<ClientConfig>,
        deadline: Instant,
        steps: &mut Steps,
    ) -> Result<Wire, HttpError> {
        let proxy = self.proxy_for(target);
        let allowed = async {
            self.policy.check_origin(target)?;
            self.check_way(target)?;
            // As reqwest does, before anything is resolved.
            if target.is_https() { tls::server_name(target).map(drop) } else { Ok(()) }
        };
        steps.take("policy", allowed, |()| way(proxy)).await?;
        let Some(proxy) = proxy else {
            let tcp = self.connect(target, std::convert::identity, deadline, steps).await?;
            return if target.is_https() {
                secured(tls, target, tcp, deadline, steps).await
            } else {
                Ok(Wire { io: Box::new(tcp), asked: false })
            };
        };
        let tcp = self.connect(&proxy.origin, Proxy::blame, deadline, steps).await?;
        // On the heap: it holds a handshake of its own, and most connections have no proxy.
        let pass = Box::pin(within(deadline, &proxy.origin, self.pass(proxy, target, tcp)));
        let pass = async { pass.await.map_err(Proxy::blame) };
        let io = steps.take("proxy", pass, |_| describe_pass(proxy, target)).await?;
        if target.is_https() {
            secured(tls, target, io, deadline, steps).await
        } else {
            Ok(Wire { io, asked: false })
        }
    }

    /// What the proxy says to a request for a tunnel, on a connection of its own.
    pub(crate) async fn ask(&self, proxy: &Proxy, target: &Origin) -> Result<(), HttpError> {
        let deadline = self.deadline();
        let tcp = self.connect(&proxy.origin, Proxy::blame, deadline, &mut Steps::unrecorded()).await?;
        let pass = within(deadline, &proxy.origin, self.pass(proxy, target, tcp));
        Box::pin(pass).await.map(drop).map_err(Proxy::blame)
    }

    /// TCP to one of the origin's addresses. `blame` says whose failure it is.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        blame: fn(HttpError) -> HttpError,
        deadline: Instant,
        steps: &mut Steps,
    ) -> Result<TcpStream, HttpError> {
        let addresses = match origin.literal() {
            Some(address) => vec![SocketAddr::new(address, origin.port())],
            None => {
                let resolved =
                    within(deadline, origin, resolver::resolve(&self.policy, origin.host(), origin.port()));
                let resolved = async { resolved.await.map_err(blame) };
                steps.take("dns", resolved, |found| resolver::describe(found)).await?
            }
        };
        let connected = within(deadline, origin, async {
            first_of(addresses).await.map_err(|error| explain(origin.host(), &error))
        });
        let connected = async { connected.await.map_err(blame) };
        steps.take("tcp", connected, |_| format!("{}:{} answers", origin.host(), origin.port())).await
    }

    /// Through the proxy, as far as it is the proxy's part.
    async fn pass(&self, proxy: &Proxy, target: &Origin, tcp: TcpStream) -> Result<Box<dyn Io>, HttpError> {
        let mut io: Box<dyn Io> = if proxy.origin.is_https() {
            Box::new(tls::secure(&self.tls, &proxy.origin, tcp).await?.stream)
        } else {
            Box::new(tcp)
        };
        if target.is_https() {
            tunnel::open(&mut io, &proxy.origin, proxy.authorization.as_ref(), target).await?;
        }
        Ok(io)
    }
}

/// The `tls` step.
async fn secured<T: Io + 'static>(
    tls: &Arc<ClientConfig>,
    target: &Origin,
    io: T,
    deadline: Instant,
    steps: &mut Steps,
) -> Result<Wire, HttpError> {
    let handshake = within(deadline, target, tls::secure(tls, target, io));
    let Secured { stream, asked } =
        steps.take("tls", handshake, |secured| describe_tls(&secured.stream)).await?;
    Ok(Wire { io: Box::new(stream), asked })
}

pub(crate) async fn within<T>(
    deadline: Instant,
    origin: &Origin,
    work: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    timeout_at(deadline, work).await.unwrap_or_else(|_| Err(late(origin.host())))
}

/// There is no connection, and the time for it is over.
pub(crate) fn late(host: &str) -> HttpError {
    HttpError::Timeout { host: host.to_owned(), limit: "connect" }
}

/// The first connection that stands. Addresses are tried in the system's order, each with a head
/// start, so one dead address of several costs a blink and not the whole time limit.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut trying = FuturesUnordered::new();
    let mut failed = None;
    loop {
        match waiting.next() {
            Some(address) => trying.push(TcpStream::connect(address)),
            None if trying.is_empty() => {
                return Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()));
            }
            None => {}
        }
        tokio::select! {
            Some(outcome) = trying.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => _ = failed.get_or_insert(error),
            },
            () = sleep(NEXT_ADDRESS), if !waiting.as_slice().is_empty() => {}
        }
    }
}

/// Why the system opened no connection.
pub(crate) fn explain(host: &str, error: &io::Error) -> HttpError {
    let failure = match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectFailure::Refused,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => ConnectFailure::Unreachable,
        io::ErrorKind::TimedOut => ConnectFailure::TimedOut,
        _ => ConnectFailure::Other,
    };
    HttpError::Connect { host: host.to_owned(), failure, reason: error.to_string() }
}

fn way(proxy: Option<&Proxy>) -> String {
    match proxy {
        None => "allowed, without a proxy".to_owned(),
        Some(proxy) => format!("allowed, through the proxy {}", proxy.origin.host()),
    }
}

fn describe_pass(proxy: &Proxy, target: &Origin) -> String {
    let host = proxy.origin.host();
    if target.is_https() { format!("{host} opened a tunnel") } else { format!("{host} forwards plain http") }
}

fn describe_tls<T>(stream: &TlsStream<T>) -> String {
    let (_, connection) = stream.get_ref();
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    match leaf.and_then(|leaf| Fields::of(leaf)) {
        Some(fields) => {
            let days = fields.days_left(UnixTime::now());
            format!("{version}, certificate issued by {}, valid for {days} more days", fields.issuer)
        }
        None => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_live_one() {
        let live = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (_bound, dead) = crate::testing::closed_port();
        let addresses = [dead, live.local_addr().expect("bound")];
        let stream = first_of(addresses.to_vec()).await.expect("the live one");
        assert_eq!(stream.peer_addr().expect("connected"), addresses[1]);
        let error = first_of(addresses[..1].to_vec()).await.expect_err("the dead one");
        let error = explain("llm.example", &error);
        assert!(matches!(error, HttpError::Connect { failure: ConnectFailure::Refused, .. }), "{error:?}");
        assert!(first_of(Vec::new()).await.is_err());
    }
}
