//! Ollama's own `/api/embed`.
//!
//! Its OpenAI-shaped twin has no `truncate`, and by default Ollama cuts long texts without a word.
//! Told not to, it refuses them, and what is cut is then cut here.
//!
//! Not here: pulling a model that is not there. That is the operator's decision.

mod options;
mod request;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;

use atlas_domain::{Check, Destination, ProviderError, ProviderErrorKind as Kind};
use atlas_embed::Purpose;
use atlas_http::UNARY_LIMIT;
use atlas_vendor::{Refusal, from_http};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::Plug;
use crate::remote::{RemoteEngine, Wire, ours, reach, read_apart};

use options::Target;

pub(crate) const PLUG: Plug = Plug {
    label: "ollama",
    origins: |options| options::origins(&options.remote),
    make: |options, sockets| {
        let target = Target::new(&options.remote, sockets)?;
        Ok(Arc::new(RemoteEngine::new(target.known.clone(), Arc::new(OllamaWire { target }))))
    },
};

/// One model of one server.
struct OllamaWire {
    target: Target,
}

impl OllamaWire {
    async fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ProviderError> {
        let endpoint = &self.target.endpoint;
        let body = request::body(&self.target, texts);
        let reply =
            endpoint.post("api/embed", "embeddings", "application/json", &body).await.map_err(ours)?;
        if !reply.status().is_success() {
            let refusal = Refusal::read(reply, endpoint.scrubber()).await;
            return Err(match refusal.error.kind() {
                Kind::NotFound => refusal.advise("pull it on that server with `ollama pull`").error,
                _ => refusal.error,
            });
        }
        let body = reply.bytes(UNARY_LIMIT).await.map_err(from_http)?;
        let scrubber = endpoint.scrubber().clone();
        read_apart(move || wire::read(&body, &scrubber)).await
    }
}

impl Wire for OllamaWire {
    fn destination(&self) -> &Destination {
        self.target.endpoint.destination()
    }

    fn ask<'a>(
        &'a self,
        texts: &'a [String],
        _: Purpose,
    ) -> BoxFuture<'a, Result<Vec<Vec<f32>>, ProviderError>> {
        self.embed(texts).boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Option<Check>> {
        async { reach(self.target.endpoint.outbound(), &self.target.endpoint.url("")).await }.boxed()
    }
}
