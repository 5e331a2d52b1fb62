//! What needs the provider: the connection test, its status, root cause analysis.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use atlas_config::Settings;
use atlas_domain::{Fault, RecordId, Retry};
use atlas_features::{FeatureError, Features, RcaAnswer, RcaProgress, RcaRequest};
use atlas_inference::{AiState, Inference, InferenceError, hint, summary};
use atlas_retrieval::Retrieval;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_util::sync::CancellationToken;

use crate::auth::Tenant;
use crate::extract::Json;
use crate::observe::RequestId;
use crate::problem::Problem;
use crate::tenant_header::NamedTenant;

/// The title that clients know.
const UNAVAILABLE: &str = "AI provider temporarily unavailable";

/// When the provider did not say how long to wait.
const RETRY_DEFAULT: Duration = Duration::from_secs(30);

/// Comments keep proxies from closing a stream while the model thinks: most wait for 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestBody {
    test: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct TestAnswer {
    status: &'static str,
    provider: String,
    model: String,
    latency_ms: u64,
    cp_connected: bool,
}

/// Tests the connection that real traffic uses. It takes no target from the body, and reads no
/// tenant's data, so the tenant is only checked for its form.
pub(crate) async fn test(
    State(inference): State<Arc<Inference>>,
    NamedTenant(_): NamedTenant,
    Json(body): Json<TestBody>,
) -> Result<Json<TestAnswer>, Problem> {
    if !body.test {
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", "test: it is not true");
        return Err(problem.field("test").hint("send {\"test\": true}"));
    }
    let report = inference.test().await;
    match (report.provider, report.model, report.error) {
        (Some(provider), Some(model), None) => Ok(Json(TestAnswer {
            status: report.status,
            provider,
            model,
            latency_ms: report.latency_ms.unwrap_or_default(),
            cp_connected: false,
        })),
        (_, _, Some(error)) => Err(down(error.code, error.message, error.hint)),
        (_, _, None) => Err(unavailable(InferenceError::NotConfigured)),
    }
}

/// What is known without asking the provider.
pub(crate) async fn status(
    State(inference): State<Arc<Inference>>,
    State(retrieval): State<Arc<Retrieval>>,
    State(settings): State<Arc<Settings>>,
) -> Json<Value> {
    let status = inference.status();
    let served_by = status.served_by.as_ref();
    // Also where the settings cannot work: what was asked for helps to see why.
    let provider = served_by.map(|by| by.provider.clone()).or_else(|| settings.byoc.provider.clone());
    let model = served_by.map(|by| by.model.clone()).or_else(|| settings.byoc.model.clone());
    Json(json!({
        "state": status.state,
        "provider": provider,
        "model": model,
        "host": served_by.map(|by| &by.host),
        "destination": served_by.map(|by| &by.destination),
        "problem": status.problem,
        "breaker": status.breaker,
        "since": status.since,
        "last_success": status.last_success,
        "last_failure": status.last_failure,
        "embedding": retrieval.embedding(),
        "cp_connected": false,
        "ai_credits_fail_open": settings.control_plane.credits_fail_open,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RcaBody {
    incident_id: RecordId,
}

/// Explains an incident: as JSON, or as events while it is being done.
pub(crate) async fn rca(
    State(features): State<Arc<Features>>,
    State(inference): State<Arc<Inference>>,
    State(stopping): State<CancellationToken>,
    Tenant(scope): Tenant,
    request_id: RequestId,
    headers: HeaderMap,
    Json(body): Json<RcaBody>,
) -> Result<Response, Problem> {
    // What can be refused is refused before a stream begins, with a status.
    features.incidents().get(&scope, &body.incident_id).await?;
    match inference.state() {
        AiState::NotConfigured => return Err(unavailable(InferenceError::NotConfigured)),
        AiState::Misconfigured(error) => {
            return Err(unavailable(InferenceError::Refused { source: error.clone() }));
        }
        AiState::Ready(_) => {}
    }
    let request = RcaRequest::new(body.incident_id);
    if !wants_events(&headers) {
        let answer = features.rca().explain(&scope, request, |_| {}).await?;
        return Ok(Json(answer).into_response());
    }
    let (sender, progress) = mpsc::unbounded_channel();
    let work = Box::pin(async move {
        // A reader that has gone drops this future too.
        features.rca().explain(&scope, request, move |stage| drop(sender.send(stage))).await
    });
    let events =
        events(Running { work, progress, stopping, request_id, ready: VecDeque::new(), over: false });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // nginx buffers answers unless told not to.
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    Ok(response)
}

fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted
        .split(',')
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/event-stream"))
}

/// An analysis that is being streamed. Dropping it, as a client that goes away does, cancels the
/// call to the provider.
struct Running {
    work: BoxFuture<'static, Result<RcaAnswer, FeatureError>>,
    progress: UnboundedReceiver<RcaProgress>,
    stopping: CancellationToken,
    request_id: RequestId,
    ready: VecDeque<Event>,
    over: bool,
}

fn events(running: Running) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    stream::unfold(running, |mut running| async move {
        loop {
            if let Some(event) = running.ready.pop_front() {
                return Some((Ok(event), running));
            }
            if running.over {
                return None;
            }
            tokio::select! {
                biased;
                Some(stage) = running.progress.recv() => running.ready.push_back(event("progress", &stage)),
                outcome = &mut running.work => {
                    while let Ok(stage) = running.progress.try_recv() {
                        running.ready.push_back(event("progress", &stage));
                    }
                    running.ready.push_back(match outcome {
                        Ok(answer) => event("answer", &answer),
                        Err(error) => event("error", &Problem::from(error).to_json(&running.request_id.0)),
                    });
                    running.over = true;
                }
                () = running.stopping.cancelled() => {
                    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is shutting down");
                    running.ready.push_back(event("error", &problem.to_json(&running.request_id.0)));
                    running.over = true;
                }
            }
        }
    })
}

fn event(name: &str, data: &impl Serialize) -> Event {
    match serde_json::to_string(data) {
        Ok(data) => Event::default().event(name).data(data),
        Err(error) => {
            tracing::error!(%error, name, "an event could not be written as JSON");
            Event::default().event("error").data("{\"code\":\"internal\"}")
        }
    }
}

/// The answer when there is no answer of the provider.
pub(crate) fn unavailable(error: InferenceError) -> Problem {
    let code = error.code();
    let retry = error.retry();
    let problem = match &error {
        InferenceError::NotConfigured => down(
            code,
            error.to_string(),
            "set BYOC_PROVIDER, BYOC_MODEL and BYOC_API_KEY, and start the server again",
        ),
        InferenceError::Refused { source } if source.fault() == Fault::Caller => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, summary(source)).hint(hint(source))
        }
        InferenceError::Unavailable { source, .. } | InferenceError::Refused { source } => {
            down(code, summary(source), hint(source))
        }
        InferenceError::Capacity => {
            down(code, error.to_string(), "try again when other AI requests have ended")
        }
        InferenceError::Deadline => down(code, error.to_string(), "try again, or use a faster model"),
        InferenceError::Unusable { problems } => {
            let detail = format!("{error}: {}", problems.join("; "));
            Problem::new(StatusCode::BAD_GATEWAY, code, detail)
                .titled("AI answer not usable")
                .hint("try again, or use a model that follows JSON schemas")
        }
    };
    match retry {
        Retry::After(after) => problem.retry_after(after),
        Retry::Now | Retry::Never => problem,
    }
}

fn down(code: &'static str, detail: impl Into<String>, hint: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        .titled(UNAVAILABLE)
        .hint(hint)
        .retry_after(RETRY_DEFAULT)
}
