//! OpenAI's chat completions, and every server that imitates them.
//!
//! Requests say as little as possible and answers are read as tolerantly as possible, because
//! imitations differ in what they refuse and in what they leave out. What a server refuses by
//! name (`stream_options`, `response_format`, `temperature`, the token limit) is left out, and
//! that is remembered for the life of the connection.
//!
//! Not here: OpenAI's responses API, embeddings, tools.

mod error;
mod options;
mod request;
mod stream;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use atlas_domain::Destination;
use atlas_guard::{Cleared, Guard};
use atlas_http::{Call, Reply};
use atlas_llm::{ChatModel, ChatRequest, ChatStream, LlmError, Message, Provider, Role, collect};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;

use error::{from_http, map_reply};
use options::Endpoint;
pub use options::Options;
pub(crate) use options::endpoint_origin;
use request::Quirks;

/// How often one request is adapted to a server: once per quirk there is, and one to spare.
const MOST_ADAPTATIONS: usize = 6;

/// A label with its options.
#[derive(Debug)]
pub struct OpenAiCompatible {
    label: &'static str,
    options: Options,
}

impl OpenAiCompatible {
    pub(crate) fn new(label: &'static str, options: Options) -> Self {
        Self { label, options }
    }
}

impl Provider for OpenAiCompatible {
    fn label(&self) -> &'static str {
        self.label
    }

    fn connect(&self) -> Result<Arc<dyn ChatModel>, LlmError> {
        let endpoint = Endpoint::new(self.label, &self.options)?;
        let quirks = Mutex::new(Quirks::for_host(endpoint.is_openai()));
        let destination = crate::destination::of(&endpoint.origin);
        Ok(Arc::new(Model { label: self.label, endpoint, destination, quirks }))
    }
}

struct Model {
    label: &'static str,
    endpoint: Endpoint,
    destination: Destination,
    /// What this server turned out to refuse.
    quirks: Mutex<Quirks>,
}

impl ChatModel for Model {
    fn provider(&self) -> &str {
        self.label
    }

    fn model(&self) -> &str {
        &self.endpoint.model
    }

    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn stream(&self, request: Cleared<ChatRequest>) -> BoxFuture<'_, Result<ChatStream, LlmError>> {
        self.begin(request).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<(), LlmError>> {
        self.prove().boxed()
    }
}

impl Model {
    async fn begin(&self, request: Cleared<ChatRequest>) -> Result<ChatStream, LlmError> {
        if request.destination() != &self.destination {
            return Err(LlmError::Egress { detail: "the text was cleared for another destination".into() });
        }
        let request = request.into_value();
        let remembered = *self.quirks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut quirks = remembered;
        let mut lasting = remembered;
        for _ in 0..MOST_ADAPTATIONS {
            let reply = self.post(&request::body(&self.endpoint, &request, quirks)).await?;
            if reply.status().is_success() {
                // Only what led to an answer is worth remembering.
                if lasting != remembered {
                    *self.quirks.lock().unwrap_or_else(PoisonError::into_inner) = lasting;
                }
                return stream::read(reply, self.endpoint.redactor.clone()).await;
            }
            let refusal = map_reply(reply, &self.endpoint.redactor).await;
            let Some(adapted) = quirks.adapt(&request, &refusal) else {
                return Err(refusal.error);
            };
            tracing::info!(provider = self.label, left_out = adapted.what, "the server refused a parameter");
            quirks = adapted.quirks;
            if adapted.remember {
                lasting = quirks;
            }
        }
        Err(LlmError::BadRequest { detail: "the server refuses every form of the request".into() })
    }

    async fn post(&self, body: &Value) -> Result<Reply, LlmError> {
        let url = self.endpoint.url("chat/completions");
        let call = Call::post_json(url, "chat", body).map_err(from_http)?;
        let call = self.endpoint.dress(call)?.accepting("text/event-stream, application/json");
        self.endpoint.outbound.send(call).await.map_err(from_http)
    }

    /// The model list, then one short answer. The list is cheap and tells a wrong key or address
    /// from a wrong model; only the answer proves that the model answers.
    async fn prove(&self) -> Result<(), LlmError> {
        let listed = self.model_is_listed().await?;
        let request = ChatRequest {
            messages: vec![Message::new(Role::User, "Reply with the word ok.")],
            schema: None,
            max_output_tokens: Some(8),
            temperature: None,
        };
        let cleared = Guard::new()
            .clear(request, &self.destination)
            .map_err(|refusal| LlmError::Egress { detail: refusal.to_string() })?;
        match async { collect(self.begin(cleared).await?).await }.await {
            Ok(_) => Ok(()),
            // A reasoning model that spends eight tokens on thinking has still answered.
            Err(LlmError::BadRequest { detail }) if detail.contains("output limit was reached") => Ok(()),
            Err(LlmError::BadRequest { .. }) if listed == Some(false) => {
                Err(LlmError::NotFound { detail: "the server's model list does not name it".into() })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the server lists the model; `None` when it does not say. Gateways have no list,
    /// list only some models, or keep the list from keys that may chat; none of that is an error.
    async fn model_is_listed(&self) -> Result<Option<bool>, LlmError> {
        let call = self.endpoint.dress(Call::get(self.endpoint.url("models"), "models"))?;
        let reply = self.endpoint.outbound.send(call).await.map_err(from_http)?;
        if !reply.status().is_success() {
            return match map_reply(reply, &self.endpoint.redactor).await.error {
                error @ LlmError::Credentials { .. } => Err(error),
                _ => Ok(None),
            };
        }
        let body = reply.bytes(atlas_http::UNARY_LIMIT).await.map_err(from_http)?;
        let list: Option<Value> = serde_json::from_slice(&body).ok();
        let models = list.as_ref().and_then(|list| list["data"].as_array());
        Ok(models.map(|models| models.iter().any(|model| model["id"] == self.endpoint.model.as_str())))
    }
}
