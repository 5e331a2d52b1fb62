//! The inference path: admit, clear, call, stream, validate, audit.
//!
//! [`Inference`] holds one model and the guard, and is the only way to that model. Strict mode is
//! its shape: there is one provider value and no code path to a second, so an answer can only
//! come from where its [`ServedBy`] says. A change of settings makes a new `Inference`, which
//! replaces the old one whole.
//!
//! Calls cost money and time, so repeating them is bounded thrice: two retries per job, only
//! before the first text; a budget shared by all jobs (see `retry.rs`); and a breaker that
//! stops asking a provider that is down (see `breaker.rs`).
//!
//! Not here: prompts and what an answer means (`atlas-features`), and how a provider is spoken to
//! (`atlas-providers`).

mod breaker;
mod error;
mod inference;
mod job;
mod report;
mod retry;
mod structured;

#[cfg(test)]
mod tests;

// What a feature needs to ask: it knows this path, not the contract behind it.
pub use atlas_llm::{ChatRequest, JsonSchema, Message, Role, Usage};
pub use breaker::BreakerState;
pub use error::InferenceError;
pub use inference::{AiState, Inference};
pub use job::{Answered, Feature, Job, OnText, ServedBy};
pub use report::{Failure, Problem, Status, TestReport, hint, summary};
