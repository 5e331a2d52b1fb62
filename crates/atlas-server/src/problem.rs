//! The shape of every error answer: RFC 9457 `application/problem+json`, and on the paths of
//! OpenAI's protocol that protocol's own.
//!
//! A handler makes a [`Problem`]; the outermost layer writes it, because only that layer knows
//! the request's id, and because answers that axum or hyper make themselves become problems there
//! too.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// An error answer.
#[derive(Debug, Clone)]
pub struct Problem(
    // Boxed: it is the error of most functions here, and most of them succeed.
    Box<Content>,
);

#[derive(Debug, Clone)]
struct Content {
    status: StatusCode,
    code: &'static str,
    title: Cow<'static, str>,
    detail: String,
    hint: Option<String>,
    field: Option<String>,
    headers: HeaderMap,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem with the status' own title. `code` is stable: programs compare it.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Content {
            status,
            code,
            title: status.canonical_reason().unwrap_or("Error").into(),
            detail: detail.into(),
            hint: None,
            field: None,
            headers: HeaderMap::new(),
            members: Map::new(),
        }))
    }

    /// With another title.
    #[must_use]
    pub fn titled(mut self, title: &'static str) -> Self {
        self.0.title = title.into();
        self
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// With the field, header, parameter or line it is about.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// With a header of the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// With a member of its own, which RFC 9457 calls an extension. A value that is no JSON is null.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        self.0.members.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// About a field inside `item`.
    #[must_use]
    pub fn within(mut self, item: &str) -> Self {
        self.0.detail = format!("{item}.{}", self.0.detail);
        self.0.field =
            Some(self.0.field.take().map_or_else(|| item.to_owned(), |field| format!("{item}.{field}")));
        self
    }

    /// With the methods that a path answers, as a 405 must say.
    #[must_use]
    pub fn allow(mut self, methods: &[&str]) -> Self {
        if let Ok(value) = HeaderValue::from_str(&methods.join(", ")) {
            self.0.headers.insert(header::ALLOW, value);
        }
        self
    }

    /// With the time after which trying again makes sense, rounded up to seconds.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.0.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable word.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The body, also used inside event streams.
    pub fn to_json(&self, request_id: &str) -> Value {
        let mut body = self.0.members.clone();
        body.insert("type".into(), format!("urn:atlasai:problem:{}", self.0.code).into());
        body.insert("title".into(), self.0.title.as_ref().into());
        body.insert("status".into(), self.0.status.as_u16().into());
        body.insert("detail".into(), self.0.detail.as_str().into());
        body.insert("code".into(), self.0.code.into());
        body.insert("request_id".into(), request_id.into());
        for (name, value) in [("hint", &self.0.hint), ("field", &self.0.field)] {
            if let Some(value) = value {
                body.insert(name.into(), value.as_str().into());
            }
        }
        Value::Object(body)
    }

    /// The body in OpenAI's shape, also used inside its streams. Its clients show the message and
    /// nothing else, so the hint is part of it.
    pub(crate) fn to_openai(&self) -> Value {
        let Content { status, code, detail, hint, field, .. } = &*self.0;
        let message = match hint {
            Some(hint) => format!("{detail}; {hint}"),
            None => detail.clone(),
        };
        let (kind, code) = match (*code, status.as_u16()) {
            // The word that OpenAI's documentation and many callers know.
            ("unauthorized", _) => ("invalid_request_error", "invalid_api_key"),
            ("insufficient_quota", _) => ("insufficient_quota", *code),
            (code, 429) => ("rate_limit_error", code),
            (code, 400..=499) => ("invalid_request_error", code),
            (code, _) => ("server_error", code),
        };
        serde_json::json!({"error": {"message": message, "type": kind, "param": field, "code": code}})
    }

    /// The whole answer.
    pub(crate) fn write(self, request_id: &str, dialect: Dialect) -> Response {
        let (body, kind) = match dialect {
            Dialect::Problem => (self.to_json(request_id), "application/problem+json"),
            Dialect::OpenAi => (self.to_openai(), "application/json"),
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.0.status;
        *response.headers_mut() = self.0.headers;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }
}

/// Which shape an error has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// RFC 9457.
    Problem,
    /// OpenAI's: its clients read no other.
    OpenAi,
}

impl Dialect {
    /// The shape that the callers of a path expect. `/v1/logs` is OTLP's.
    pub(crate) fn of(path: &str) -> Self {
        if path.starts_with("/v1/") && path != "/v1/logs" { Self::OpenAi } else { Self::Problem }
    }
}

/// Carries the problem to the outermost layer, which writes it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
