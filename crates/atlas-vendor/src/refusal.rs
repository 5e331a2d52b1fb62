//! Every way a server says no, as one type.

use atlas_domain::{ProviderError, ProviderErrorKind as Kind, Retry};
use atlas_http::{HeaderMap, HttpError, Reply, request_id, retry_after, should_retry};
use serde_json::Value;

use crate::scrub::Scrubber;

/// An error body beyond this is not read.
const ERROR_BODY_LIMIT: usize = 256 * 1024;

/// A refusal: its meaning, and its words in lower case for [`Refusal::names`].
#[derive(Debug)]
pub struct Refusal {
    /// What it means.
    pub error: ProviderError,
    words: String,
}

impl Refusal {
    /// Reads the answer of a request that failed.
    pub async fn read(reply: Reply, scrubber: &Scrubber) -> Self {
        let status = reply.status().as_u16();
        let headers = reply.headers().clone();
        // An error whose body cannot be read is still the error its status says.
        let body = reply.bytes(ERROR_BODY_LIMIT).await.unwrap_or_default();
        Self::of(status, &headers, &body, scrubber)
    }

    /// The meaning of a failed answer in OpenAI's shape or one of its many variants.
    pub fn of(status: u16, headers: &HeaderMap, body: &[u8], scrubber: &Scrubber) -> Self {
        let words = Words::read(body);
        let error = words.error(status, scrubber).with_request_id(request_id(headers));
        Self { error: heed(error, headers), words: words.lowercase() }
    }

    /// The meaning of an error inside of a stream or of an answer with status 200. Numbers in
    /// `code` are HTTP statuses there.
    pub fn inline(body: &Value, scrubber: &Scrubber) -> ProviderError {
        let words = Words::of(body);
        let number = |text: &str| text.parse().ok().filter(|status| (400..600).contains(status));
        let status = number(&words.code)
            // TGI writes 422 here whatever went wrong; by then the request itself was accepted.
            .or_else(|| number(&words.status).map(|status| if status == 422 { 424 } else { status }))
            .unwrap_or_else(|| words.status_of_kind());
        words.error(status, scrubber)
    }

    /// Adds our advice to the provider's words.
    pub fn advise(self, advice: &str) -> Self {
        let error = ProviderError::new(self.error.kind(), format!("{}; {advice}", self.error.detail()))
            .with_retry(self.error.retry())
            .with_request_id(self.error.request_id().map(str::to_owned));
        let error = match self.error.status() {
            Some(status) => error.with_status(status),
            None => error,
        };
        Self { error, ..self }
    }

    /// Whether the refusal is about a parameter; `parameter` is in lower case.
    pub fn names(&self, parameter: &str) -> bool {
        self.words.contains(parameter)
    }
}

/// Applies what the headers say about repeating the request.
fn heed(error: ProviderError, headers: &HeaderMap) -> ProviderError {
    let error = match should_retry(headers) {
        Some(false) => error.with_retry(Retry::Never),
        // A provider that says so knows; one exception is what waiting cannot mend.
        Some(true) if error.kind() != Kind::Quota => error.with_retry(Retry::Now),
        Some(true) | None => error,
    };
    error.with_retry_after(retry_after(headers))
}

/// What the error shapes in use have in common.
#[derive(Debug, Default)]
pub struct Words {
    /// The sentence.
    pub message: String,
    /// `type` or `error_type`.
    pub kind: String,
    /// `code`, or where there are details theirs (Anthropic); numbers as text.
    pub code: String,
    param: String,
    /// Inside of the body.
    status: String,
}

impl Words {
    /// Reads a body of any kind.
    pub fn read(body: &[u8]) -> Self {
        if let Ok(value) = serde_json::from_slice(body) {
            return Self::of(&value);
        }
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let message = if text.starts_with('<') { "the answer is an HTML page" } else { text };
        Self { message: message.to_owned(), ..Self::default() }
    }

    /// Reads a JSON body.
    pub fn of(body: &Value) -> Self {
        let error = match &body["error"] {
            object @ Value::Object(_) => object,
            _ => body,
        };
        let message = [&error["message"], &body["error"], &body["detail"], body]
            .into_iter()
            .find_map(message)
            .unwrap_or_default();
        let codes = [&error["code"], &error["details"]["error_code"]].map(scalar);
        let kind = [&error["type"], &body["error_type"]].into_iter().find_map(Value::as_str);
        Self {
            message,
            kind: kind.unwrap_or_default().to_owned(),
            code: codes.into_iter().find(|code| !code.is_empty()).unwrap_or_default(),
            param: scalar(&error["param"]),
            status: scalar(&error["http_status_code"]),
        }
    }

    fn lowercase(&self) -> String {
        format!("{} {} {}", self.param, self.code, self.message).to_lowercase()
    }

