//! What engines outside this process have in common.
//!
//! A folder of an engine gives a [`Wire`]: one request, one answer. Everything that keeps the
//! contract of [`Embedder`] is here: texts are cut to what the model reads, batches to what a
//! request may hold (and halved when a server wants less), counts and dimensions are checked
//! before anything is stored, vectors get unit length, an empty text gets a vector without being
//! sent, failures are repeated within limits and then remembered for a few seconds.
//!
//! The space of an engine is known without a call where the settings or the catalog know the
//! dimension: then the server starts, and goes on indexing later, whether or not the provider is
//! up. Only an unknown dimension costs a call at loading.
//!
//! Not here: the wire formats, and what search does meanwhile.

mod batch;
mod embedder;
mod patience;
mod refusal;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use atlas_domain::{Check, Destination, ProviderError, ProviderErrorKind as Kind};
use atlas_embed::{EmbedError, Embedder, Embedding, Engine, Purpose};
use atlas_http::{Outbound, Url};
use atlas_vendor::{EmbeddingFacts, Sockets, reach_check};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub(crate) use embedder::RemoteEmbedder;
pub(crate) use refusal::ours;

/// How one provider is asked. Repeats nothing and checks nothing that its caller can check.
pub(crate) trait Wire: Send + Sync + 'static {
    /// Where texts go.
    fn destination(&self) -> &Destination;

    /// One request: a vector for each text, in the order of the texts, as the provider made them.
    fn ask<'a>(
        &'a self,
        texts: &'a [String],
        purpose: Purpose,
    ) -> BoxFuture<'a, Result<Vec<Vec<f32>>, ProviderError>>;

    /// What the server says about its limits; asked once, before the first texts. A server that
    /// does not say has the limits that were known before.
    fn limits(&self) -> BoxFuture<'_, Result<ServerLimits, ProviderError>> {
        async { Ok(ServerLimits::default()) }.boxed()
    }

    /// Goes the way to the provider without asking it anything; the first check that failed.
    fn reach(&self) -> BoxFuture<'_, Option<Check>>;
}

/// What a server says about its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ServerLimits {
    /// Texts per request.
    pub(crate) texts: Option<usize>,
    /// Tokens per text.
    pub(crate) input_tokens: Option<usize>,
}

/// What is known about a model before the first call.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// The engine's label.
    pub(crate) label: &'static str,
    /// The model, as the provider names it.
    pub(crate) model: String,
    /// Components per vector.
    pub(crate) dimension: Option<usize>,
    /// Texts per request.
    pub(crate) texts: usize,
    /// Tokens per request.
    pub(crate) request_tokens: usize,
    /// Tokens per text.
    pub(crate) input_tokens: usize,
    /// Characters per text, where the provider counts them too.
    pub(crate) input_chars: Option<usize>,
    /// What goes before texts that will be found, and before texts that search.
    pub(crate) prefixes: (String, String),
}

impl Known {
    /// The facts of the catalog with the settings' dimension; what neither knows is taken from
    /// the most modest servers in use. A dimension that the model is known not to have is refused
    /// here: the provider would say so only when the first text is embedded.
    pub(crate) fn new(
        label: &'static str,
        model: &str,
        dimensions: Option<usize>,
        facts: &EmbeddingFacts,
    ) -> Result<Self, ProviderError> {
        if let (Some(wanted), Some(allowed)) = (dimensions, &facts.dimensions_allowed)
            && !allowed.contains(wanted)
        {
            return Err(ProviderError::setting(
                "EMBEDDING_DIMENSIONS",
                format!("the vectors of {model} can have {allowed} components, not {wanted}"),
            ));
        }
        Ok(Self {
            label,
            model: model.to_owned(),
            dimension: dimensions.or(facts.dimension),
            // TEI's default for requests; the context of the BERT family, on which most small
            // embedding models rest; a request of 2 MB at most, which is TEI's limit too.
            texts: facts.max_batch.unwrap_or(32),
            request_tokens: facts.max_batch_tokens.unwrap_or(300_000),
            input_tokens: facts.max_input_tokens.unwrap_or(512),
            input_chars: facts.max_input_chars,
            prefixes: (
                facts.passage_prefix.clone().unwrap_or_default(),
                facts.query_prefix.clone().unwrap_or_default(),
            ),
        })
    }

    /// The part of the space's identity that pins what is embedded: with other prefixes the same
    /// model gives other vectors.
    fn revision(&self) -> String {
        match &self.prefixes {
            (passage, query) if passage.is_empty() && query.is_empty() => "remote".to_owned(),
            (passage, query) => format!("remote {passage:?} {query:?}"),
        }
    }
}

/// A kind of engine outside this process, with its options checked.
pub(crate) struct RemoteEngine {
    known: Known,
    wire: Arc<dyn Wire>,
}

impl RemoteEngine {
    pub(crate) fn new(known: Known, wire: Arc<dyn Wire>) -> Self {
        Self { known, wire }
    }

    async fn connect(&self) -> Result<Arc<dyn Embedder>, EmbedError> {
        let embedder = match self.known.dimension {
            Some(dimension) => RemoteEmbedder::new(&self.known, dimension, self.wire.clone()),
            None => RemoteEmbedder::measured(&self.known, self.wire.clone()).await?,
        };
        Ok(Arc::new(embedder))
    }
}

impl Engine for RemoteEngine {
    fn label(&self) -> &'static str {
        self.known.label
    }

    fn load(&self) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        async { Ok(Embedding::Vectors(self.connect().await?)) }.boxed()
    }
}

/// The clients, which every engine outside this process needs.
pub(crate) fn given(sockets: Option<Sockets>) -> Result<Sockets, ProviderError> {
    sockets.ok_or_else(|| ProviderError::new(Kind::Egress, "no connections are allowed for this engine"))
}

/// Reads an answer on a thread of its own: a hundred long vectors are megabytes of text, and the
/// milliseconds they take belong to no async worker.
pub(crate) async fn read_apart(
    read: impl FnOnce() -> Result<Vec<Vec<f32>>, ProviderError> + Send + 'static,
) -> Result<Vec<Vec<f32>>, ProviderError> {
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| ProviderError::new(Kind::Protocol, "reading the answer failed"))?
}

/// Goes the way to an address; the first check that failed, as a check of the embeddings.
pub(crate) async fn reach(outbound: &Outbound, url: &Url) -> Option<Check> {
    let steps = outbound.reach(url).await;
    let step = steps.into_iter().find(|step| step.outcome.is_err())?;
    let check = reach_check(step);
    Some(Check {
        id: "embeddings",
        detail: format!("{}: {}", check.id, check.detail),
        // The ladder's advice is about the chat provider; the way is the same.
        hint: check.hint.map(|hint| hint.replace("BYOC_ENDPOINT_URL", "EMBEDDING_ENDPOINT_URL")),
        ..check
    })
}
