//! Errors as OpenAI's clients understand them.
//!
//! A handler makes a [`Problem`] as everywhere; the outermost layer writes it in OpenAI's shape on
//! the paths of that protocol ([`crate::problem::Dialect`]). What is decided here is the words: the codes
//! that clients compare, and statuses that do not make a caller doubt its own key when the
//! operator's is wrong.

use std::time::Duration;

use atlas_domain::Retry;
use atlas_inference::{InferenceError, hint};
use atlas_llm::{ProviderError, ProviderErrorKind};
use axum::http::{HeaderName, StatusCode};

use crate::problem::Problem;

/// The title that clients know.
const UNAVAILABLE: &str = "AI provider temporarily unavailable";

/// When the provider did not say how long to wait.
pub(super) const RETRY_DEFAULT: Duration = Duration::from_secs(5);

/// OpenAI's clients repeat every 5xx and 429 unless this header says otherwise.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A member that must be there.
pub(super) fn missing(param: &str) -> Problem {
    let detail = format!("missing required parameter: {param}");
    Problem::new(StatusCode::BAD_REQUEST, "missing_required_parameter", detail).field(param)
}

/// A member whose value cannot be used.
pub(super) fn wrong(param: &str, reason: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_value", format!("{param}: {reason}")).field(param)
}

/// A member that this server knows and does not honour.
pub(super) fn unsupported(param: &str, instead: &str) -> Problem {
    let detail = format!("{param} is not supported here: {instead}");
    Problem::new(StatusCode::BAD_REQUEST, "unsupported_parameter", detail).field(param)
}

/// A model that is not configured; names those that are.
pub(super) fn no_such_model(asked: &str, models: &[String]) -> Problem {
    let detail = match models {
        [] => format!("the model {asked:?} does not exist"),
        models => format!("the model {asked:?} does not exist; there are: {}", models.join(", ")),
    };
    Problem::new(StatusCode::NOT_FOUND, "model_not_found", detail).field("model")
}

/// Why nothing was answered.
pub(super) fn inference(error: &InferenceError) -> Problem {
    match error {
        InferenceError::UnknownModel { model, known } => no_such_model(model, known),
        InferenceError::NotConfigured => final_answer(down(error.code(), &format!("{UNAVAILABLE}: {error}")))
            .hint("set BYOC_PROVIDER, BYOC_MODEL and BYOC_API_KEY"),
        InferenceError::Unavailable { source, retry_after } => {
            let problem = upstream(source);
            match retry_after {
                Some(wait) => problem.retry_after(*wait),
                None => problem,
            }
        }
        InferenceError::Refused { source } => upstream(source),
        InferenceError::Capacity => {
            let detail = "too many AI requests at once";
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", detail)
                .retry_after(RETRY_DEFAULT)
        }
        InferenceError::Deadline => down(error.code(), &error.to_string()).retry_after(RETRY_DEFAULT),
        InferenceError::Unusable { .. } => {
            Problem::new(StatusCode::BAD_GATEWAY, error.code(), error.to_string())
        }
    }
}

/// A failure of the provider.
pub(super) fn upstream(error: &ProviderError) -> Problem {
    use ProviderErrorKind as Kind;
    let text = error.to_string();
    let problem = match error.kind() {
        // Not 401 and 403: the caller's credential is the one for this server, and it was right.
        Kind::Credentials | Kind::Forbidden => {
            final_answer(Problem::new(StatusCode::BAD_GATEWAY, "upstream_credentials", text))
        }
        Kind::NotFound => {
            final_answer(Problem::new(StatusCode::BAD_GATEWAY, "upstream_model_not_found", text))
        }
        Kind::Quota => final_answer(Problem::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", text)),
        Kind::Throttled => Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", text),
        Kind::PromptTooLong => {
            Problem::new(StatusCode::BAD_REQUEST, "context_length_exceeded", text).field("messages")
        }
        Kind::ContentFilter => {
            Problem::new(StatusCode::BAD_REQUEST, "content_filter", text).field("messages")
        }
        // The request went through as the caller wrote it.
        Kind::BadRequest => return Problem::new(StatusCode::BAD_REQUEST, "invalid_request_error", text),
        Kind::Egress | Kind::Settings => final_answer(down(error.code(), &format!("{UNAVAILABLE}: {text}"))),
        Kind::Conflict | Kind::Overloaded | Kind::Server | Kind::Network | Kind::Timeout => {
            down(error.code(), &format!("{UNAVAILABLE}: {text}"))
        }
        Kind::CutShort | Kind::Protocol => Problem::new(StatusCode::BAD_GATEWAY, error.code(), text),
    };
    let problem = problem.hint(hint(error));
    match error.retry() {
        Retry::After(wait) => problem.retry_after(wait),
        Retry::Now => problem.retry_after(RETRY_DEFAULT),
        Retry::Never => problem,
    }
}

fn down(code: &'static str, detail: &str) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).titled(UNAVAILABLE)
}

/// An error that the same request will meet again until somebody acts.
fn final_answer(problem: Problem) -> Problem {
    problem.header(SHOULD_RETRY, "false")
}
