//! The traits and what a stream yields.

use std::sync::Arc;

use atlas_domain::Destination;
use atlas_guard::Cleared;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::error::LlmError;
use crate::request::ChatRequest;

/// One piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// The next text. Concatenated, the pieces are the answer.
    Text(String),
    /// What the model thought, where it says so; never part of the answer.
    Reasoning(String),
    /// Tokens used. At most once, before the end; absent when the provider does not say.
    Usage(Usage),
    /// The last event: why the answer ended.
    Finished(Finish),
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It was complete.
    Stop,
    /// The token limit cut it.
    Length,
    /// The model asks for tools.
    ToolCalls,
    /// The provider's filter cut it.
    ContentFilter,
    /// The model declined.
    Refusal,
    /// A reason this version does not know, as the provider wrote it.
    Other(String),
}

/// Tokens of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// All input tokens, cached ones included.
    pub input: u64,
    /// All output tokens, reasoning included.
    pub output: u64,
    /// Input tokens served from the provider's cache.
    pub cached_input: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
}

/// The stream of an answer. It ends after [`ChatEvent::Finished`] or after the first error;
/// dropping it closes the upstream connection.
pub type ChatStream = BoxStream<'static, Result<ChatEvent, LlmError>>;

/// One configured model.
pub trait ChatModel: Send + Sync {
    /// The provider's label, as in `BYOC_PROVIDER`.
    fn provider(&self) -> &str;

    /// The model's name, as configured.
    fn model(&self) -> &str;

    /// Where requests go. Clear them for this.
    fn destination(&self) -> &Destination;

    /// Begins an answer. The future resolves when the provider has accepted the request; an
    /// error before that is safe to retry if it says so. Dropping the future cancels the call.
    fn stream(&self, request: Cleared<ChatRequest>) -> BoxFuture<'_, Result<ChatStream, LlmError>>;

    /// Asks the provider for the cheapest thing that proves endpoint, credentials and model.
    fn probe(&self) -> BoxFuture<'_, Result<(), LlmError>>;
}

/// A vendor or dialect with its settings. `connect` serves start-up and the connection test.
pub trait Provider: Send + Sync {
    /// The value of `BYOC_PROVIDER` that names it.
    fn label(&self) -> &'static str;

    /// Checks the settings and makes the model. Opens no connection.
    fn connect(&self) -> Result<Arc<dyn ChatModel>, LlmError>;
}

/// A collected answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The whole text.
    pub text: String,
    /// Tokens, when the provider said.
    pub usage: Option<Usage>,
    /// Why it ended.
    pub finish: Finish,
}

/// Reads a stream to its end. A stream that ends without [`ChatEvent::Finished`] was cut.
pub async fn collect(mut stream: ChatStream) -> Result<Completion, LlmError> {
    let mut text = String::new();
    let mut usage = None;
    while let Some(event) = stream.next().await {
        match event? {
            ChatEvent::Text(piece) => text.push_str(&piece),
            ChatEvent::Reasoning(_) => {}
            ChatEvent::Usage(counted) => usage = Some(counted),
            ChatEvent::Finished(finish) => return Ok(Completion { text, usage, finish }),
        }
    }
    Err(LlmError::CutShort)
}
