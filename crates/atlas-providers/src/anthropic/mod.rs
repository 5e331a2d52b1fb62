//! Anthropic's Messages API, and gateways that imitate it.
//!
//! | asked for | sent |
//! |---|---|
//! | JSON of a shape | `output_config.format`; for models without it one forced tool whose arguments become the answer's text; where no tool can be forced, an instruction |
//! | any JSON object | an instruction: there is no such mode |
//! | a forced tool, of a model that cannot be forced | an instruction |
//! | `temperature`, `top_p` | one of them, at most 1, and neither to models that refuse both |
//! | no token limit | the model's own, because one must be sent; 4096 where it is not known |
//! | `seed` | nothing |
//!
//! Schemas are made portable first (`schema`). For a model that nobody has facts about the newest
//! form is tried first; what is refused by name is left out, and that is remembered for as long as
//! the settings stay.
//!
//! Reasoning blocks are signed and must come back unchanged beside the calls they led to, so an
//! answer that holds one is kept whole as a continuation.
//!
//! Not here: Claude on Bedrock, prompt caching, batches, server-side tools.

mod blocks;
mod counts;
mod error;
mod inspect;
mod options;
mod request;
mod schema;
mod stream;
mod turns;

#[cfg(test)]
mod calls_tests;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atlas_domain::{Check, Destination};
use atlas_guard::Cleared;
use atlas_llm::{ChatModel, ChatRequest, ChatStream, Inspection, ModelFacts, Provider, ProviderError};
use atlas_vendor::{Catalog, Endpoint, ModelFamily, reach_check};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::request::addressed;
use crate::{Options, Origins, Plug, Sockets, reading};
use request::Form;
use stream::Reader;

/// The only version whose sampling parameters older models still accept. The next one, 2026-10-21,
/// adds nothing that is used here.
const VERSION: &str = "2023-06-01";
/// The operation, below the base.
const MESSAGES: &str = "v1/messages";

pub(crate) const PLUG: Plug = Plug { labels: &["anthropic"], origins, make };

fn origins(_label: &'static str, options: &Options) -> Result<Origins, ProviderError> {
    Ok(Origins::only(options::origin(options)?))
}

fn make(label: &'static str, options: Options, sockets: Sockets) -> Result<Arc<dyn Provider>, ProviderError> {
    let endpoint = Arc::new(options::endpoint(&options, sockets)?);
    Ok(Arc::new(Anthropic { label, endpoint, catalog: options.catalog, forms: Mutex::default() }))
}

struct Anthropic {
    label: &'static str,
    endpoint: Arc<Endpoint>,
    catalog: Arc<Catalog>,
    /// By model; models are connected anew for every route.
    forms: Mutex<HashMap<String, Arc<Mutex<Form>>>>,
}

impl Provider for Anthropic {
    fn label(&self) -> &'static str {
        self.label
    }

    fn connect(&self, model: &str) -> Result<Arc<dyn ChatModel>, ProviderError> {
        let name = model.trim().to_owned();
        if name.is_empty() {
            return Err(ProviderError::setting(
                "BYOC_MODEL",
                "it is empty, and there is no default model; set the name the provider uses",
            ));
        }
        let facts = self.catalog.facts(ModelFamily::Anthropic, &name);
        let mut forms = lock(&self.forms);
        let form = forms.entry(name.clone()).or_insert_with(|| Arc::new(Mutex::new(Form::first(&facts))));
        let form = Arc::clone(form);
        Ok(Arc::new(Model { label: self.label, endpoint: Arc::clone(&self.endpoint), name, facts, form }))
    }
}

struct Model {
    label: &'static str,
    endpoint: Arc<Endpoint>,
    name: String,
    facts: ModelFacts,
    /// What this model turned out to accept.
    form: Arc<Mutex<Form>>,
}

impl ChatModel for Model {
    fn provider(&self) -> &str {
        self.label
    }

    fn model(&self) -> &str {
        &self.name
    }

    fn destination(&self) -> &Destination {
        self.endpoint.destination()
    }

    fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    fn stream(&self, request: Cleared<ChatRequest>) -> BoxFuture<'_, Result<ChatStream, ProviderError>> {
        self.begin(request).boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Vec<Check>> {
        async {
            let steps = self.endpoint.outbound().reach(&self.endpoint.url(MESSAGES)).await;
            steps.into_iter().map(reach_check).collect()
        }
        .boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, ProviderError>> {
        inspect::inspect(&self.endpoint, &self.name).boxed()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Model {
    async fn begin(&self, request: Cleared<ChatRequest>) -> Result<ChatStream, ProviderError> {
        let request = addressed(request, self.endpoint.destination())?;
        let mut form = *lock(&self.form);
        let mut remember = true;
        // Ends, because a form only ever loses something.
        loop {
            let asked = request::ask(&self.name, &request, &self.facts, form);
            let accept = "text/event-stream, application/json";
            let reply = self.endpoint.post(MESSAGES, "chat", accept, &asked.body).await?;
            if reply.status().is_success() {
                // Only what led to an answer is worth remembering.
                if remember {
                    *lock(&self.form) = form;
                }
                let reader = Reader::new(self.endpoint.scrubber().clone(), asked.answers_by_tool);
                return Ok(reading::stream(reply, reader));
            }
            let refusal = error::read(reply, self.endpoint.scrubber()).await;
            let Some(adapted) = form.adapt(&asked, &refusal) else {
                return Err(refusal.error);
            };
            tracing::info!(provider = self.label, model = self.name, "the model refused a parameter");
            form = adapted;
            // One schema that it dislikes says nothing about the next one.
            remember &= !refusal.names("schema:");
        }
    }
}
