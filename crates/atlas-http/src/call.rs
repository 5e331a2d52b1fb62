//! One outbound request, before it is sent.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;
use url::Url;

use crate::error::HttpError;
use crate::origin::Origin;

/// A key and the one origin it may be sent to. Its `Debug` shows the origin only.
#[derive(Clone)]
pub struct Credential {
    origin: Origin,
    name: HeaderName,
    value: HeaderValue,
}

impl Credential {
    /// `Authorization: Bearer <key>` for `origin`.
    pub fn bearer(origin: Origin, key: &str) -> Result<Self, HttpError> {
        Self::header(origin, AUTHORIZATION, &format!("Bearer {key}"))
    }

    /// A header of its own for `origin`, such as `api-key` or `x-api-key`.
    pub fn header(origin: Origin, name: HeaderName, value: &str) -> Result<Self, HttpError> {
        let mut value = HeaderValue::try_from(value).map_err(|_| HttpError::Header { what: "the key" })?;
        value.set_sensitive(true);
        Ok(Self { origin, name, value })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Time limits of one call, beside the one on connecting that belongs to the client.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From sending the request to the first byte of the answer's body.
    pub first_token: Duration,
    /// Between two reads of the body.
    pub idle: Duration,
    /// From sending the request to the last byte. None by default: a long answer is not a failed
    /// one, and the caller has a deadline of its own.
    pub total: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        // Long prompts and reasoning models take a minute or two before the first token.
        Self { first_token: Duration::from_secs(120), idle: Duration::from_secs(60), total: None }
    }
}

/// One request. `Debug` shows no header and no body.
pub struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) purpose: &'static str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) limits: Limits,
}

impl Call {
    /// A request without headers and body.
    pub fn new(method: Method, url: Url, purpose: &'static str) -> Self {
        Self {
            method,
            url,
            purpose,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            limits: Limits::default(),
        }
    }

    /// A GET.
    pub fn get(url: Url, purpose: &'static str) -> Self {
        Self::new(Method::GET, url, purpose)
    }

    /// A POST of `body` as JSON.
    pub fn post_json(url: Url, purpose: &'static str, body: &impl Serialize) -> Result<Self, HttpError> {
        let body = serde_json::to_vec(body)
            .map_err(|_| HttpError::Protocol { reason: "the request is not JSON" })?;
        let mut call = Self::new(Method::POST, url, purpose).body(body.into());
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(call)
    }

    /// Attaches a credential. Fails when the request goes to another origin than the one it
    /// belongs to.
    pub fn authorized(mut self, credential: &Credential) -> Result<Self, HttpError> {
        let origin = Origin::of(&self.url)?;
        if origin != credential.origin {
            return Err(HttpError::ForeignCredential { host: origin.host().to_owned() });
        }
        self.headers.insert(credential.name.clone(), credential.value.clone());
        Ok(self)
    }

    /// Says which content types the answer may have.
    pub fn accepting(mut self, content_types: &'static str) -> Self {
        self.headers.insert(ACCEPT, HeaderValue::from_static(content_types));
        self
    }

    /// Adds a header that the settings hold.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self, HttpError> {
        let value = HeaderValue::try_from(value).map_err(|_| HttpError::Header { what: name })?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// Adds headers that are made already, such as those of a signature. A header that was set
    /// before is replaced.
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        if self.headers.is_empty() {
            self.headers = headers;
        } else {
            self.headers.extend(headers);
        }
        self
    }

    /// Replaces the body, as it goes out.
    pub fn body(mut self, body: Bytes) -> Self {
        self.body = body;
        self
    }

    /// Replaces the time limits.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("purpose", &self.purpose)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn a_credential_goes_to_its_origin_only() {
        let origin = "https://llm.example.com/v1".parse().expect("an origin");
        let credential = Credential::bearer(origin, "canary-key").expect("a header");
        assert!(Call::get(url("https://llm.example.com/v1/models"), "test").authorized(&credential).is_ok());
        for other in ["http://llm.example.com/v1", "https://llm.example.com:8443/", "https://evil.example/"] {
            let refused = Call::get(url(other), "test").authorized(&credential);
            assert!(matches!(refused, Err(HttpError::ForeignCredential { .. })), "{other}");
        }
    }

    #[test]
    fn a_key_may_have_a_header_of_its_own() {
        let origin: Origin = "https://llm.example.com".parse().expect("an origin");
        let name = HeaderName::from_static("api-key");
        let credential = Credential::header(origin, name, "test-key").expect("a header");
        let call = Call::new(Method::DELETE, url("https://llm.example.com/"), "test")
            .authorized(&credential)
            .expect("its own origin");
        assert_eq!(
            (&call.headers["api-key"], call.headers["api-key"].is_sensitive()),
            (&"test-key".parse().expect("a value"), true)
        );
        assert_eq!(call.method, Method::DELETE);
    }

    #[test]
    fn debug_output_shows_no_key() {
        let origin: Origin = "https://llm.example.com".parse().expect("an origin");
        let credential = Credential::bearer(origin, "canary-key").expect("a header");
        let call = Call::get(url("https://llm.example.com/?q=canary-query"), "test")
            .authorized(&credential)
            .expect("its own origin");
        assert!(!format!("{credential:?} {call:?} {:?}", call.headers).contains("canary"));
    }

    #[test]
    fn a_key_with_a_line_break_is_refused_without_showing_it() {
        let origin: Origin = "https://llm.example.com".parse().expect("an origin");
        let error = Credential::bearer(origin, "canary\nkey").expect_err("not a header");
        assert_eq!(error, HttpError::Header { what: "the key" });
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}
