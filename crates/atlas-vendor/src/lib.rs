//! What a vendor's API is, apart from what is asked of it.
//!
//! Chat providers and embedding engines call the same vendors: at the same addresses, with the
//! same credentials, and with the same ways of saying no. That common part is here; each has its
//! own request and answer.
//!
//! Not here: connections (`atlas-http`), AWS (`atlas-aws`), what is asked.

mod address;
mod catalog;
mod destination;
mod endpoint;
mod reach;
mod refusal;
mod scrub;
mod sockets;

pub use address::{AzureAddress, OPENAI_BASE, base, is_openai, openai_base};
pub use catalog::{Catalog, CatalogError, Dimensions, EmbeddingFacts, ModelEntry, ModelFamily, ToolsOnChat};
pub use destination::destination;
pub use endpoint::{Endpoint, EndpointOptions};
pub use reach::reach_check;
pub use refusal::{Refusal, Words, from_http, is_too_long};
pub use scrub::Scrubber;
pub use sockets::{Origins, Sockets};
