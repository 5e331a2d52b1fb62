//! What surrounds every request: an id, a line in the log, a net for panics, a problem body for
//! every error.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::problem::{Dialect, Problem};
use crate::random;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: the caller's, if it is sane, or a new one.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// A caller's id goes into logs and answers, so only a short word of a plain alphabet does.
    fn of(request: &Request) -> Self {
        let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let sane = |id: &&str| {
            (1..=128).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
        };
        Self(given.filter(sane).map_or_else(random::request_id, str::to_owned))
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self(random::request_id())))
    }
}

/// The outermost layer.
pub(crate) async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(&request);
    let method = request.method().clone();
    let dialect = Dialect::of(request.uri().path());
    // The pattern, not the path: ids of records stay out of the log.
    let route =
        request.extensions().get::<MatchedPath>().map_or("-".to_owned(), |path| path.as_str().to_owned());
    request.extensions_mut().insert(id.clone());

    let span = tracing::info_span!("request", request_id = %id.0);
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span).await;
    let response = handled.unwrap_or_else(|_| {
        tracing::error!(request_id = %id.0, %method, route, "the handler panicked");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed on this request")
            .hint("the log of the server has a line with this request id")
            .into_response()
    });
    let (mut response, code) = with_problem(response, &id, dialect);
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    tracing::info!(
        request_id = %id.0,
        %method,
        route,
        status = response.status().as_u16(),
        code,
        elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    response
}

/// Writes the problem that a handler left, and gives a body to an error that has none of ours.
fn with_problem(mut response: Response, id: &RequestId, dialect: Dialect) -> (Response, &'static str) {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let code = problem.code();
        return (problem.write(&id.0, dialect), code);
    }
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return (response, "");
    }
    let problem = Problem::new(status, "http_error", "the request could not be answered");
    let code = problem.code();
    let mut written = problem.write(&id.0, dialect);
    // `Allow` of a 405 and the like.
    for (name, value) in response.headers() {
        if !written.headers().contains_key(name) && name != header::CONTENT_LENGTH {
            written.headers_mut().insert(name.clone(), value.clone());
        }
    }
    (written, code)
}
