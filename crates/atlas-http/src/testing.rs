//! Peers on loopback: certificates, a TLS server, a proxy. Servers tell what they saw.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::dial::Io;
use crate::{ClientIdentity, ConnectOptions, EgressPolicy, Ledger, NoProxy, Origin, Outbound, ProxyOptions};

/// What the servers here answer to every request.
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

pub(crate) fn url(text: impl AsRef<str>) -> Url {
    Url::parse(text.as_ref()).expect("a URL")
}

/// A client that may call these URLs, and the proxy of its options.
pub(crate) fn client(options: &ConnectOptions, allowed: &[&Url]) -> Outbound {
    let mut policy = EgressPolicy::allow(allowed.iter().map(|url| Origin::of(url).expect("an origin")));
    if let Some(proxy) = &options.proxy {
        policy = policy.with_proxy(proxy.origin().expect("an origin"));
    }
    Outbound::new(policy, options, Arc::new(Ledger::new())).expect("a client")
}

pub(crate) fn via(proxy: impl AsRef<str>, no_proxy: &str) -> Option<ProxyOptions> {
    Some(ProxyOptions { url: url(proxy), no_proxy: NoProxy::parse(no_proxy).expect("a list") })
}

/// A port that refuses connections. It is bound, so that nobody else gets it, as long as the
/// socket lives; but nobody listens.
pub(crate) fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Pair {
    /// Signed by itself, and an authority by its own account, as `openssl req -x509` makes it.
    pub(crate) fn self_signed(params: CertificateParams) -> Self {
        let mut params = params;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { certificate: params.self_signed(&key).expect("a certificate"), key }
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        self.certificate.pem().into_bytes()
    }

    pub(crate) fn identity(&self) -> ClientIdentity {
        ClientIdentity { chain: self.pem(), key: SecretString::from(self.key.serialize_pem()) }
    }
}

/// What a server on loopback has in its certificate.
pub(crate) fn params() -> CertificateParams {
    let names = ["localhost", "127.0.0.1", "llm.example"].map(String::from);
    CertificateParams::new(names).expect("names")
}

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test Authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    pub(crate) fn sign(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("a key");
        Pair { certificate: params.signed_by(&key, &self.0).expect("a certificate"), key }
    }

    /// Trust in this authority.
    pub(crate) fn bundle(&self) -> ConnectOptions {
        ConnectOptions { ca_bundle: Some(self.0.pem().into_bytes()), ..ConnectOptions::default() }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        Arc::new(roots)
    }
}

/// A server, and the heads of the requests it got.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    seen: UnboundedReceiver<String>,
}

impl Peer {
    pub(crate) async fn next(&mut self) -> String {
        self.seen.recv().await.expect("the server runs")
    }

    pub(crate) fn saw_nothing(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

/// Serves HTTPS; with an authority, to its clients only.
pub(crate) async fn serve_tls(pair: &Pair, clients_of: Option<&Authority>) -> Peer {
    serve_tls_of(rustls::ALL_VERSIONS, pair, clients_of).await
}

pub(crate) async fn serve_tls_of(
    versions: &[&'static SupportedProtocolVersion],
    pair: &Pair,
    clients_of: Option<&Authority>,
) -> Peer {
    let acceptor = acceptor(versions, pair, clients_of);
    serve(move |tcp, seen| {
        let acceptor = acceptor.clone();
        async move {
            match acceptor.accept(tcp).into_fallible().await {
                Ok(stream) => answer(Box::new(stream), OK, seen).await,
                // Closed at once, the reset could overtake the alert that says why.
                Err((_, mut tcp)) => _ = tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await,
            }
        }
    })
    .await
}

/// Serves HTTP, every request with the same answer.
pub(crate) async fn serve_http(text: &'static str) -> Peer {
    serve(move |tcp, seen| answer(Box::new(tcp), text, seen)).await
}

/// A proxy that leads every tunnel to the same port on loopback, whatever name is asked for.
pub(crate) async fn serve_proxy(to: SocketAddr) -> Peer {
    serve(move |tcp, seen| forward(Box::new(tcp), to, seen)).await
}

/// The same behind TLS.
pub(crate) async fn serve_tls_proxy(pair: &Pair, to: SocketAddr) -> Peer {
    let acceptor = acceptor(rustls::ALL_VERSIONS, pair, None);
    serve(move |tcp, seen| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(tcp).await {
                forward(Box::new(stream), to, seen).await;
            }
        }
    })
    .await
}

pub(crate) async fn serve<F, W>(handle: F) -> Peer
where
    F: Fn(TcpStream, UnboundedSender<String>) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (sender, seen) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(handle(tcp, sender.clone()));
        }
    });
    Peer { address, seen }
}

pub(crate) fn acceptor(
    versions: &[&'static SupportedProtocolVersion],
    pair: &Pair,
    clients_of: Option<&Authority>,
) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .expect("versions");
    let builder = match clients_of {
        None => builder.with_no_client_auth(),
        Some(authority) => builder.with_client_cert_verifier(
            WebPkiClientVerifier::builder_with_provider(authority.roots(), provider).build().expect("roots"),
        ),
    };
    let chain = vec![CertificateDer::from(pair.certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(pair.key.serialize_der()).expect("a key");
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a certificate")))
}

/// The head of a request; empty at the end of the connection.
pub(crate) async fn head(io: &mut (impl Io + ?Sized)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match io.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).expect("text")
}

async fn answer(mut io: Box<dyn Io>, text: &'static str, seen: UnboundedSender<String>) {
    loop {
        let head = head(&mut io).await;
        if head.is_empty() || seen.send(head).is_err() || io.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        let _ = io.flush().await;
    }
}

async fn forward(mut io: Box<dyn Io>, to: SocketAddr, seen: UnboundedSender<String>) {
    let head = head(&mut io).await;
    let tunnel = head.starts_with("CONNECT ");
    if head.is_empty() || seen.send(head).is_err() {
        return;
    }
    if !tunnel {
        let _ = io.write_all(OK.as_bytes()).await;
        return;
    }
    let mut target = TcpStream::connect(to).await.expect("a server");
    io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("a client");
    io.flush().await.expect("a client");
    let _ = tokio::io::copy_bidirectional(&mut io, &mut target).await;
}
