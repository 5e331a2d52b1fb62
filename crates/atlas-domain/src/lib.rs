//! The product's nouns and small values: tenant, runbook, incident, alert, log record, corpus,
//! embedding space, destination, fault, what a provider's failure means, one rung of a connection test.
//!
//! Everything above speaks in these types, so they carry no IO, no async and no policy.
//! Validation that belongs to a value (a tenant id is a safe directory name) happens where the
//! value is made.
//!
//! Not here: how anything is stored, searched, sent or shown.

mod check;
mod destination;
mod facts;
mod fault;
mod filter;
mod nouns;
mod provider_error;
mod record;
mod space;
mod tenant;

pub use check::{Check, CheckStatus};
pub use destination::{Destination, DestinationClass};
pub use facts::{ModelFacts, RETIREMENT_HORIZON_DAYS};
pub use fault::{Fault, Retry};
pub use filter::Filter;
pub use nouns::{
    Alert, AlertGroup, AlertStatus, GroupMember, Incident, IncidentStatus, LogRecord, LogTemplate, Noun,
    Runbook,
};
pub use provider_error::{ProviderError, ProviderErrorKind};
pub use record::{Corpus, Facets, InvalidId, Record, RecordDraft, RecordId, RecordKey, Seq};
pub use space::{EmbeddingSpace, InvalidSpace, Pooling, SpaceId, TextHash};
pub use tenant::{InvalidTenant, TenantId, TenantScope};

pub use jiff::Timestamp;
pub use jiff::civil::Date;
