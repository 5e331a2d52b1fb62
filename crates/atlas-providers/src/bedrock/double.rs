//! A Bedrock that says what it is told to, in the pieces it is told to, under the real SDK.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use atlas_aws::sdk::config::http::{HttpRequest, HttpResponse};
use atlas_aws::sdk::config::retry::RetryConfig;
use atlas_aws::sdk::config::{BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use atlas_aws::{AwsIdentityOptions, Identity, RuntimeEndpoint, sdk};
use atlas_guard::Guard;
use atlas_http::{Bytes, ConnectOptions, EgressPolicy, Ledger, Outbound};
use atlas_llm::{ChatEvent, ChatModel, ChatRequest, Completion, Provider, ProviderError};
use atlas_vendor::{Catalog, destination};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use futures_util::StreamExt;
use http_body::{Body, Frame};
use serde_json::Value;

use super::{Bedrock, Runtime};

/// What is answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) pieces: Vec<Vec<u8>>,
}

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, pieces: vec![body.to_string().into_bytes()] }
    }

    /// A refusal as Bedrock words it.
    pub(super) fn refusal(status: u16, code: &str, message: &str) -> Self {
        let mut answer = Self::json(status, &serde_json::json!({ "message": message }));
        answer.headers.push(("x-amzn-errortype".to_owned(), code.to_owned()));
        answer
    }

    pub(super) fn stream<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let headers = vec![("content-type".to_owned(), "application/vnd.amazon.eventstream".to_owned())];
        Self { status: 200, headers, pieces: pieces.into_iter().map(<[u8]>::to_vec).collect() }
    }
}

/// What was asked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) model: String,
    pub(super) operation: String,
    pub(super) body: Value,
}

/// The HTTP client of the SDK in these tests. Being asked more than it was told to answer fails
/// the test.
#[derive(Debug, Clone, Default)]
pub(super) struct Double {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Double {
    pub(super) fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        let double = Self::default();
        answers.into_iter().for_each(|answer| double.push(answer));
        double
    }

    /// The next answer.
    pub(super) fn push(&self, answer: Answer) {
        self.answers.lock().expect("no panic").push_back(answer);
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// The operations that were asked for.
    pub(super) fn operations(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.operation).collect()
    }

    /// A provider with access keys, whose requests come here.
    pub(super) fn provider(&self, region: &str) -> Bedrock {
        let options = AwsIdentityOptions {
            access_key_id: Some("AKIDTESTKEY00001".to_owned()),
            secret_access_key: Some("test-key-secret".into()),
            ..AwsIdentityOptions::default()
        };
        self.provider_as(region, &options, None)
    }

    pub(super) fn provider_as(
        &self,
        region: &str,
        options: &AwsIdentityOptions,
        credentials: Option<&Outbound>,
    ) -> Bedrock {
        let endpoint = RuntimeEndpoint::new(Some(&region.to_owned()), None, false).expect("an endpoint");
        let policy = EgressPolicy::allow([endpoint.origin().clone()]);
        let outbound = Outbound::new(policy, &ConnectOptions::default(), Arc::new(Ledger::new()));
        let outbound = outbound.expect("a client");
        let runtime = Runtime {
            streaming: self.client(region),
            whole: self.client(region),
            identity: Identity::connect(options, &outbound, credentials).expect("an identity"),
            destination: destination(endpoint.origin()),
            outbound,
            endpoint,
        };
        Bedrock {
            runtime: Arc::new(runtime),
            catalog: Arc::new(Catalog::shipped()),
            learnt: Mutex::default(),
        }
    }

    pub(super) fn model(&self, model: &str) -> Arc<dyn ChatModel> {
        self.provider("us-east-1").connect(model).expect("a model")
    }

    fn client(&self, region: &str) -> sdk::Client {
        let keys = Credentials::new("AKIDTESTKEY00001", "test-key-secret", None, None, "test");
        let config = sdk::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(self.clone())
            .credentials_provider(keys)
            .region(Region::new(region.to_owned()))
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        sdk::Client::from_conf(config.build())
    }
}

impl HttpConnector for Double {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let url = request.uri().parse::<atlas_http::Url>().expect("a URL");
        let path: Vec<&str> = url.path_segments().expect("a path").collect();
        let ["model", model, operation] = path[..] else { panic!("no such path: {url}") };
        let seen = Seen {
            model: model.replace("%3A", ":").replace("%2F", "/"),
            operation: operation.to_owned(),
            body: serde_json::from_slice(request.body().bytes().expect("in memory")).expect("JSON"),
        };
        self.seen.lock().expect("no panic").push(seen);
        let answer = self.answers.lock().expect("no panic").pop_front().expect("one request too many");
        let body = SdkBody::from_body_1_x(Pieces(answer.pieces.into()));
        let status = answer.status.try_into().expect("a status");
        let mut response = HttpResponse::new(status, body);
        for (name, value) in answer.headers {
            response.headers_mut().insert(name, value);
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for Double {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// A body in pieces.
struct Pieces(VecDeque<Vec<u8>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece.into()))))
    }
}

/// All events of an answer, the error last.
pub(super) async fn ask(
    model: &dyn ChatModel,
    request: ChatRequest,
) -> Vec<Result<ChatEvent, ProviderError>> {
    let request = Guard::new().clear(request, model.destination()).expect("cleared");
    match model.stream(request).await {
        Ok(stream) => stream.collect().await,
        Err(error) => vec![Err(error)],
    }
}

/// The whole answer.
pub(super) async fn complete(
    model: &dyn ChatModel,
    request: ChatRequest,
) -> Result<Completion, ProviderError> {
    let request = Guard::new().clear(request, model.destination()).expect("cleared");
    atlas_llm::collect(model.stream(request).await?).await
}
