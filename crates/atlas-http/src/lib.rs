//! The only maker of outbound connections.
//!
//! Everything that leaves this process on a socket leaves through [`Outbound`], which opens
//! connections to the origins an [`EgressPolicy`] names and to nothing else. The policy is kept
//! where connections are made rather than where URLs are built: literals are checked before a
//! request is sent and names are checked after they were resolved, on the very addresses that are
//! dialled, so a name that changes its mind between check and use gains nothing.
//!
//! Redirects are answers, not instructions; proxies from the environment are ignored; there are
//! no cookies. Every destination is counted in a [`Ledger`], so "what has left?" has an answer.
//!
//! Not here: what is said (providers and engines), what may be said (`atlas-guard`), and
//! repeating a call (`atlas-inference`).

mod address;
mod call;
mod error;
mod ledger;
mod outbound;
mod policy;
mod resolver;
pub mod sse;

pub use address::AddressClass;
pub use call::{Call, Credential, Limits};
pub use error::{Fault, HttpError};
pub use ledger::{Ledger, LedgerEntry};
pub use outbound::{Outbound, Reply};
pub use policy::{EgressPolicy, Origin};

pub use bytes::Bytes;
pub use http::{HeaderMap, StatusCode};
pub use url::Url;

/// Most bytes of an answer that is read in one piece.
pub const UNARY_LIMIT: usize = 16 * 1024 * 1024;
/// Most bytes of one event of a stream.
pub const EVENT_LIMIT: usize = 1024 * 1024;
