//! Long answers as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use crate::observe::RequestId;
use crate::problem::Problem;

/// Comments keep proxies from closing a stream while the model thinks: most wait for 60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted
        .split(',')
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/event-stream"))
}

/// Work as events: its stages as `progress`, then `answer` or `error`.
pub(super) fn streamed<P: Serialize + Send + 'static, A: Serialize + Send + 'static>(
    work: BoxFuture<'static, Result<A, Problem>>,
    progress: UnboundedReceiver<P>,
    stopping: CancellationToken,
    request_id: RequestId,
) -> Response {
    let events =
        events(Running { work, progress, stopping, request_id, ready: VecDeque::new(), over: false });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // nginx buffers answers unless told not to.
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    response
}

/// Work that is being streamed. Dropping it, as a client that goes away does, cancels the
/// call to the provider.
struct Running<P, A> {
    work: BoxFuture<'static, Result<A, Problem>>,
    progress: UnboundedReceiver<P>,
    stopping: CancellationToken,
    request_id: RequestId,
    ready: VecDeque<Event>,
    over: bool,
}

fn events<P: Serialize + Send, A: Serialize + Send>(
    running: Running<P, A>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
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
                        Err(problem) => event("error", &problem.to_json(&running.request_id.0)),
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
