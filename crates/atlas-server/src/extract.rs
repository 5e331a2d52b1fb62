//! Reading requests so that every refusal says what is wrong and where.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, RawQuery, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use atlas_domain::RecordId;

use crate::problem::Problem;
use crate::wire::gzip;

/// The largest body of a route; put into the request by the route table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit(pub(crate) usize);

/// A refused body is read on for this long, so that the sender reads the answer instead of a
/// reset connection.
const DRAIN_TIME: Duration = Duration::from_secs(5);
const DRAIN_BYTES: usize = 128 << 20;

/// A whole body within its route's limit, decompressed.
pub(crate) struct Whole(pub(crate) Bytes);

impl<S: Sync> FromRequest<S> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let limit = request.extensions().get::<BodyLimit>().map_or(1 << 20, |limit| limit.0);
        let packed = match request.headers().get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
            None | Some(b"" | b"identity") => false,
            Some(b"gzip" | b"x-gzip") => true,
            Some(_) => {
                let detail = "the content encoding is not one this server reads";
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail)
                    .field("content-encoding")
                    .hint("send the body as it is, or with gzip"));
            }
        };
        let body = read(request.into_body(), limit).await?;
        if !packed {
            return Ok(Self(body));
        }
        off_worker(move || gzip::unpack(&body, limit)).await?.map(Self)
    }
}

async fn read(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let mut pieces = body.into_data_stream();
    let mut whole = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| {
            Problem::new(StatusCode::BAD_REQUEST, "body_interrupted", "the body ended before it was complete")
        })?;
        if whole.len() + piece.len() > limit {
            let mut drained = 0;
            let drain = async {
                while let Some(Ok(piece)) = pieces.next().await {
                    drained += piece.len();
                    if drained > DRAIN_BYTES {
                        break;
                    }
                }
            };
            // Whether it ended in time makes no difference to the answer.
            let _ = tokio::time::timeout(DRAIN_TIME, drain).await;
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// The answer to a body beyond the limit.
pub(crate) fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than the {limit} bytes that this route takes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
        .hint("send it in several smaller requests")
}

/// Runs parsing of large bodies off the async workers.
pub(crate) async fn off_worker<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed on this body")
    })
}

/// The body as text.
pub(crate) fn utf8(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        let good = error.valid_up_to();
        let line = 1 + body[..good].iter().filter(|byte| **byte == b'\n').count();
        Problem::new(
            StatusCode::BAD_REQUEST,
            "body_not_utf8",
            format!("the body is not UTF-8: the first wrong byte is at offset {good}, in line {line}"),
        )
        .hint("convert it, for example with `iconv -f latin1 -t utf-8`")
    })
}

/// The media type without its parameters, lower case; `None` when there is none.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase();
    Some(kind).filter(|kind| !kind.is_empty())
}

/// Refuses a body that says it is something other than JSON. No media type at all passes.
pub(crate) fn require_json(headers: &HeaderMap, hint: &str) -> Result<(), Problem> {
    match media_type(headers) {
        None => Ok(()),
        Some(kind) if kind == "application/json" || kind.ends_with("+json") => Ok(()),
        Some(kind) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            format!("this route does not read {kind}"),
        )
        .field("content-type")
        .hint(hint)),
    }
}

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        require_json(request.headers(), "send JSON with the header `content-type: application/json`")?;
        let Whole(body) = Whole::from_request(request, state).await?;
        parse(utf8(&body)?).map(Self)
    }
}

/// Reads one JSON value; the problem names the field.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    if text.trim().is_empty() {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "malformed_json", "the body is empty");
        return Err(problem.hint("send a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() {
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", error.to_string());
            return if path == "." { problem } else { problem.field(path) };
        }
        malformed(&error)
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not JSON: {error}"))
}

/// The id in the path.
#[derive(Debug)]
pub(crate) struct Id(pub(crate) RecordId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let invalid =
            |detail: String| Problem::new(StatusCode::BAD_REQUEST, "invalid_id", detail).field("id");
        let Path(id) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| invalid("the id in the path is not percent-encoded UTF-8".into()))?;
        RecordId::new(id).map(Self).map_err(|error| invalid(error.to_string()))
    }
}

/// The parameters of the query string, taken out one by one; what is left at the end is refused.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let RawQuery(query) = RawQuery::from_request_parts(parts, state).await.unwrap_or(RawQuery(None));
        let pairs = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
        Ok(Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()))
    }
}

impl Params {
    /// The values of a parameter that may be repeated. Blank ones are dropped.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        let taken = self.0.extract_if(.., |(key, _)| key == name).map(|(_, value)| value);
        taken.filter(|value| !value.is_empty()).collect()
    }

    /// The value of a parameter that may be given once.
    pub(crate) fn one(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Self::invalid(name, "it is given more than once")),
        }
    }

    /// A parameter that is read from text.
    pub(crate) fn parsed<T: std::str::FromStr>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Self::invalid(name, &format!("{text:?} is not {expected}")))
    }

    /// All parameters whose name begins with `prefix`, without it.
    pub(crate) fn prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let taken = self.0.extract_if(.., |(key, _)| key.len() > prefix.len() && key.starts_with(prefix));
        taken.map(|(key, value)| (key[prefix.len()..].to_owned(), value)).collect()
    }

    /// Refuses what nobody took: a misspelt filter must not list everything.
    pub(crate) fn nothing_else(self, known: &str) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "unknown_parameter",
                format!("there is no parameter {name:?}"),
            )
            .field(name.as_str())
            .hint(format!("this route takes {known}"))),
        }
    }

    pub(crate) fn invalid(name: &str, reason: &str) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", format!("{name}: {reason}")).field(name)
    }
}
