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

/// Why an outbound call failed. Texts name hosts at most: no path, no query, no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// A URL that no request can be made from.
    #[error("the URL is not usable: {reason}")]
    Url {
        /// What is wrong with it.
        reason: &'static str,
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
        /// The system's word for it.
        reason: String,
    },
    /// No agreement on a secure connection.
    #[error("no secure connection to {host}: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// The TLS library's words.
        reason: String,
    },
    /// A time limit passed.
    #[error("{host} did not answer in time ({limit})")]
    Timeout {
        /// The host.
        host: String,
        /// Which limit: connect, first token, idle.
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
    /// The answer is not HTTP, or the client could not be made.
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
            Self::Url { .. } | Self::Denied { .. } | Self::Header { .. } => Fault::Settings,
            Self::ForeignCredential { .. } => Fault::Ourselves,
            Self::Dns { .. }
            | Self::Connect { .. }
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
            Self::Url { .. }
            | Self::Denied { .. }
            | Self::ForeignCredential { .. }
            | Self::Header { .. }
            | Self::Tls { .. }
            | Self::TooLarge { .. }
            | Self::Protocol { .. } => false,
        }
    }
}
