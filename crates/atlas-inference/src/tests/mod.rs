//! The whole path, against scripted models and a paused clock.

mod fallback;
mod ladder;
mod live;
mod path;
mod routing;
mod shapes;
mod streaming;

use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{ProviderError, ProviderErrorKind as Kind};
use atlas_guard::Guard;
use atlas_llm::{ChatModel, ChatRequest, Message};
use atlas_testkit::scripted_model::{ScriptedModel, ScriptedProvider, Turn};

use super::{Feature, Inference, Job, Plugs};

fn plugs(model: &Arc<ScriptedModel>) -> Plugs {
    Plugs::ready(ScriptedProvider::of([Arc::clone(model)]), model.model())
}

fn inference(plugs: Plugs) -> Inference {
    let inference = Inference::new(Arc::new(Guard::new()));
    inference.apply(plugs);
    inference
}

fn scripted(turns: impl IntoIterator<Item = Turn>) -> (Arc<ScriptedModel>, Inference) {
    let model = Arc::new(ScriptedModel::new(turns));
    let inference = inference(plugs(&model));
    (model, inference)
}

fn job() -> Job {
    asking("Why is the disk full?")
}

fn asking(question: &str) -> Job {
    let request = ChatRequest { messages: vec![Message::user(question)], ..ChatRequest::default() };
    Job { feature: Feature::Rca, request, model: None, deadline: Duration::from_secs(300), on_text: None }
}

fn error(kind: Kind) -> ProviderError {
    ProviderError::new(kind, "canary words of the provider")
}

fn failed() -> ProviderError {
    error(Kind::Server)
}

fn refused_key() -> ProviderError {
    error(Kind::Credentials)
}

fn throttled(seconds: u64) -> ProviderError {
    error(Kind::Throttled).with_retry_after(Some(Duration::from_secs(seconds)))
}
