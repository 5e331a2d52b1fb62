//! Where a plug calls, and the clients it calls with.

use atlas_http::{Origin, Outbound};

/// The origins a provider or engine calls. They are known before there is a client, so that the
/// egress policy is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Where requests go; none for an engine in this process.
    pub calls: Vec<Origin>,
    /// Where credentials are fetched, such as a metadata service. Only [`Sockets::credentials`]
    /// may reach them.
    pub credentials: Vec<Origin>,
}

impl Origins {
    /// Requests to one origin, with credentials that need not be fetched.
    pub fn only(origin: Origin) -> Self {
        Self { calls: vec![origin], credentials: Vec::new() }
    }
}

/// The clients a provider or engine calls with.
#[derive(Debug, Clone)]
pub struct Sockets {
    /// For requests; its policy allows [`Origins::calls`].
    pub calls: Outbound,
    /// For fetching credentials; its policy allows [`Origins::credentials`]. `None` where there
    /// are none to fetch.
    pub credentials: Option<Outbound>,
}
