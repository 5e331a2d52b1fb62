//! `/embeddings` as OpenAI has it: OpenAI itself, Azure OpenAI, and every server that imitates
//! them (TEI, vLLM, llama.cpp, gateways).
//!
//! | label | address | key | model | numbers |
//! |---|---|---|---|---|
//! | `openai` | OpenAI's, or `EMBEDDING_ENDPOINT_URL` | `EMBEDDING_API_KEY`, else `OPENAI_API_KEY` | `EMBEDDING_MODEL`, else the catalog's default | base64 from OpenAI itself |
//! | `azure` | `EMBEDDING_ENDPOINT_URL`, v1 URLs; classic ones with an API version | `EMBEDDING_API_KEY` in `api-key` | `EMBEDDING_MODEL` is the deployment | JSON |
//! | `compatible` | `EMBEDDING_ENDPOINT_URL` | `EMBEDDING_API_KEY`, if the server wants one | `EMBEDDING_MODEL` | JSON |
//!
//! Requests say as little as possible; `encoding_format` and `dimensions` are left out for good
//! when a server refuses them by name. A compatible server is asked once about its limits: TEI by
//! `/info`, vLLM by its list of models.
//!
//! Not here: batches and repetition (`remote`), TEI's own dialect, which does nothing more.

mod limits;
mod options;
mod request;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atlas_domain::{Check, Destination, ProviderError, ProviderErrorKind as Kind};
use atlas_embed::{Engine, Purpose};
use atlas_http::{Reply, UNARY_LIMIT};
use atlas_vendor::{Endpoint, Refusal, from_http};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::Plug;
use crate::remote::{RemoteEngine, ServerLimits, Wire, ours, reach, read_apart};
use crate::{EngineOptions, Sockets};

use options::{Dialect, Target};

pub(crate) const OPENAI: Plug = Plug {
    label: "openai",
    origins: |options| options::origins(Dialect::OpenAi, &options.remote),
    make: |options, sockets| make(Dialect::OpenAi, options, sockets),
};

pub(crate) const AZURE: Plug = Plug {
    label: "azure",
    origins: |options| options::origins(Dialect::Azure, &options.remote),
    make: |options, sockets| make(Dialect::Azure, options, sockets),
};

pub(crate) const COMPATIBLE: Plug = Plug {
    label: "compatible",
    origins: |options| options::origins(Dialect::Compatible, &options.remote),
    make: |options, sockets| make(Dialect::Compatible, options, sockets),
};

fn make(
    dialect: Dialect,
    options: &EngineOptions,
    sockets: Option<Sockets>,
) -> Result<Arc<dyn Engine>, ProviderError> {
    let target = Target::new(dialect, &options.remote, sockets)?;
    Ok(Arc::new(RemoteEngine::new(target.known.clone(), Arc::new(OpenAiWire::new(target)))))
}

/// One model at one address.
struct OpenAiWire {
    target: Target,
    /// What this server turned out to refuse.
    without_format: AtomicBool,
    without_dimensions: AtomicBool,
}

impl OpenAiWire {
    fn new(target: Target) -> Self {
        Self { target, without_format: AtomicBool::default(), without_dimensions: AtomicBool::default() }
    }

    fn endpoint(&self) -> &Endpoint {
        &self.target.endpoint
    }

    async fn embeddings(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ProviderError> {
        loop {
            let quirks = (
                self.without_format.load(Ordering::Relaxed),
                self.without_dimensions.load(Ordering::Relaxed),
            );
            let body = request::body(&self.target, texts, quirks);
            let sent =
                self.endpoint().post(&self.target.operation, "embeddings", "application/json", &body).await;
            let reply = sent.map_err(ours)?;
            if reply.status().is_success() {
                return self.read(reply).await;
            }
            let refusal = Refusal::read(reply, self.endpoint().scrubber()).await;
            // Each of the two can be learned once, so this ends.
            if !self.learns_from(&refusal, quirks) {
                return Err(self.advised(refusal));
            }
        }
    }

    async fn read(&self, reply: Reply) -> Result<Vec<Vec<f32>>, ProviderError> {
        let body = reply.bytes(UNARY_LIMIT).await.map_err(from_http)?;
        let scrubber = self.endpoint().scrubber().clone();
        read_apart(move || wire::read(&body, &scrubber)).await
    }

    /// Whether the refusal was about a parameter that can be left out from now on.
    fn learns_from(&self, refusal: &Refusal, (format, dimensions): (bool, bool)) -> bool {
        if refusal.error.kind() != Kind::BadRequest {
            return false;
        }
        let (what, flag) = if !format && refusal.names("encoding_format") {
            ("encoding_format", &self.without_format)
        } else if !dimensions
            && self.target.dimensions.is_some()
            && (refusal.names("dimensions") || refusal.names("matryoshka"))
        {
            ("dimensions", &self.without_dimensions)
        } else {
            return false;
        };
        tracing::info!(engine = self.target.known.label, left_out = what, "the server refused a parameter");
        flag.store(true, Ordering::Relaxed);
        true
    }

    fn advised(&self, refusal: Refusal) -> ProviderError {
        let advice = match (refusal.error.kind(), self.target.dialect) {
            (Kind::NotFound, Dialect::Azure) => {
                "EMBEDDING_MODEL is the name of the deployment, not of the model"
            }
            (Kind::NotFound, Dialect::OpenAi | Dialect::Compatible) => {
                "check EMBEDDING_MODEL and the path of EMBEDDING_ENDPOINT_URL"
            }
            _ => return refusal.error,
        };
        refusal.advise(advice).error
    }
}

impl Wire for OpenAiWire {
    fn destination(&self) -> &Destination {
        self.endpoint().destination()
    }

    fn ask<'a>(
        &'a self,
        texts: &'a [String],
        _: Purpose,
    ) -> BoxFuture<'a, Result<Vec<Vec<f32>>, ProviderError>> {
        self.embeddings(texts).boxed()
    }

    fn limits(&self) -> BoxFuture<'_, Result<ServerLimits, ProviderError>> {
        async {
            match self.target.dialect {
                Dialect::Compatible => limits::ask(self.endpoint(), &self.target.known.model).await,
                Dialect::OpenAi | Dialect::Azure => Ok(ServerLimits::default()),
            }
        }
        .boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Option<Check>> {
        async { reach(self.endpoint().outbound(), &self.endpoint().url("")).await }.boxed()
    }
}
