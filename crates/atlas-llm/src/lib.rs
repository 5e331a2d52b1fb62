//! Contract: what a chat model is.
//!
//! A [`Provider`] is a vendor or dialect with its settings; connecting gives a [`ChatModel`],
//! which answers a cleared [`ChatRequest`] with a stream of [`ChatEvent`]s. Streaming comes
//! first: an answer in one piece is a stream that was collected. What goes wrong is a
//! [`ProviderError`], the same type that embedding engines fail with.
//!
//! Not here: which model a feature uses, retries, prompts. That is `atlas-inference` and
//! `atlas-features`.

mod contract;
mod facts;
mod request;
mod tools;

pub use atlas_domain::{ModelFacts, ProviderError, ProviderErrorKind};
pub use contract::{
    ChatEvent, ChatModel, ChatStream, Collector, Completion, Finish, Provider, Usage, collect,
};
pub use facts::{CapabilityProfile, Inspection};
pub use request::{AssistantTurn, ChatRequest, Continuation, JsonSchema, Message, Output};
pub use tools::{Tool, ToolCall, ToolCalls, ToolChoice};
