//! Why an outbound call failed.

/// Who has to act. The workspace's `Fault` lives in `atlas-domain`, which this crate does not
/// know; callers translate when they make their own error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The settings name something that cannot be used.
    Settings,
    /// The other side, or the network on the way.
    Upstream,
    /// A defect of ours.
    Ourselves,
}

/// Why there is no TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The machine is there and nothing listens on the port.
    Refused,
    /// No way to the machine or its network.
    Unreachable,
    /// The system gave up waiting. Usually [`HttpError::Timeout`] comes first.
    TimedOut,
    /// Anything else, such as too few file descriptors.
    Other,
}

/// Why there is no agreement on a secure connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsReason {
    /// The certificate was valid once.
    Expired,
    /// The certificate becomes valid later, or this machine's clock is slow.
    NotYetValid,
    /// Signed by nobody we trust: self-signed, or by a private authority.
    UnknownIssuer,
    /// The certificate is for other names.
    WrongName,
    /// The server wants a client certificate, or another one than ours.
    ClientCertificateRequired,
    /// Anything else, such as a server that does not speak TLS.
    Other,
}

impl TlsReason {
    /// The word used in codes and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongName => "wrong_name",
            Self::ClientCertificateRequired => "client_certificate_required",
            Self::Other => "other",
        }
    }
}

/// Why an outbound call failed. Texts name hosts at most: no path, no query, no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// A URL that no request can be made from.
    #[error("the URL is not usable: {reason}")]
    Url {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// [`ConnectOptions`](crate::ConnectOptions) that no client can be made from.
    #[error("the {what} cannot be used: {reason}")]
    Options {
        /// Which part: `CA bundle`, `client certificate`, `client key`, `proxy`,
        /// `list of hosts without a proxy`.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The policy refused the destination.
    #[error("{host}: {rule}")]
    Denied {
        /// The host that was asked for.
        host: String,
        /// Which rule refused it.
        rule: &'static str,
    },
    /// A credential was about to be sent to an origin it does not belong to.
    #[error("the credential belongs to another origin than {host}")]
    ForeignCredential {
        /// The host that would have received it.
        host: String,
    },
    /// A header value with characters that no header may hold.
    #[error("{what} has characters that cannot be sent")]
    Header {
        /// Which value.
        what: &'static str,
    },
    /// The name has no address.
    #[error("the name {host} cannot be resolved")]
    Dns {
        /// The name.
        host: String,
    },
    /// No connection to the address.
    #[error("no connection to {host}: {reason}")]
    Connect {
        /// The host.
        host: String,
        /// What kind of failure it is.
        failure: ConnectFailure,
        /// The system's words for it.
        reason: String,
    },
    /// The proxy cannot be used: it was not reached, or it did not let the call through.
    #[error("the proxy {host} cannot be used: {reason}")]
    Proxy {
        /// The proxy's host.
        host: String,
        /// The status it refused with; absent when it did not get as far as an answer.
        status: Option<u16>,
        /// What happened, in our words.
        reason: String,
    },
    /// No agreement on a secure connection.
    #[error("no secure connection to {host}: {detail}")]
    Tls {
        /// The host.
        host: String,
        /// What kind of failure it is.
        reason: TlsReason,
        /// The TLS library's words.
        detail: String,
    },
    /// A time limit passed.
    #[error("{host} did not answer in time ({limit})")]
    Timeout {
        /// The host.
        host: String,
        /// Which limit: `connect`, `first token`, `idle`, `total`.
        limit: &'static str,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {host} ended before the answer did")]
    Interrupted {
        /// The host.
        host: String,
    },
    /// The answer is larger than may be read.
    #[error("the answer of {host} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// The answer is not HTTP, or the request cannot be expressed in it.
    #[error("HTTP failed: {reason}")]
    Protocol {
        /// What happened.
        reason: &'static str,
    },
}

impl HttpError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Url { .. } | Self::Options { .. } | Self::Denied { .. } | Self::Header { .. } => {
                Fault::Settings
            }
            Self::ForeignCredential { .. } => Fault::Ourselves,
            Self::Dns { .. }
            | Self::Connect { .. }
            | Self::Proxy { .. }
            | Self::Tls { .. }
            | Self::Timeout { .. }
            | Self::Interrupted { .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. } => Fault::Upstream,
        }
    }

    /// Whether repeating the call may help, given that nothing of an answer was delivered.
    pub fn retry(&self) -> bool {
        match self {
            Self::Dns { .. } | Self::Connect { .. } | Self::Timeout { .. } | Self::Interrupted { .. } => true,
            // A proxy that is away or overloaded may be back; one that says no says it again.
            Self::Proxy { status, .. } => status.is_none_or(|status| status >= 500),
            Self::Url { .. }
            | Self::Options { .. }
            | Self::Denied { .. }
            | Self::ForeignCredential { .. }
            | Self::Header { .. }
            | Self::Tls { .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. } => false,
        }
    }
}
