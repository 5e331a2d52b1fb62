//! The only maker of outbound connections.
//!
//! Everything that leaves this process on a socket leaves through [`Outbound`], which opens
//! connections to the origins an [`EgressPolicy`] names and to nothing else. The policy is kept
//! where connections are made rather than where URLs are built: literals are checked before a
//! request is sent and names are checked after they were resolved, on the very addresses that are
//! dialled, so a name that changes its mind between check and use gains nothing.
//!
//! Redirects are answers, not instructions; there are no cookies; a proxy is one that the
//! [`ConnectOptions`] name, never one of the environment. Every destination is counted in a
//! [`Ledger`], so "what has left?" has an answer.
//!
//! reqwest carries the traffic. [`Outbound::reach`] goes the way of a request step by step on a
//! connection of its own, with the same policy, resolver, proxy and TLS configuration, so that a
//! connection test does not pass where a call would fail.
//!
//! Not here: what is said (providers and engines), what may be said (`atlas-guard`), and
//! repeating a call (`atlas-inference`).

mod address;
mod bundle;
mod call;
mod certificate;
mod client;
mod dial;
mod error;
mod headers;
mod ledger;
pub mod ndjson;
mod no_proxy;
mod options;
mod origin;
mod outbound;
mod policy;
mod proxy;
mod reach;
mod reply;
mod resolver;
pub mod sse;
mod stream;
mod tls;
mod translate;
mod tunnel;

#[cfg(test)]
mod agreement_tests;
#[cfg(test)]
mod connection_tests;
#[cfg(test)]
mod proxy_tests;
#[cfg(test)]
mod reach_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tls_tests;

pub use address::AddressClass;
pub use call::{Call, Credential, Limits};
pub use error::{ConnectFailure, Fault, HttpError, TlsReason};
pub use headers::{request_id, retry_after, should_retry};
pub use ledger::{Ledger, LedgerEntry};
pub use no_proxy::NoProxy;
pub use options::{ClientIdentity, ConnectOptions, ProxyOptions};
pub use origin::Origin;
pub use outbound::Outbound;
pub use policy::EgressPolicy;
pub use reach::ReachStep;
pub use reply::{Chunks, Reply};
pub use stream::{StartTls, Stream};

pub use bytes::Bytes;
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
pub use url::Url;

/// Most bytes of an answer that is read in one piece.
pub const UNARY_LIMIT: usize = 16 * 1024 * 1024;
/// Most bytes of one event of a stream.
pub const EVENT_LIMIT: usize = 1024 * 1024;
