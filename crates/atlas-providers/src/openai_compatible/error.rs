//! Every way a server says no, as one enum.

use std::sync::LazyLock;
use std::time::Duration;

use atlas_domain::{Destination, DestinationClass};
use atlas_guard::Guard;
use atlas_http::{HeaderMap, HttpError, Reply};
use atlas_llm::LlmError;
use regex::Regex;
use serde_json::Value;

/// Most characters of a provider's own words that are kept.
const DETAIL_LIMIT: usize = 500;
/// An error body beyond this is not read.
const BODY_LIMIT: usize = 256 * 1024;

/// Takes credentials out of a provider's words: OpenAI's 401 repeats a part of the key.
pub(super) struct Redactor {
    key: Option<String>,
}

static CREDENTIALS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)\bsk-[^\s"'<>,;]+|\b(?:bearer|basic)\s+[^\s"'<>,;]{4,}|\bkey(?: provided)?\s*[:=]\s*[^\s"'<>,;]+"#)
        .expect("a constant pattern")
});

impl Redactor {
    pub(super) fn new(key: Option<&str>) -> Self {
        Self { key: key.map(str::to_owned) }
    }

    /// One line of at most [`DETAIL_LIMIT`] characters without credentials.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if let Some(key) = &self.key {
            text = text.replace(key.as_str(), "[REDACTED]");
        }
        let text = CREDENTIALS.replace_all(&text, "[REDACTED]").into_owned();
        // Whatever else looks like a secret goes by the guard's rules.
        let anyone = Destination::host(DestinationClass::Public, "error text");
        let text =
            Guard::new().clear(text, &anyone).map(atlas_guard::Cleared::into_value).unwrap_or_default();
        text.trim().chars().take(DETAIL_LIMIT).collect()
    }
}

/// A refusal: its meaning, and its words in lower case for [`Refusal::names`].
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) error: LlmError,
    words: String,
}

impl Refusal {
    /// Whether the refusal is about a parameter.
    pub(super) fn names(&self, parameter: &str) -> bool {
        self.words.contains(parameter)
    }
}

/// Reads the answer of a request that failed.
pub(super) async fn map_reply(reply: Reply, redactor: &Redactor) -> Refusal {
    let status = reply.status().as_u16();
    let headers = reply.headers().clone();
    // An error whose body cannot be read is still the error its status says.
    let body = reply.bytes(BODY_LIMIT).await.unwrap_or_default();
    map(status, &headers, &body, redactor)
}

/// The meaning of a failed answer.
pub(super) fn map(status: u16, headers: &HeaderMap, body: &[u8], redactor: &Redactor) -> Refusal {
    let words = Words::read(body);
    let error = classify(status, retry_after(headers), &words, redactor);
    Refusal {
        status,
        error,
        words: format!("{} {} {}", words.param, words.code, words.message).to_lowercase(),
    }
}

/// The meaning of an error inside of a stream or of an answer with status 200. Numbers in `code`
/// are HTTP statuses there.
pub(super) fn map_inline(body: &Value, redactor: &Redactor) -> LlmError {
    let words = Words::of(body);
    let status = words.code.parse().ok().filter(|status| (400..600).contains(status)).unwrap_or(500);
    classify(status, None, &words, redactor)
}

/// What the shapes in use have in common.
#[derive(Debug, Default)]
struct Words {
    message: String,
    kind: String,
    code: String,
    param: String,
}

impl Words {
    fn read(body: &[u8]) -> Self {
        if let Ok(value) = serde_json::from_slice(body) {
            return Self::of(&value);
        }
        let text = String::from_utf8_lossy(body);
        let text = text.trim();
        let message = if text.starts_with('<') { "the answer is an HTML page" } else { text };
        Self { message: message.to_owned(), ..Self::default() }
    }

