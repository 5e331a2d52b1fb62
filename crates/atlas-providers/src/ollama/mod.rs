//! Ollama by its native API.
//!
//! Its OpenAI-compatible route ignores `num_ctx`: a prompt beyond what happens to be loaded is cut
//! at its head and answered all the same. Here the context is asked for with every request, and a
//! prompt that does not fit is an error.
//!
//! | asked for | sent |
//! |---|---|
//! | JSON of a shape | `format` with the schema, and the schema as an instruction, because `format` only rules out what does not match and the model should know what to say |
//! | the same beside tools | the instruction alone: `format` would rule out the calls |
//! | a tool, or this tool | an instruction, and of the tools only this one: there is no `tool_choice` |
//! | no tool | no tools |
//! | ids of calls | made here where the server has none or repeats them |
//! | a failed tool | its words after `Error:` |
//! | thinking, parallel calls, strict tools | nothing: left to the model |
//!
//! One context size serves all requests, because another one loads the model anew. `keep_alive` is
//! left to the server's own setting. Nothing is ever pulled.
//!
//! Servers before 0.5 know no schemas and count only the part of a prompt that they had not seen
//! before; they are not supported.

mod error;
mod inspect;
mod options;
mod request;
mod stream;

#[cfg(test)]
mod calls_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use atlas_domain::{Check, Destination};
use atlas_guard::Cleared;
use atlas_llm::{ChatModel, ChatRequest, ChatStream, Inspection, ModelFacts, Provider, ProviderError};
use atlas_vendor::{Catalog, Endpoint, ModelFamily, Refusal, reach_check};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::request::addressed;
use crate::{Options, Origins, Plug, Sockets, reading};
use stream::Reader;

/// The operation, below the base.
const CHAT: &str = "api/chat";
/// Covers a prompt with evidence and its answer; a model of 8 billion parameters then needs about
/// one gigabyte beside its weights.
const CONTEXT_TOKENS: u32 = 8192;

pub(crate) const PLUG: Plug = Plug { labels: &["ollama"], origins, make };

fn origins(_label: &'static str, options: &Options) -> Result<Origins, ProviderError> {
    Ok(Origins::only(options::origin(options)?))
}

fn make(label: &'static str, options: Options, sockets: Sockets) -> Result<Arc<dyn Provider>, ProviderError> {
    let endpoint = Arc::new(options::endpoint(&options, sockets)?);
    let context_tokens = options.context_tokens.unwrap_or(CONTEXT_TOKENS);
    Ok(Arc::new(Ollama { label, endpoint, context_tokens, catalog: options.catalog }))
}

struct Ollama {
    label: &'static str,
    endpoint: Arc<Endpoint>,
    context_tokens: u32,
    catalog: Arc<Catalog>,
}

impl Provider for Ollama {
    fn label(&self) -> &'static str {
        self.label
    }

    fn connect(&self, model: &str) -> Result<Arc<dyn ChatModel>, ProviderError> {
        let name = model.trim().to_owned();
        if name.is_empty() {
            return Err(ProviderError::setting(
                "BYOC_MODEL",
                "it is empty, and there is no default model; set a name that `ollama list` shows",
            ));
        }
        let mut facts = self.catalog.facts(ModelFamily::Local, &name);
        // What the model could do with more memory is of no use here.
        let asked = u64::from(self.context_tokens);
        facts.context_tokens = Some(facts.context_tokens.map_or(asked, |most| most.min(asked)));
        Ok(Arc::new(Model {
            label: self.label,
            endpoint: Arc::clone(&self.endpoint),
            name,
            context_tokens: self.context_tokens,
            facts,
        }))
    }
}

struct Model {
    label: &'static str,
    endpoint: Arc<Endpoint>,
    name: String,
    context_tokens: u32,
    facts: ModelFacts,
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
            let steps = self.endpoint.outbound().reach(&self.endpoint.url(CHAT)).await;
            steps.into_iter().map(reach_check).collect()
        }
        .boxed()
    }

    fn inspect(&self) -> BoxFuture<'_, Result<Inspection, ProviderError>> {
        inspect::inspect(&self.endpoint, &self.name, self.context_tokens).boxed()
    }
}

impl Model {
    async fn begin(&self, request: Cleared<ChatRequest>) -> Result<ChatStream, ProviderError> {
        let request = addressed(request, self.endpoint.destination())?;
        let body = request::body(&self.name, &request, self.context_tokens);
        let accept = "application/x-ndjson, application/json";
        let reply = self.endpoint.post(CHAT, "chat", accept, &body).await?;
        if reply.status().is_success() {
            let reader = Reader::new(self.endpoint.scrubber().clone(), &request, self.context_tokens);
            return Ok(reading::stream(reply, reader));
        }
        let refusal = Refusal::read(reply, self.endpoint.scrubber()).await;
        Err(error::advised(refusal, &self.name))
    }
}
