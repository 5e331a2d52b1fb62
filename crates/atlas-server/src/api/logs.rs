//! Log lines, in the formats that senders speak.

use std::sync::Arc;
use std::time::Duration;

use atlas_domain::{Filter, LogRecord, LogTemplate, Timestamp};
use atlas_features::{Features, Listed, Stored, SurgeReport, Window};
use atlas_store::ListQuery;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::import::checked;
use super::list::{KNOWN, List, TIME, filter, limit};
use super::target::Target;
use crate::auth::Tenant;
use crate::extract::{Id, Json, Params, Whole, media_type, off_worker, require_json, utf8};
use crate::problem::Problem;
use crate::wire::{loki, ndjson, otlp};

const JSON_HINT: &str = "this server reads the JSON form only";
const OTLP_HINT: &str = "set OTEL_EXPORTER_OTLP_PROTOCOL=http/json, or `encoding: json` in the collector's otlphttp \
                         exporter";

/// What a question about surges without a begin looks at.
const SURGE_WINDOW: Duration = Duration::from_secs(3600);

/// Takes lines in: newline-delimited JSON, a JSON array, or plain text.
pub(crate) async fn ingest(
    State(features): State<Arc<Features>>,
    target: Target,
    mut params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    let (service, source, _) = (params.one("service")?, params.one("source")?, params.one("check")?);
    params.nothing_else("service and source, for lines that name none, and check")?;
    let read = match media_type(&headers).as_deref() {
        Some(
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines",
        ) => ndjson::read_lines,
        Some("text/plain") => ndjson::read_text,
        Some("application/json") => ndjson::read_array,
        None => ndjson::read_any,
        Some(other) => {
            let detail = format!("this route does not read {other}");
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
                .field("content-type")
                .hint("send application/x-ndjson, application/json (an array) or text/plain"));
        }
    };
    let mut lines = off_worker(move || read(utf8(&body)?)).await??;
    for line in &mut lines {
        line.service = line.service.take().or_else(|| service.clone());
        line.source = line.source.take().or_else(|| source.clone());
    }
    match target {
        Target::Check => Ok(checked(lines.len()).into_response()),
        Target::Write(scope) => Ok(Json(features.logs().ingest(&scope, lines).await?).into_response()),
    }
}

/// Loki's push.
pub(crate) async fn loki(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<StatusCode, Problem> {
    require_json(&headers, JSON_HINT)?;
    let lines = off_worker(move || loki::read(utf8(&body)?)).await??;
    features.logs().ingest(&scope, lines).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// OTLP over HTTP.
pub(crate) async fn otlp(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    require_json(&headers, OTLP_HINT)?;
    let exported = off_worker(move || otlp::read(utf8(&body)?)).await??;
    if !exported.lines.is_empty() {
        features.logs().ingest(&scope, exported.lines).await?;
    }
    Ok(Json(match exported.reason {
        None => json!({}),
        // 64-bit numbers are strings in protobuf's JSON.
        Some(reason) => json!({"partialSuccess": {
            "rejectedLogRecords": exported.rejected.to_string(),
            "errorMessage": reason,
        }}),
    }))
}

/// A page of lines; `template` names what they have in common.
pub(crate) async fn list(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    mut params: Params,
) -> Result<Json<Listed<LogRecord>>, Problem> {
    let query = ListQuery {
        filter: Filter { link: params.all("template"), ..filter(&mut params)? },
        limit: limit(&mut params, 50, 500)?,
        cursor: params.one("cursor")?,
    };
    params.nothing_else(&format!("{KNOWN} and template"))?;
    Ok(Json(features.logs().list(&scope, query).await?))
}

/// A page of templates, last seen first.
pub(crate) async fn templates(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    List(query): List,
) -> Result<Json<Listed<LogTemplate>>, Problem> {
    Ok(Json(features.logs().templates(&scope, query).await?))
}

/// One template.
pub(crate) async fn template(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
) -> Result<Json<Stored<LogTemplate>>, Problem> {
    Ok(Json(features.logs().template(&scope, &id).await?))
}

/// What stands out between two times, against the window of the same length before: templates
/// that are new, that surge and that vanished.
pub(crate) async fn surges(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    mut params: Params,
) -> Result<Json<SurgeReport>, Problem> {
    let until = params.parsed("until", TIME)?.unwrap_or_else(Timestamp::now);
    let since = params.parsed("since", TIME)?;
    let window = Window {
        since: since.unwrap_or_else(|| until.checked_sub(SURGE_WINDOW).unwrap_or(Timestamp::MIN)),
        until,
        services: params.all("service"),
        limit: limit(&mut params, 50, 500)?,
    };
    params.nothing_else("since, until, service and limit")?;
    Ok(Json(features.logs().surges(&scope, window).await?))
}

/// One line.
pub(crate) async fn read(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
) -> Result<Json<Stored<LogRecord>>, Problem> {
    Ok(Json(features.logs().get(&scope, &id).await?))
}

/// Removes a line.
pub(crate) async fn remove(
    State(features): State<Arc<Features>>,
    Tenant(scope): Tenant,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    features.logs().delete(&scope, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