    /// An error without a status inside of a stream still has a type.
    fn status_of_kind(&self) -> u16 {
        match self.kind.as_str() {
            "invalid_request_error" => 400,
            "authentication_error" => 401,
            "billing_error" => 402,
            "permission_error" => 403,
            "not_found_error" => 404,
            "conflict_error" => 409,
            "rate_limit_error" => 429,
            "timeout_error" => 504,
            "overloaded_error" => 529,
            _ if self.code == "rate_limit_exceeded" => 429,
            _ => 500,
        }
    }

    /// The meaning of these words with this status.
    pub fn error(&self, status: u16, scrubber: &Scrubber) -> ProviderError {
        let detail = match scrubber.clean(&self.message) {
            empty if empty.is_empty() => format!("status {status}"),
            detail => detail,
        };
        ProviderError::new(self.classify(status), detail).with_status(status)
    }

    fn classify(&self, status: u16) -> Kind {
        let is = |word: &str| self.code.eq_ignore_ascii_case(word) || self.kind.eq_ignore_ascii_case(word);
        match status {
            401 => Kind::Credentials,
            402 => Kind::Quota,
            403 => Kind::Forbidden,
            404 | 405 | 410 => Kind::NotFound,
            408 | 504 => Kind::Timeout,
            409 => Kind::Conflict,
            429 if QUOTA_CODES.iter().any(|code| is(code)) => Kind::Quota,
            // TGI and TEI have no rate limits; what they call 429 is a full queue.
            429 if is("overloaded") => Kind::Overloaded,
            429 => Kind::Throttled,
            // llama.cpp says it with a 500.
            400 | 413 | 422 | 500 if is("context_length_exceeded") || is_too_long(&self.message) => {
                Kind::PromptTooLong
            }
            400 if is("content_filter") => Kind::ContentFilter,
            // The request was fine and the generation was not (TGI, TEI).
            424 => Kind::Server,
            400..=499 => Kind::BadRequest,
            503 | 529 => Kind::Overloaded,
            500..=599 => Kind::Server,
            _ => Kind::Protocol,
        }
    }
}

const QUOTA_CODES: [&str; 7] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
    "enforced_spend_limit_reached",
];

/// There is no common code for a prompt that is too long. vLLM; TGI; Ollama; llama.cpp, of
/// chat and of embeddings; Anthropic; Bedrock, twice; TEI; LiteLLM, whose error names its own class.
const TOO_LONG: [&str; 10] = [
    "maximum context length",
    "must be <= ",
    "exceeds the context length",
    "exceeds the available context size",
    "too large to process",
    "prompt is too long",
    "input is too long",
    "too many input tokens",
    "must have less than",
    "contextwindowexceedederror",
];

/// Whether a message is about a prompt that does not fit.
pub fn is_too_long(message: &str) -> bool {
    let message = message.to_lowercase();
    TOO_LONG.iter().any(|phrase| message.contains(phrase))
}

/// The words of a message. Of a validation report only the place and the verdict are taken: its
/// `input` repeats the prompt.
fn message(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Array(reports) => {
            let read = |report: &Value| {
                let place: Vec<String> = report["loc"].as_array()?.iter().map(scalar).collect();
                Some(format!("{}: {}", place.join("."), report["msg"].as_str()?))
            };
            let reports: Vec<String> = reports.iter().filter_map(read).collect();
            (!reports.is_empty()).then(|| reports.join("; "))
        }
        _ => None,
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// What a connection's failure means. Hosts are named, as the settings name them.
pub fn from_http(error: HttpError) -> ProviderError {
    let text = error.to_string();
    let kind = match &error {
        HttpError::Timeout { limit, .. } => return ProviderError::timeout(limit),
        HttpError::Url { .. } => return ProviderError::setting("BYOC_ENDPOINT_URL", text),
        HttpError::Header { .. } => return ProviderError::setting("BYOC_API_KEY", text),
        HttpError::Options { what, .. } => return ProviderError::setting(connection_setting(what), text),
        HttpError::Denied { .. } | HttpError::ForeignCredential { .. } => Kind::Egress,
        HttpError::TooLarge { .. } | HttpError::Protocol { .. } => Kind::Protocol,
        HttpError::Dns { .. }
        | HttpError::Connect { .. }
        | HttpError::Proxy { .. }
        | HttpError::Tls { .. }
        | HttpError::Interrupted { .. } => Kind::Network,
    };
    let failed = ProviderError::new(kind, text);
    // A certificate or a proxy that says no says it again.
    if error.retry() { failed } else { failed.with_retry(Retry::Never) }
}

fn connection_setting(what: &str) -> &'static str {
    match what {
        "CA bundle" => "BYOC_CA_BUNDLE",
        "client certificate" => "BYOC_CLIENT_CERT",
        "client key" => "BYOC_CLIENT_KEY",
        "list of hosts without a proxy" => "BYOC_NO_PROXY",
        _ => "BYOC_PROXY_URL",
    }
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
