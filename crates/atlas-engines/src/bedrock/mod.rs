//! AWS Bedrock's embedding models, by InvokeModel: Titan and Cohere.
//!
//! | family | request | texts | purpose |
//! |---|---|---|---|
//! | Titan v1 | `inputText` | 1 | - |
//! | Titan v2 | `inputText`, `dimensions`, `normalize` | 1 | - |
//! | Cohere v3 | `texts`, `input_type` | 96 | `search_document`, `search_query` |
//! | Cohere v4 | the same, `output_dimension` | 96 | the same |
//!
//! Who we are on AWS is decided as for chat; see `atlas-aws`.
//!
//! Not here: batches and repetition (`remote`), other inputs than text.

mod options;
mod request;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::Arc;

use atlas_aws::sdk::Client;
use atlas_aws::sdk::primitives::Blob;
use atlas_aws::{Identity, SdkHttp, advise, bedrock_client};
use atlas_domain::{Check, Destination, ProviderError};
use atlas_embed::Purpose;
use atlas_http::Outbound;
use atlas_vendor::destination;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, try_join_all};

use crate::Plug;
use crate::Sockets;
use crate::options::RemoteOptions;
use crate::remote::{RemoteEngine, Wire, given, ours, reach, read_apart};

use options::{LIMITS, Target};

pub(crate) const PLUG: Plug = Plug {
    label: "bedrock",
    origins: |options| options::origins(&options.remote),
    make: |options, sockets| {
        let wire = BedrockWire::new(&options.remote, sockets)?;
        Ok(Arc::new(RemoteEngine::new(wire.target.known.clone(), Arc::new(wire))))
    },
};

/// One model of one account in one region.
struct BedrockWire {
    target: Target,
    client: Client,
    identity: Arc<Identity>,
    destination: Destination,
    outbound: Outbound,
}

impl BedrockWire {
    fn new(options: &RemoteOptions, sockets: Option<Sockets>) -> Result<Self, ProviderError> {
        let target = Target::new(options)?;
        let Sockets { calls: outbound, credentials } = given(sockets)?;
        let identity = Identity::connect(&target.aws, &outbound, credentials.as_ref())?;
        let http = SdkHttp::new(outbound.clone(), "embeddings", LIMITS);
        let client = bedrock_client(http, Arc::clone(&identity), &target.endpoint)?;
        let destination = destination(target.endpoint.origin());
        Ok(Self { target, client, identity, destination, outbound })
    }

    async fn embed(&self, texts: &[String], purpose: Purpose) -> Result<Vec<Vec<f32>>, ProviderError> {
        let bodies = request::bodies(&self.target, texts, purpose);
        // A family of one text per request is asked for all texts of a batch at once.
        let answers = try_join_all(bodies.into_iter().map(|body| self.invoke(body.to_string()))).await?;
        let family = self.target.family;
        read_apart(move || {
            let mut vectors = Vec::new();
            for answer in &answers {
                vectors.extend(wire::read(family, answer.as_ref())?);
            }
            Ok(vectors)
        })
        .await
    }

    async fn invoke(&self, body: String) -> Result<Blob, ProviderError> {
        let model = &self.target.known.model;
        let call = self
            .client
            .invoke_model()
            .model_id(model)
            .content_type("application/json")
            .accept("application/json")
            .body(Blob::new(body));
        match self.identity.call(|| call.clone().send()).await {
            Ok(answer) => Ok(answer.body),
            Err(error) => Err(ours(advise(error, model, self.target.endpoint.region(), None))),
        }
    }
}

impl Wire for BedrockWire {
    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn ask<'a>(
        &'a self,
        texts: &'a [String],
        purpose: Purpose,
    ) -> BoxFuture<'a, Result<Vec<Vec<f32>>, ProviderError>> {
        self.embed(texts, purpose).boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Option<Check>> {
        async { reach(&self.outbound, self.target.endpoint.url()).await }.boxed()
    }
}
