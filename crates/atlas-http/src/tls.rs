//! The one TLS configuration: what is trusted, what is shown, and what a refusal means.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};

use rustls::client::ResolvesClientCert;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore, SignatureScheme};
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::bundle::{BundleVerifier, is_authority_as_server};
use crate::error::{HttpError, TlsReason};
use crate::options::{ClientIdentity, ConnectOptions};
use crate::origin::Origin;

/// Longest explanation that is kept, in characters.
const DETAIL_LIMIT: usize = 240;

/// The configuration that all connections of a client share.
pub(crate) fn client_config(options: &ConnectOptions) -> Result<Arc<ClientConfig>, HttpError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| HttpError::Protocol { reason: "the TLS library speaks no version of TLS" })?;
    let builder = match &options.ca_bundle {
        None => builder.with_root_certificates(system_roots()),
        Some(pem) => {
            let verifier = BundleVerifier::new(certificates("CA bundle", pem)?, provider)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let mut config = match &options.client_identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates("client certificate", &identity.chain)?;
            builder.with_client_auth_cert(chain, private_key(identity)?).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    refuse("client key", "it does not belong to the client certificate")
                }
                rustls::Error::InvalidCertificate(_) => {
                    refuse("client certificate", "its first certificate cannot be read")
                }
                _ => refuse("client key", "it is of a kind that is not supported"),
            })?
        }
    };
    config.client_auth_cert_resolver = Arc::new(Noticing(config.client_auth_cert_resolver));
    // Some gateways refuse a client that names no protocol.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// The system's certificates, read once: a client is made for each change of the settings, and
/// parsing some hundred certificates each time would be felt.
pub(crate) fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (n_added, _) = roots.add_parsable_certificates(found.certs);
        if n_added == 0 {
            // An image without root certificates can still call plain http on its own network;
            // https then trusts nobody instead of the server not starting.
            tracing::warn!("no system root certificates; https needs a CA bundle");
        }
        Arc::new(roots)
    }))
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Err(_) => Err(refuse(what, "its PEM is damaged")),
        Ok(found) if found.is_empty() => Err(refuse(what, "it holds no PEM certificate")),
        Ok(found) => Ok(found),
    }
}

fn private_key(identity: &ClientIdentity) -> Result<PrivateKeyDer<'static>, HttpError> {
    let pem = identity.key.expose_secret();
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| match error {
        pem::Error::NoItemsFound if pem.contains("ENCRYPTED PRIVATE KEY") => {
            refuse("client key", "it is encrypted, and there is no setting for its password")
        }
        pem::Error::NoItemsFound => refuse("client key", "it holds no PEM private key"),
        // The library's words could quote a line of the key.
        _ => refuse("client key", "its PEM is damaged"),
    })
}

pub(crate) fn refuse(what: &'static str, reason: &str) -> HttpError {
    HttpError::Options { what, reason: reason.to_owned() }
}

tokio::task_local! {
    /// Whether a server asked for a client certificate in what this task does. The library tells
    /// nobody but the resolver of certificates, which does not know whose connection it is for.
    static ASKED: Cell<bool>;
}

/// A secured connection, and whether its server asked for a client certificate.
pub(crate) struct Secured<T> {
    pub(crate) stream: TlsStream<T>,
    pub(crate) asked: bool,
}

/// The handshake with the origin at the other end of `io`.
pub(crate) async fn secure<T>(
    config: &Arc<ClientConfig>,
    origin: &Origin,
    io: T,
) -> Result<Secured<T>, HttpError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (host, name) = (origin.host(), server_name(origin)?);
    let (outcome, asked) = noticing(TlsConnector::from(Arc::clone(config)).connect(name, io)).await;
    outcome.map(|stream| Secured { stream, asked }).map_err(|error| match tls_error(&error) {
        Some(error) => explain_handshake(host, error, asked),
        None => broken(host),
    })
}

/// Does the work and says whether a server asked for a client certificate in a handshake of it.
pub(crate) async fn noticing<T>(work: impl Future<Output = T>) -> (T, bool) {
    ASKED.scope(Cell::new(false), async { (work.await, ASKED.with(Cell::get)) }).await
}

/// The handshake ended without a word.
pub(crate) fn broken(host: &str) -> HttpError {
    refused(host, TlsReason::Other, &"the connection ended while it was being secured")
}

/// What the certificate of the origin has to be for.
pub(crate) fn server_name(origin: &Origin) -> Result<ServerName<'static>, HttpError> {
    match origin.literal() {
        Some(address) => Ok(ServerName::from(address)),
        None => ServerName::try_from(origin.host().to_owned()).map_err(|_| nameless()),
    }
}

pub(crate) fn nameless() -> HttpError {
    HttpError::Url { reason: "its host is no name that a certificate can have" }
}

/// The server asked for a client certificate and closed the connection without saying why.
pub(crate) fn unwelcome(host: &str, presented: bool) -> HttpError {
    let words = if presented {
        "the server closed the connection after it saw the client certificate"
    } else {
        "the server asked for a client certificate and closed the connection"
    };
    refused(host, TlsReason::ClientCertificateRequired, &words)
}

/// Servers have no word in TLS 1.2 for a certificate that they missed: the handshake just failed.
pub(crate) fn explain_handshake(host: &str, error: &rustls::Error, asked: bool) -> HttpError {
    match error {
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure) if asked => {
            refused(host, TlsReason::ClientCertificateRequired, error)
        }
        error => explain(host, error),
    }
}

/// Hands out the certificate of the settings, and notices that it was asked for.
#[derive(Debug)]
struct Noticing(Arc<dyn ResolvesClientCert>);

impl ResolvesClientCert for Noticing {
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let _ = ASKED.try_with(|asked| asked.set(true));
        self.0.resolve(issuers, schemes)
    }

    fn has_certs(&self) -> bool {
        self.0.has_certs()
    }
}

/// What a failure means for the one who has to mend it.
pub(crate) fn explain(host: &str, error: &rustls::Error) -> HttpError {
    use rustls::Error::{AlertReceived, InvalidCertificate};
    let reason = match error {
        InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsReason::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsReason::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsReason::WrongName
            }
            // A bad signature is that of an authority with a known name and another key: private
            // authorities that were made anew look like this.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsReason::UnknownIssuer,
            // Self-signed by default of `openssl req`; the bundle mends it as it mends the others.
            _ if is_authority_as_server(error) => {
                let detail = "the server's certificate is that of an authority, as self-signed ones are, \
                              and it is not in the CA bundle";
                return refused(host, TlsReason::UnknownIssuer, &detail);
            }
            _ => TlsReason::Other,
        },
        // A server speaks of certificates when it has seen ours, or has not.
        AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied,
        ) => TlsReason::ClientCertificateRequired,
        _ => TlsReason::Other,
    };
    refused(host, reason, error)
}

fn refused(host: &str, reason: TlsReason, words: &dyn fmt::Display) -> HttpError {
    // The words can hold names out of the server's certificate, as many as it likes.
    let detail = words.to_string().chars().filter(|c| !c.is_control()).take(DETAIL_LIMIT).collect();
    HttpError::Tls { host: host.to_owned(), reason, detail }
}

/// The TLS library's error inside of an I/O error: `io::Error::source` skips the error it wraps.
pub(crate) fn tls_error<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    match cause.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().and_then(|inner| tls_error(inner)),
        None => cause.downcast_ref(),
    }
}
