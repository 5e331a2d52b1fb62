//! The traits and what a stream yields.

use std::sync::Arc;

use atlas_domain::{Check, Destination, ModelFacts, ProviderError};
use atlas_guard::Cleared;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::facts::Inspection;
use crate::request::{ChatRequest, Continuation};
use crate::tools::{ToolCall, ToolCalls};

/// One piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatEvent {
    /// The next text. Concatenated, the pieces are the answer.
    Text(String),
    /// What the model thought, where it says so; never part of the answer.
    Reasoning(String),
    /// The next words of a model that declines; never part of the answer.
    Refusal(String),
    /// The model begins to ask for a tool.
    ToolCall {
        /// Tells calls of one answer apart; counts from 0 in the order they begin.
        index: usize,
        /// The call's id.
        id: String,
        /// The tool.
        name: String,
    },
    /// The next piece of a call's arguments, JSON text.
    Arguments {
        /// Which call.
        index: usize,
        /// The piece.
        json: String,
    },
    /// What the provider wants back with the next turn. At most once, before the end.
    Continuation(Continuation),
    /// Tokens used. At most once, before the end; absent when the provider does not say.
    Usage(Usage),
    /// The last event: why the answer ended.
    Finished(Finish),
}

impl ChatEvent {
    /// Whether a caller who saw this event has a part of the answer: after it, the request may not
    /// be repeated.
    pub fn is_delivery(&self) -> bool {
        match self {
            Self::Text(_) | Self::Refusal(_) | Self::ToolCall { .. } | Self::Arguments { .. } => true,
            Self::Reasoning(_) | Self::Continuation(_) | Self::Usage(_) | Self::Finished(_) => false,
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It was complete.
    Stop,
    /// The token limit cut it.
    Length,
    /// The model asks for tools. Where an answer holds tool calls this is the reason, whatever
    /// word the provider has for it.
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
    /// Input tokens written to the provider's cache.
    pub cache_write: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
}

/// The stream of an answer. It ends after [`ChatEvent::Finished`] or after the first error;
/// dropping it closes the upstream connection.
pub type ChatStream = BoxStream<'static, Result<ChatEvent, ProviderError>>;

/// One model of one provider, ready to be asked.
pub trait ChatModel: Send + Sync {
    /// The provider's label, as in `BYOC_PROVIDER`.
    fn provider(&self) -> &str;

    /// The model's name, as configured.
    fn model(&self) -> &str;

    /// Where requests go. Clear them for this.
    fn destination(&self) -> &Destination;

    /// What is known about the model without asking.
    fn facts(&self) -> &ModelFacts;

    /// Begins an answer. The future resolves when the provider has accepted the request; an
    /// error before that is safe to retry if it says so. Dropping the future cancels the call.
    /// What a request asks for and this provider lacks is left out or imitated as the provider's
    /// module documents; it is never a panic.
    fn stream(&self, request: Cleared<ChatRequest>) -> BoxFuture<'_, Result<ChatStream, ProviderError>>;

    /// Walks to the endpoint and says how far it came: the checks `policy`, `dns`, `tcp`, `proxy`
    /// and `tls`, of which those that do not apply are left out. Sends no request.
    fn reach(&self) -> BoxFuture<'_, Vec<Check>>;

    /// Asks for what can be known without generating anything: whether the credentials are
    /// accepted, whether the model exists, how large its context is.
    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, ProviderError>>;
}

/// A vendor or dialect with its settings: one set of credentials, one endpoint. `connect` serves
/// start-up, routing and the connection test.
pub trait Provider: Send + Sync {
    /// The value of `BYOC_PROVIDER` that names it.
    fn label(&self) -> &'static str;

    /// The model of this name (`BYOC_MODEL`, a deployment, an inference profile). Opens no
    /// connection. Models of one provider share its connections and what it learnt about the
    /// server.
    fn connect(&self, model: &str) -> Result<Arc<dyn ChatModel>, ProviderError>;
}

/// A collected answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The whole text.
    pub text: String,
    /// The words of a model that declined.
    pub refusal: String,
    /// The tools that were asked for.
    pub tool_calls: Vec<ToolCall>,
    /// What the provider wants back.
    pub continuation: Option<Continuation>,
    /// Tokens, when the provider said.
    pub usage: Option<Usage>,
    /// Why it ended.
    pub finish: Finish,
}

/// Puts an answer together from its events.
#[derive(Debug, Default)]
pub struct Collector {
    text: String,
    refusal: String,
    tool_calls: ToolCalls,
    continuation: Option<Continuation>,
    usage: Option<Usage>,
}

impl Collector {
    /// Takes the next event. Gives the answer when this was the last one, and leaves the
    /// collector empty.
    pub fn push(&mut self, event: ChatEvent) -> Option<Completion> {
        match event {
            ChatEvent::Text(piece) => self.text.push_str(&piece),
            ChatEvent::Reasoning(_) => {}
            ChatEvent::Refusal(piece) => self.refusal.push_str(&piece),
            ChatEvent::ToolCall { index, id, name } => self.tool_calls.begin(index, id, name),
            ChatEvent::Arguments { index, json } => self.tool_calls.append(index, &json),
            ChatEvent::Continuation(blocks) => self.continuation = Some(blocks),
            ChatEvent::Usage(counted) => self.usage = Some(counted),
            ChatEvent::Finished(finish) => {
                let Self { text, refusal, tool_calls, continuation, usage } = std::mem::take(self);
                let tool_calls = tool_calls.finish();
                return Some(Completion { text, refusal, tool_calls, continuation, usage, finish });
            }
        }
        None
    }
}

/// Reads a stream to its end. A stream that ends without [`ChatEvent::Finished`] was cut.
pub async fn collect(mut stream: ChatStream) -> Result<Completion, ProviderError> {
    let mut collector = Collector::default();
    while let Some(event) = stream.next().await {
        if let Some(completion) = collector.push(event?) {
            return Ok(completion);
        }
    }
    Err(ProviderError::cut_short())
}
