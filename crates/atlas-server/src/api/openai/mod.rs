//! The protocol that other tools speak: OpenAI's Chat Completions, Embeddings and Models.
//!
//! The official clients work unchanged with `base_url` set to this server's `/v1` and the admin
//! token as the key. A question goes the way of every feature: the same models, guard, limits and
//! audit. Nothing is stored, and no tenant's data is read, so `x-tenant-id` is only checked for
//! its form.
//!
//! Not here: the Responses API, images, audio, and tools that the server itself would run.

mod answer;
mod body;
mod chunks;
pub(crate) mod embeddings;
mod messages;
pub(crate) mod models;
mod refusal;
mod request;
mod stream;
#[cfg(test)]
mod tests;
mod tools;
mod vectors;

use std::sync::Arc;
use std::time::Duration;

use atlas_inference::{Feature, Inference, Job};
use atlas_llm::{ChatStream, ProviderError};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use self::answer::{Gathering, Identity, Served};
use self::body::{json_answer, read_body};
use self::chunks::Chunks;
use self::request::{Asked, ChatBody};
use self::stream::{Frames, HEARTBEAT};
use crate::extract::Whole;
use crate::problem::Problem;
use crate::tenant_header::NamedTenant;

/// Time for a whole answer: OpenAI's clients wait as long before they give up.
pub(crate) const TIME: Duration = Duration::from_secs(600);

const SERVED_BY: HeaderName = HeaderName::from_static("x-atlasai-served-by");
/// nginx buffers answers unless told not to.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers a conversation, in one piece or as a stream.
pub(crate) async fn chat(
    State(inference): State<Arc<Inference>>,
    State(stopping): State<CancellationToken>,
    NamedTenant(_): NamedTenant,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let Asked { model, request, stream, include_usage } = read_body(&headers, body, ChatBody::read).await?;
    let job = Job { feature: Feature::Inbound, request, model, deadline: TIME, on_text: None };
    // A refusal has its status: a stream begins when the provider has accepted the question.
    let opened = inference.open(job).await.map_err(|error| refusal::inference(&error))?;
    let served =
        Served { served_by: opened.served_by, degraded: opened.degraded, redactions: opened.redactions };
    let by = &served.served_by;
    let served_by = format!("{}/{}/{}", by.plane.as_str(), by.provider, by.model);
    let identity = Identity::new(served, opened.usage_estimated);
    let mut response = if stream {
        streamed(Frames::new(opened.events, Chunks::new(&identity, include_usage), stopping, HEARTBEAT))
    } else {
        json_answer(whole(opened.events, &identity).await?)
    };
    if let Ok(value) = HeaderValue::try_from(served_by) {
        response.headers_mut().insert(SERVED_BY, value);
    }
    Ok(response)
}

async fn whole(mut events: ChatStream, identity: &Identity) -> Result<Vec<u8>, Problem> {
    let mut gathering = Gathering::default();
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| refusal::upstream(&error))?;
        if let Some(body) = gathering.push(event, identity) {
            return Ok(body);
        }
    }
    Err(refusal::upstream(&ProviderError::cut_short()))
}

fn streamed(frames: Frames) -> Response {
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}