    fn of(body: &Value) -> Self {
        let error = match &body["error"] {
            object @ Value::Object(_) => object,
            _ => body,
        };
        let message = [&error["message"], &body["error"], &body["detail"], body]
            .into_iter()
            .find_map(message)
            .unwrap_or_default();
        let kind = [&error["type"], &body["error_type"]].into_iter().find_map(Value::as_str);
        Self {
            message,
            kind: kind.unwrap_or_default().to_owned(),
            code: scalar(&error["code"]),
            param: scalar(&error["param"]),
        }
    }
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

const QUOTA_CODES: [&str; 6] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
];
/// There is no common code for a prompt that is too long. OpenAI; vLLM; TGI; Ollama; llama.cpp.
const TOO_LONG: [&str; 6] = [
    "context_length_exceeded",
    "maximum context length",
    "must be <= ",
    "exceeds the context length",
    "exceeds the available context size",
    "prompt is too long",
];

fn classify(status: u16, retry_after: Option<Duration>, words: &Words, redactor: &Redactor) -> LlmError {
    let detail = match redactor.clean(&words.message) {
        empty if empty.is_empty() => format!("status {status}"),
        detail => detail,
    };
    let is = |word: &str| words.code == word || words.kind == word;
    let too_long = || {
        let message = words.message.to_lowercase();
        TOO_LONG.iter().any(|phrase| is(phrase) || message.contains(phrase))
    };
    match status {
        401 => LlmError::Credentials { detail },
        402 => LlmError::Quota { detail },
        403 => LlmError::Forbidden { detail },
        404 | 405 | 410 => LlmError::NotFound { detail },
        408 => LlmError::Timeout { limit: "the provider's own" },
        409 => LlmError::Throttled { retry_after, detail },
        429 if QUOTA_CODES.iter().any(|code| is(code)) => LlmError::Quota { detail },
        429 if is("overloaded") => LlmError::Overloaded { retry_after, detail },
        429 => LlmError::Throttled { retry_after, detail },
        400 | 413 | 422 if too_long() => LlmError::PromptTooLong { detail },
        413 => LlmError::PromptTooLong { detail },
        400 if is("content_filter") => LlmError::ContentFilter { detail },
        // TGI: the request was fine and the generation was not.
        424 => LlmError::Server { detail },
        400..=499 => LlmError::BadRequest { detail },
        503 | 529 => LlmError::Overloaded { retry_after, detail },
        500..=599 => LlmError::Server { detail },
        300..=399 => LlmError::Protocol { detail: format!("status {status}; redirects are not followed") },
        _ => LlmError::Protocol { detail: format!("status {status}") },
    }
}

/// `retry-after-ms`, else `retry-after` in seconds or as a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |text: &str, unit: f64| {
        let number: f64 = text.parse().ok()?;
        Duration::try_from_secs_f64(number * unit).ok()
    };
    if let Some(wait) = header("retry-after-ms").and_then(|text| seconds(text, 0.001)) {
        return Some(wait);
    }
    let text = header("retry-after")?;
    seconds(text, 1.0).or_else(|| {
        let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Duration::try_from(at.duration_since(jiff::Timestamp::now())).ok()
    })
}

/// What a connection's failure means for a chat call. Hosts are named, as the settings name them.
pub(super) fn from_http(error: HttpError) -> LlmError {
    match &error {
        HttpError::Timeout { limit, .. } => LlmError::Timeout { limit },
        HttpError::Denied { .. } | HttpError::ForeignCredential { .. } => {
            LlmError::Egress { detail: error.to_string() }
        }
        HttpError::Url { .. } => {
            LlmError::Settings { setting: "BYOC_ENDPOINT_URL", reason: error.to_string() }
        }
        HttpError::Header { .. } => LlmError::Settings { setting: "BYOC_API_KEY", reason: error.to_string() },
        HttpError::Dns { .. }
        | HttpError::Connect { .. }
        | HttpError::Tls { .. }
        | HttpError::Interrupted { .. } => LlmError::Network { detail: error.to_string() },
        HttpError::TooLarge { .. } | HttpError::Protocol { .. } => {
            LlmError::Protocol { detail: error.to_string() }
        }
    }
}
