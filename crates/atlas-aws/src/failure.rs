//! What a failure of the SDK means.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use atlas_domain::{ProviderError, ProviderErrorKind as Kind, Retry};
use atlas_http::{HttpError, retry_after};
use atlas_vendor::{Scrubber, Words, from_http, is_too_long};
use aws_sdk_bedrockruntime::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::types::error::ConverseStreamOutputError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::xml::element;

/// The service names no time; the documentation asks for a second.
const THROTTLED_WAIT: Duration = Duration::from_secs(1);

/// What a failed operation means. `scrubber` knows the secrets that were sent.
pub(crate) fn explain<E>(error: &SdkError<E, HttpResponse>, scrubber: &Scrubber) -> ProviderError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(refusal) = error else { return on_the_way(error) };
    let response = refusal.raw();
    let status = response.status().as_u16();
    let headers = http::HeaderMap::from_iter(
        response.headers().iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?))),
    );
    let request_id = response.headers().get("x-amzn-requestid").map(|id| scrubber.clean(id));
    let (code, message) = match (refusal.err().code(), refusal.err().message()) {
        (Some(code), message) => (code.to_owned(), message.unwrap_or_default().to_owned()),
        (None, _) => said(response),
    };
    classify(&code, status, &message, scrubber)
        .with_status(status)
        .with_request_id(request_id)
        .with_retry_after(retry_after(&headers))
}

/// Code and message of a refusal the SDK could not read: a gateway's on the way, or in the XML of
/// AWS's older services.
fn said(response: &HttpResponse) -> (String, String) {
    let body = response.body().bytes().unwrap_or_default();
    let xml = String::from_utf8_lossy(body);
    match element(&xml, "Code") {
        Some(code) => (code, element(&xml, "Message").unwrap_or_default()),
        None => (String::new(), Words::read(body).message),
    }
}

/// What a failure inside of a stream means: an exception the service sent as an event, or a
/// connection that broke.
pub fn explain_event<R>(error: &SdkError<ConverseStreamOutputError, R>, scrubber: &Scrubber) -> ProviderError
where
    R: fmt::Debug + 'static,
{
    let exception = match error {
        SdkError::ServiceError(exception) => exception,
        _ if is_cut(error) => return ProviderError::cut_short(),
        _ => return on_the_way(error),
    };
    let words = exception.err();
    // The name of an exception is in a header that the SDK keeps as the variant only.
    let (code, status) = match words {
        ConverseStreamOutputError::InternalServerException(_) => ("InternalServerException", 500),
        ConverseStreamOutputError::ModelStreamErrorException(_) => ("ModelStreamErrorException", 424),
        ConverseStreamOutputError::ValidationException(_) => ("ValidationException", 400),
        ConverseStreamOutputError::ThrottlingException(_) => ("ThrottlingException", 429),
        ConverseStreamOutputError::ServiceUnavailableException(_) => ("ServiceUnavailableException", 503),
        other => (other.code().unwrap_or_default(), 500),
    };
    classify(code, status, words.message().unwrap_or_default(), scrubber)
}

/// Whether the service says that temporary credentials have ended.
pub(crate) fn is_expired<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    code.is_some_and(|code| matches!(plain(code).as_str(), "expiredtoken" | "tokenrefreshrequired"))
}

/// Whether the bytes of a stream ended in the middle: the connection broke, or it was closed
/// before a frame was whole. For the latter the SDK has a sentence and no type that is exported.
fn is_cut(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(current) = cause {
        let is_broken = matches!(current.downcast_ref(), Some(HttpError::Interrupted { .. }));
        if is_broken || current.to_string() == "unexpected end of stream" {
            return true;
        }
        cause = current.source();
    }
    false
}

/// A failure that is not the service's word: ours, kept as it was, or the SDK's.
fn on_the_way<E, R>(error: &SdkError<E, R>) -> ProviderError
where
    E: Error + 'static,
    R: fmt::Debug + 'static,
{
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(ours) = current.downcast_ref::<HttpError>() {
            return from_http(ours.clone());
        }
        // The identity's, through the SDK's own chain of credentials errors.
        if let Some(ours) = current.downcast_ref::<ProviderError>() {
            return ours.clone();
        }
        cause = current.source();
    }
    let (kind, detail) = match error {
        SdkError::ConstructionFailure(_) => {
            (Kind::Settings, "the request cannot be made from these settings")
        }
        SdkError::TimeoutError(_) => (Kind::Timeout, "a time limit of the AWS SDK passed"),
        SdkError::DispatchFailure(_) => (Kind::Network, "the request could not be sent"),
        _ => (Kind::Protocol, "the answer is not one of AWS's protocol"),
    };
    ProviderError::new(kind, detail)
}

fn classify(code: &str, status: u16, message: &str, scrubber: &Scrubber) -> ProviderError {
    // A refused signature may come with the canonical request, headers and token included, on
    // further lines.
    let message = message.lines().next().unwrap_or_default();
    let detail = match scrubber.clean(message) {
        empty if empty.is_empty() => format!("status {status} {}", scrubber.clean(code)),
        detail => detail,
    };
    let error = |kind| ProviderError::new(kind, detail.clone());
    match plain(code).as_str() {
        "throttling" | "toomanyrequests" => error(Kind::Throttled).with_retry(Retry::After(THROTTLED_WAIT)),
        "modelnotready" | "serviceunavailable" => error(Kind::Overloaded),
        "internalserver" | "internalfailure" | "modelerror" | "modelstreamerror" => error(Kind::Server),
        "modeltimeout" => error(Kind::Timeout),
        "servicequotaexceeded" => error(Kind::Quota),
        "accessdenied" => error(Kind::Forbidden),
        "expiredtoken" | "tokenrefreshrequired" => error(Kind::Credentials).with_retry(Retry::Now),
        "unrecognizedclient"
        | "invalidsignature"
        | "signaturedoesnotmatch"
        | "incompletesignature"
        | "invalidclienttokenid"
        | "missingauthenticationtoken" => error(Kind::Credentials),
        "resourcenotfound" => error(Kind::NotFound),
        // A stand-in of the service that has no such operation.
        "unknownoperation" => error(Kind::Protocol),
        // What a model that was retired long ago answers, or one that never was.
        "validation" if message.contains("model identifier is invalid") => error(Kind::NotFound),
        "validation" if is_too_long(message) => error(Kind::PromptTooLong),
        "validation" | "conflict" => error(Kind::BadRequest),
        _ => error(by_status(status)),
    }
}

/// `ThrottlingException`, `throttlingException` and `Throttling` are one thing.
fn plain(code: &str) -> String {
    let code = code.to_ascii_lowercase();
    code.strip_suffix("exception").unwrap_or(&code).to_owned()
}

fn by_status(status: u16) -> Kind {
    match status {
        401 => Kind::Credentials,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        408 | 504 => Kind::Timeout,
        413 => Kind::PromptTooLong,
        424 => Kind::Server,
        429 => Kind::Throttled,
        400..=499 => Kind::BadRequest,
        503 => Kind::Overloaded,
        500..=599 => Kind::Server,
        _ => Kind::Protocol,
    }
}
