//! Reading and writing JSON on the hot path.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::extract::{off_worker, require_json};
use crate::problem::Problem;

/// A body beyond this is parsed off the async workers: a megabyte takes milliseconds.
const INLINE_BYTES: usize = 256 << 10;

/// Reads a body and what it asks.
pub(super) async fn read_body<B, T>(
    headers: &HeaderMap,
    body: Bytes,
    read: fn(B) -> Result<T, Problem>,
) -> Result<T, Problem>
where
    B: DeserializeOwned + 'static,
    T: Send + 'static,
{
    require_json(headers, "send JSON with the header `content-type: application/json`")?;
    if body.len() <= INLINE_BYTES {
        return parse(&body).and_then(read);
    }
    off_worker(move || parse(&body).and_then(read)).await?
}

fn parse<B: DeserializeOwned>(body: &[u8]) -> Result<B, Problem> {
    // Knowing the path costs something at every member, so it is found when it is needed.
    serde_json::from_slice(body).map_err(|error| {
        let mut again = serde_json::Deserializer::from_slice(body);
        match serde_path_to_error::deserialize::<_, B>(&mut again) {
            Err(located) if error.is_data() => {
                let path = located.path().to_string();
                let detail = located.into_inner().to_string();
                let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid_type", detail);
                if path == "." { problem } else { problem.field(path) }
            }
            _ => {
                let detail = format!("the body is not JSON: {error}");
                Problem::new(StatusCode::BAD_REQUEST, "malformed_json", detail)
            }
        }
    })
}

/// An answer that is JSON already.
pub(super) fn json_answer(json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
