//! AWS Bedrock: Converse and ConverseStream, for every model family with one dialect.
//!
//! `BYOC_MODEL` is what Bedrock calls a model identifier: a model, an inference profile, or the
//! ARN of a profile, provisioned throughput or imported model. It is used as it is: a geography is
//! suggested in an error, never chosen, because it decides where data goes.
//!
//! | asked for | where the model has it | elsewhere |
//! |---|---|---|
//! | system turns | `system` | in front of the first user text |
//! | tools | `toolConfig`; without streaming where the model wants that, as one synthetic stream | left out; earlier calls become text |
//! | a forced tool | `toolChoice` | the model decides |
//! | no tools (`ToolChoice::None`) | left out | kept while the history holds calls, which Bedrock demands |
//! | one call at a time, a seed | - | left out |
//! | JSON of a shape | `outputConfig` | a forced tool whose arguments are the answer, else words |
//! | any JSON | - | words |
//! | `temperature`, `top_p` | `inferenceConfig` | left out |
//!
//! What a model has comes from the facts about it; where those are silent and it refuses, it is
//! remembered and asked again without.

mod error;
mod history;
mod model;
mod options;
mod request;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use atlas_aws::{Identity, RuntimeEndpoint, SdkHttp, bedrock_client, sdk};
use atlas_domain::Destination;
use atlas_http::Outbound;
use atlas_llm::{ChatModel, Provider, ProviderError};
use atlas_vendor::{Catalog, ModelFamily, destination};

use crate::{Options, Origins, Plug, Sockets};
use model::{BedrockModel, Learnt};

pub(crate) const PLUG: Plug = Plug { labels: &["bedrock"], origins, make };

fn origins(_: &'static str, options: &Options) -> Result<Origins, ProviderError> {
    options::origins(options)
}

fn make(_: &'static str, options: Options, sockets: Sockets) -> Result<Arc<dyn Provider>, ProviderError> {
    Ok(Arc::new(Bedrock::new(&options, &sockets)?))
}

/// One account in one region.
struct Bedrock {
    runtime: Arc<Runtime>,
    catalog: Arc<Catalog>,
    /// By model; models are connected anew for every route.
    learnt: Mutex<HashMap<String, Arc<Learnt>>>,
}

/// What the models of one provider share.
struct Runtime {
    /// For answers that come as they are made.
    streaming: sdk::Client,
    /// For answers in one piece, whose first byte comes when the last one is made.
    whole: sdk::Client,
    identity: Arc<Identity>,
    endpoint: RuntimeEndpoint,
    destination: Destination,
    outbound: Outbound,
}

impl Bedrock {
    fn new(options: &Options, sockets: &Sockets) -> Result<Self, ProviderError> {
        let endpoint = options::endpoint(options)?;
        let identity = Identity::connect(&options.aws, &sockets.calls, sockets.credentials.as_ref())?;
        let client = |limits| {
            let http = SdkHttp::new(sockets.calls.clone(), "chat", limits);
            bedrock_client(http, Arc::clone(&identity), &endpoint)
        };
        let runtime = Runtime {
            streaming: client(options::limits(options))?,
            whole: client(options::limits_of_whole(options))?,
            destination: destination(endpoint.origin()),
            outbound: sockets.calls.clone(),
            identity,
            endpoint,
        };
        Ok(Self {
            runtime: Arc::new(runtime),
            catalog: Arc::clone(&options.catalog),
            learnt: Mutex::default(),
        })
    }
}

impl Provider for Bedrock {
    fn label(&self) -> &'static str {
        "bedrock"
    }

    fn connect(&self, model: &str) -> Result<Arc<dyn ChatModel>, ProviderError> {
        let model = options::model(model)?;
        let entry = self.catalog.find(ModelFamily::Bedrock, model);
        let mut learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        let learnt = learnt.entry(model.to_owned()).or_default();
        Ok(Arc::new(BedrockModel {
            runtime: Arc::clone(&self.runtime),
            model: model.to_owned(),
            facts: entry.map(|entry| entry.chat.clone()).unwrap_or_default(),
            replacement: entry.and_then(|entry| entry.replacement.clone()),
            learnt: Arc::clone(learnt),
        }))
    }
}

#[cfg(test)]
mod double;
#[cfg(test)]
mod tests;
