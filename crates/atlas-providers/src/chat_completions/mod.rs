//! Chat completions: OpenAI's request API, and everything that imitates it.
//!
//! Requests say as little as possible and answers are read as tolerantly as possible, because
//! imitations differ in what they refuse and in what they leave out. [`Dialect`] is the table of
//! what is known about that beforehand; what a server refuses by name is left out or said in other
//! words ([`quirks`]), and that is remembered for the model while the settings last.
//!
//! | asked for | sent |
//! |---|---|
//! | JSON of a shape | `response_format` with the schema; where that is refused the server's own form (vLLM `structured_outputs`, TGI `{"type":"json"}`), then any JSON object with the schema in the prompt, then the prompt alone |
//! | any JSON object | `json_object`, then the prompt alone |
//! | a form beside tools, of TGI | the tools; the form goes into the prompt, because the server refuses both together |
//! | no tool, of others than OpenAI and Azure | no tools, because they may be rendered into the prompt all the same |
//! | a forced tool, where that is refused | the tools |
//! | one tool at a time, of servers that do not know it | nothing |
//! | `temperature`, `top_p` | neither to models that refuse them; 0 and 1 not to TGI, which takes only what is between |
//! | `stop`, of OpenAI's models that reason | nothing |
//! | instructions, of templates without system turns | the caller's first turn begins with them |
//! | a failed tool | its words, which say so |
//!
//! Not here: addresses and keys (the labels' own modules), OpenAI's Responses API (`responses`).

mod calls;
mod dialect;
mod inspect;
mod json;
mod quirks;
mod request;
mod stream;
mod thoughts;
mod turns;
mod wire;

#[cfg(test)]
mod api_tests;
#[cfg(test)]
mod calls_tests;
#[cfg(test)]
mod fixtures_tests;
#[cfg(test)]
mod request_tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use atlas_domain::{Check, Date, Destination, Timestamp};
use atlas_guard::Cleared;
use atlas_http::UNARY_LIMIT;
use atlas_llm::{
    ChatModel, ChatRequest, ChatStream, Inspection, ModelFacts, Provider, ProviderError, ProviderErrorKind,
};
use atlas_vendor::{AzureAddress, Catalog, Endpoint, ModelEntry, Refusal, from_http, reach_check};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::tz::Offset;
use serde_json::Value;

use dialect::ModelList;
pub(crate) use dialect::{AZURE, COMPATIBLE, CONTROL_PLANE, Dialect, GATEWAY, OPENAI, TGI, VLLM};
use inspect::Found;
use quirks::Quirks;
use stream::Reader;

use crate::{ApiChoice, reading, responses};

/// How often one request is adapted to a server: more often than any server has been seen to need.
const MOST_ADAPTATIONS: usize = 8;
const ACCEPT: &str = "text/event-stream, application/json";

/// What a label's module has made of the settings.
pub(crate) struct Parts {
    pub(crate) label: &'static str,
    pub(crate) dialect: &'static Dialect,
    pub(crate) endpoint: Endpoint,
    /// Where deployments are in the URL.
    pub(crate) azure: Option<AzureAddress>,
    pub(crate) api: ApiChoice,
    pub(crate) catalog: Arc<Catalog>,
}

/// A server with its settings.
pub(crate) struct Server {
    parts: Parts,
    /// What was learnt about its models.
    learnt: Mutex<HashMap<String, Arc<Mutex<Quirks>>>>,
}

/// The provider of a label that speaks chat completions.
#[derive(Debug)]
pub(crate) struct ChatCompletions(Arc<Server>);

impl ChatCompletions {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(Server { parts, learnt: Mutex::default() }))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("label", &self.parts.label)
            .field("endpoint", &self.parts.endpoint)
            .finish_non_exhaustive()
    }
}

impl Provider for ChatCompletions {
    fn label(&self) -> &'static str {
        self.0.parts.label
    }

    fn connect(&self, model: &str) -> Result<Arc<dyn ChatModel>, ProviderError> {
        let Parts { dialect, catalog, api, .. } = &self.0.parts;
        let name = Some(model.trim()).filter(|name| !name.is_empty()).or(dialect.default_model);
        let name = name.ok_or_else(|| {
            ProviderError::setting(
                "BYOC_MODEL",
                "it is empty, and there is no default model; set the name the provider uses",
            )
        })?;
        let entry = dialect.families.iter().find_map(|family| catalog.find(*family, name));
        let mut facts = entry.map(|entry| entry.chat.clone()).unwrap_or_default();
        if dialect.models == ModelList::Deployable {
            // Azure retires models on dates of its own.
            (facts.shutdown_date, facts.retirement_not_before) = (None, None);
        }
        let tools = entry.and_then(|entry: &ModelEntry| entry.tools_on_chat_completions);
        let mut learnt = self.0.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        let quirks = learnt
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Mutex::new(Quirks::new(dialect, *api, name, &facts, tools))));
        Ok(Arc::new(Model {
            server: Arc::clone(&self.0),
            name: name.to_owned(),
            facts,
            quirks: Arc::clone(quirks),
        }))
    }
}

struct Model {
    server: Arc<Server>,
    name: String,
    facts: ModelFacts,
    quirks: Arc<Mutex<Quirks>>,
}

