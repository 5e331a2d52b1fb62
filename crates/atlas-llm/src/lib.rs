//! Contract: what a chat model is.
//!
//! A [`Provider`] is a vendor or dialect with its settings; connecting gives a [`ChatModel`],
//! which answers a cleared [`ChatRequest`] with a stream of [`ChatEvent`]s. Streaming comes
//! first: an answer in one piece is a stream that was collected.
//!
//! Not here: which model a feature uses, retries, prompts. That is `atlas-inference` and
//! `atlas-features`.

mod contract;
mod error;
mod request;

pub use contract::{ChatEvent, ChatModel, ChatStream, Completion, Finish, Provider, Usage, collect};
pub use error::LlmError;
pub use request::{ChatRequest, JsonSchema, Message, Role};
