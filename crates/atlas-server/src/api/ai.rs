//! What needs the provider: the connection test, its status, root cause analysis.

use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{Check, Fault, RecordId, Retry};
use atlas_embed::{EmbedStats, Embedding};
use atlas_features::{Features, RcaAnswer, RcaRequest};
use atlas_inference::{Inference, InferenceError, hint};
use atlas_llm::CapabilityProfile;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::events::{streamed, wants_events};
use crate::app::App;
use crate::auth::Tenant;
use crate::diagnose::{self, Diagnosis, Subject};
use crate::extract::Json;
use crate::observe::RequestId;
use crate::problem::Problem;
use crate::tenant_header::NamedTenant;

/// The title that clients know.
const UNAVAILABLE: &str = "AI provider temporarily unavailable";

/// When the provider did not say how long to wait.
const RETRY_DEFAULT: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestBody {
    test: bool,
    /// Measure what the model can do, too.
    #[serde(default)]
    deep: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct TestAnswer {
    status: &'static str,
    provider: String,
    model: String,
    latency_ms: u64,
    cp_connected: bool,
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<CapabilityProfile>,
}

/// Tests the connection that real traffic uses. It takes no target from the body, and reads no
/// tenant's data, so the tenant is only checked for its form.
pub(crate) async fn test(
    State(app): State<App>,
    NamedTenant(_): NamedTenant,
    Json(body): Json<TestBody>,
) -> Result<Json<TestAnswer>, Problem> {
    if !body.test {
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", "test: it is not true");
        return Err(problem.field("test").hint("send {\"test\": true}"));
    }
    app.tests.take().map_err(|after| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_tests",
            "the connection is being tested too often",
        )
        .hint("each test calls the provider; wait a little")
        .retry_after(after)
    })?;
    let embedding = Ok(Embedding::clone(&app.embedding.load()));
    let subject = Subject {
        live: &app.live,
        inference: app.inference(),
        control_plane: app.control_plane.load_full(),
        embedding,
        index: Some(app.retrieval().embedding()),
    };
    let diagnosis = diagnose::connection(subject, body.deep).await;
    let (status, cp_connected) = (diagnosis.status(), diagnosis.cp_connected);
    let Diagnosis { report, checks, .. } = diagnosis;
    match (report.provider, report.model, report.latency_ms) {
        (Some(provider), Some(model), Some(latency_ms)) => Ok(Json(TestAnswer {
            status,
            provider,
            model,
            latency_ms,
            cp_connected,
            checks,
            profile: report.profile,
        })),
        (provider, model, latency_ms) => {
            let problem = match report.error {
                Some(error) => down(error.code, error.message, error.hint),
                None => unavailable(&InferenceError::NotConfigured),
            };
            // A failed test is read like a good one: the same members, beside the problem's.
            Err(problem
                .with("provider", provider)
                .with("model", model)
                .with("latency_ms", latency_ms)
                .with("cp_connected", cp_connected)
                .with("checks", checks))
        }
    }
}

/// What is known without asking the provider.
pub(crate) async fn status(State(app): State<App>) -> Json<Value> {
    // What cannot be counted now is not worth an error here: readiness has one.
    let changing = app.retrieval().changing_engine().await.unwrap_or_default();
    let changing: Vec<Value> =
        changing.into_iter().map(|(tenant, vectors)| json!({"tenant": tenant, "vectors": vectors})).collect();
    let snapshot = app.snapshot();
    let settings = &snapshot.settings;
    let status = app.inference().status();
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
        "plane": served_by.map(|by| by.plane),
        "problem": status.problem,
        "breaker": status.breaker,
        "since": status.since,
        "last_success": status.last_success,
        "last_failure": status.last_failure,
        "models": status.models,
        "profiles": app.inference().profiles(),
        "answers": app.inference().counters(),
        "embedding": app.retrieval().embedding(),
        "embedding_change": changing,
        "embedding_work": embedding_work(&app.retrieval().embedding_stats()),
        "cp_connected": app.is_control_plane_connected(),
        "fallback_allowed": status.fallback_allowed,
        "ai_credits_fail_open": settings.control_plane.credits_fail_open,
        "settings": app.live.status(),
    }))
}

/// Counts since the start; whoever wants a rate looks twice.
fn embedding_work(stats: &EmbedStats) -> Value {
    let cache = stats.cache.map(|cache| {
        json!({
            "hits": cache.hits,
            "misses": cache.misses,
            "entries": cache.entries,
            "used_bytes": cache.used_bytes,
            "budget_bytes": cache.budget_bytes,
        })
    });
    let engine = stats.engine.map(|engine| {
        json!({
            "threads": engine.threads,
            "waiting_texts": engine.waiting_texts,
            "texts": engine.texts,
            "folded_texts": engine.folded,
            "tokens": engine.tokens,
            "busy_seconds": engine.busy.as_secs_f64(),
            "batches": engine.units,
            "batch_fill": engine.fill(),
            "queue_ms": {
                "interactive": engine.interactive_wait.as_secs_f64() * 1e3,
                "bulk": engine.bulk_wait.as_secs_f64() * 1e3,
            },
        })
    });
    json!({"cache": cache, "engine": engine})
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
    let is_ready = inference.ready().is_ok();
    let request = RcaRequest::new(body.incident_id);
    if !is_ready || !wants_events(&headers) {
        let answer = features.rca().explain(&scope, request, |_| {}).await?;
        return Ok(Json(by_a_model(answer)?).into_response());
    }
    let (sender, progress) = mpsc::unbounded_channel();
    let work = Box::pin(async move {
        // A reader that has gone drops this future too.
        let answer = features.rca().explain(&scope, request, move |stage| drop(sender.send(stage))).await?;
        by_a_model(answer)
    });
    Ok(streamed(work, progress, stopping, request_id))
}

/// An analysis that no model made is the provider's problem, with what the rules found beside it
/// as `analysis`.
fn by_a_model(answer: RcaAnswer) -> Result<RcaAnswer, Problem> {
    match answer.error.as_deref() {
        Some(error) => Err(unavailable(error).with("analysis", &answer)),
        None => Ok(answer),
    }
}

/// The answer when there is no answer of the provider.
pub(crate) fn unavailable(error: &InferenceError) -> Problem {
    let code = error.code();
    let retry = error.retry();
    let problem = match error {
        InferenceError::NotConfigured => {
            down(code, error.to_string(), "set BYOC_PROVIDER, BYOC_MODEL and BYOC_API_KEY")
        }
        InferenceError::Refused { source } if source.fault() == Fault::Caller => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, source.summary()).hint(hint(source))
        }
        InferenceError::Unavailable { source, .. } | InferenceError::Refused { source } => {
            down(code, source.summary(), hint(source))
        }
        InferenceError::UnknownModel { .. } => {
            Problem::new(StatusCode::NOT_FOUND, code, error.to_string()).field("model")
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

fn down(code: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
        .titled(UNAVAILABLE)
        .hint(hint)
        .retry_after(RETRY_DEFAULT)
}