impl ChatModel for Model {
    fn provider(&self) -> &str {
        self.server.parts.label
    }

    fn model(&self) -> &str {
        &self.name
    }

    fn destination(&self) -> &Destination {
        self.server.parts.endpoint.destination()
    }

    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn stream(&self, request: Cleared<ChatRequest>) -> BoxFuture<'_, Result<ChatStream, ProviderError>> {
        self.begin(request).boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Vec<Check>> {
        async {
            let endpoint = &self.server.parts.endpoint;
            let steps = endpoint.outbound().reach(&endpoint.url("models")).await;
            steps.into_iter().map(reach_check).collect()
        }
        .boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, ProviderError>> {
        self.ask().boxed()
    }
}

impl Model {
    async fn begin(&self, request: Cleared<ChatRequest>) -> Result<ChatStream, ProviderError> {
        let Parts { label, dialect, endpoint, api, .. } = &self.server.parts;
        if request.destination() != endpoint.destination() {
            return Err(ProviderError::new(
                ProviderErrorKind::Egress,
                "the text was cleared for another destination",
            ));
        }
        let request = request.into_value();
        let remembered = *self.quirks.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut quirks, mut lasting) = (remembered, remembered);
        for _ in 0..MOST_ADAPTATIONS {
            let (operation, body) = self.body(&request, &quirks);
            let reply = endpoint.post(&operation, "chat", ACCEPT, &body).await?;
            if reply.status().is_success() {
                // Only what led to an answer is worth remembering.
                if lasting != remembered {
                    *self.quirks.lock().unwrap_or_else(PoisonError::into_inner) = lasting;
                }
                let scrubber = endpoint.scrubber().clone();
                return Ok(if quirks.responses {
                    reading::stream(reply, responses::Reader::new(scrubber))
                } else {
                    reading::stream(reply, Reader::new(&request, scrubber))
                });
            }
            let refusal = Refusal::read(reply, endpoint.scrubber()).await;
            let Some(adapted) = quirks.adapt(dialect, *api, &request, &refusal) else {
                return Err(advised(dialect, refusal).error);
            };
            tracing::info!(provider = label, refused = adapted.what, "asking again in other words");
            quirks = adapted.quirks;
            if adapted.remember {
                // Without what was changed for this request alone.
                let also = lasting.adapt(dialect, *api, &request, &refusal);
                lasting = also.map_or(lasting, |also| also.quirks);
            }
        }
        let refused = "the server refuses every form of the request";
        Err(ProviderError::new(ProviderErrorKind::BadRequest, refused))
    }

    /// The operation and what it is sent.
    fn body(&self, request: &ChatRequest, quirks: &Quirks) -> (String, Value) {
        if quirks.responses {
            let sampling = if quirks.sampling { self.facts.sampling } else { Some(false) };
            let facts = ModelFacts { sampling, ..self.facts.clone() };
            return (self.operation("responses"), responses::body(&self.name, request, &facts));
        }
        let Parts { dialect, azure, .. } = &self.server.parts;
        let named_by_url = azure.as_ref().is_some_and(AzureAddress::is_classic);
        let name = (!named_by_url).then_some(self.name.as_str());
        (self.operation("chat/completions"), request::body(name, request, dialect, quirks))
    }

    fn operation(&self, operation: &str) -> String {
        match &self.server.parts.azure {
            Some(azure) => azure.operation(&self.name, operation),
            None => operation.to_owned(),
        }
    }

    /// The list of models, and TGI's description of its one model. Gateways have no list, or keep it
    /// from keys that may chat; that is no failure of the model.
    async fn ask(&self) -> Result<Inspection, ProviderError> {
        let Parts { dialect, endpoint, .. } = &self.server.parts;
        let mut found = match self.read("models").await {
            Ok(list) => inspect::of_list(&list, &self.name, dialect, endpoint.has_key()),
            Err(error) => match error.kind() {
                // Without a status nobody was reached.
                _ if error.status().is_none() => return Err(error),
                ProviderErrorKind::Credentials => return Err(error),
                // Azure keeps lists from nobody: this is the network's refusal.
                ProviderErrorKind::Forbidden if dialect.models == ModelList::Deployable => return Err(error),
                _ => Found::default(),
            },
        };
        if dialect.models == ModelList::Tgi {
            // Beside `/v1`, not below it; a gateway may not pass it on.
            found = found.with_info(&self.read("../info").await.unwrap_or_default());
        }
        Ok(found.with_warnings(&self.facts, today()))
    }

    async fn read(&self, operation: &str) -> Result<Value, ProviderError> {
        let Parts { dialect, endpoint, .. } = &self.server.parts;
        let reply = endpoint.get(&self.operation(operation), "models").await?;
        if !reply.status().is_success() {
            return Err(advised(dialect, Refusal::read(reply, endpoint.scrubber()).await).error);
        }
        let body = reply.bytes(UNARY_LIMIT).await.map_err(from_http)?;
        // What is no list says nothing.
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}

fn advised(dialect: &Dialect, refusal: Refusal) -> Refusal {
    match (dialect.advice)(&refusal) {
        Some(advice) => refusal.advise(advice),
        None => refusal,
    }
}

fn today() -> Date {
    Offset::UTC.to_datetime(Timestamp::now()).date()
}
