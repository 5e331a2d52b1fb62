//! The inference path: admit, route, clear, call, stream, validate, audit.
//!
//! [`Inference`] is the only way to a model. What it calls is one immutable snapshot of the
//! settings ([`Plugs`]), replaced whole while the server runs: a job keeps the snapshot it began
//! with. Strict mode is the shape of that snapshot: it holds one provider, and a second one only
//! as a [`Fallback`] value, which nobody makes unless the settings allow it. Every answer says in
//! its [`ServedBy`] where it came from.
//!
//! Calls cost money and time, so repeating them is bounded thrice: two retries per job, only
//! before the first delivered piece; a budget shared by all jobs (see `retry.rs`); and a breaker
//! that stops asking a provider that is down (see `breaker.rs`).
//!
//! Not here: prompts and what an answer means (`atlas-features`), and how a provider is spoken to
//! (`atlas-providers`).

mod answering;
mod audit;
mod breaker;
mod call;
mod control_plane;
mod error;
mod hints;
mod inference;
mod job;
mod ladder;
mod profiles;
mod report;
mod retry;
mod route;
mod snapshot;
mod structured;

#[cfg(test)]
mod tests;

pub use answering::Opened;
// What a feature needs to ask: it knows this path, not the contract behind it.
pub use atlas_llm::{
    AssistantTurn, CapabilityProfile, ChatEvent, ChatRequest, Continuation, Finish, JsonSchema, Message,
    Output, Tool, ToolCall, ToolChoice, Usage,
};
pub use audit::Counters;
pub use breaker::BreakerState;
pub use control_plane::{ControlPlane, Fallback};
pub use error::InferenceError;
pub use hints::{hint, hint_for};
pub use inference::Inference;
pub use job::{Answered, Feature, Job, OnText, Plane, ServedBy};
pub use profiles::StoredProfile;
pub use report::{Failure, FeatureModel, Problem, Status, TestReport};
pub use route::Limits;
pub use snapshot::{Plugs, ProviderState};
