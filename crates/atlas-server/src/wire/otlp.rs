//! OTLP/HTTP logs in their JSON form (ExportLogsServiceRequest).
//!
//! A record without a usable body is counted as rejected, as the protocol asks; a body that is
//! not of the protocol at all is refused whole.

use std::collections::BTreeMap;

use atlas_features::LogLine;
use serde::Deserialize;
use serde_json::Value;

use super::time;
use crate::extract;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Export {
    #[serde(default)]
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs {
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Deserialize, Default)]
struct Resource {
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs {
    #[serde(default)]
    scope: Scope,
    #[serde(default)]
    log_records: Vec<LogRecord>,
}

#[derive(Deserialize, Default)]
struct Scope {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    #[serde(default)]
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogRecord {
    #[serde(default)]
    time_unix_nano: Value,
    #[serde(default)]
    observed_time_unix_nano: Value,
    #[serde(default)]
    severity_number: Value,
    #[serde(default)]
    severity_text: String,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    attributes: Vec<Attribute>,
    #[serde(default)]
    trace_id: String,
    #[serde(default)]
    span_id: String,
}

/// What an export holds.
pub(crate) struct Exported {
    /// The usable records.
    pub(crate) lines: Vec<LogLine>,
    /// How many were not usable.
    pub(crate) rejected: usize,
    /// Why the first was not.
    pub(crate) reason: Option<String>,
}

/// The lines of an export.
pub(crate) fn read(text: &str) -> Result<Exported, Problem> {
    let export: Export = extract::parse(text)?;
    let mut exported = Exported { lines: Vec::new(), rejected: 0, reason: None };
    for (r, resource_logs) in export.resource_logs.into_iter().enumerate() {
        let resource = texts(resource_logs.resource.attributes);
        for (s, scope_logs) in resource_logs.scope_logs.into_iter().enumerate() {
            for (l, record) in scope_logs.log_records.into_iter().enumerate() {
                match line(record, &resource, &scope_logs.scope.name) {
                    Ok(line) => exported.lines.push(line),
                    Err(reason) => {
                        exported.rejected += 1;
                        exported.reason.get_or_insert(format!(
                            "resourceLogs[{r}].scopeLogs[{s}].logRecords[{l}]: {reason}"
                        ));
                    }
                }
            }
        }
    }
    Ok(exported)
}

fn line(
    record: LogRecord,
    resource: &BTreeMap<String, String>,
    scope: &str,
) -> Result<LogLine, &'static str> {
    let message =
        text(&record.body).filter(|body| !body.trim().is_empty()).ok_or("the body is missing or empty")?;
    let at = match nanoseconds(&record.time_unix_nano)? {
        Some(at) => Some(at),
        None => nanoseconds(&record.observed_time_unix_nano)?,
    };
    let mut attributes = resource.clone();
    attributes.extend(texts(record.attributes));
    for (name, value) in [("trace_id", record.trace_id), ("span_id", record.span_id)] {
        if !value.is_empty() {
            attributes.insert(name.into(), value);
        }
    }
    let service = attributes.remove("service.name").filter(|name| !name.is_empty());
    let file = attributes.remove("log.file.path").or_else(|| attributes.remove("log.file.name"));
    let level = if record.severity_text.is_empty() {
        severity(&record.severity_number).map(str::to_owned)
    } else {
        Some(record.severity_text)
    };
    let source = file.or_else(|| Some(scope.to_owned())).filter(|source| !source.is_empty());
    Ok(LogLine { at, message, level, service, source, attributes })
}

/// 64-bit numbers are strings in protobuf's JSON; some senders write numbers. Zero means unknown.
fn nanoseconds(value: &Value) -> Result<Option<atlas_domain::Timestamp>, &'static str> {
    let count: Option<i128> = match value {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.parse().ok(),
        Value::Number(count) => count.as_u64().map(i128::from),
        _ => None,
    };
    match count {
        Some(0) => Ok(None),
        Some(count) => time::nanoseconds(count).map(Some).ok_or("timeUnixNano is out of range"),
        None => Err("timeUnixNano is not a number of nanoseconds"),
    }
}

/// The six bands of four that the data model defines, by number or by enum name.
fn severity(value: &Value) -> Option<&'static str> {
    const BANDS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "fatal"];
    match value {
        Value::Number(number) => {
            let number = usize::try_from(number.as_u64()?).ok()?;
            BANDS.get(number.checked_sub(1)? / 4).copied()
        }
        Value::String(name) => {
            let name = name.strip_prefix("SEVERITY_NUMBER_")?.to_ascii_lowercase();
            BANDS.into_iter().find(|band| name.starts_with(band))
        }
        _ => None,
    }
}

fn texts(attributes: Vec<Attribute>) -> BTreeMap<String, String> {
    attributes.into_iter().filter_map(|Attribute { key, value }| Some((key, text(&value)?))).collect()
}

/// An AnyValue as text: strings as they are, the rest as JSON.
fn text(value: &Value) -> Option<String> {
    let value = plain(value)?;
    match value {
        Value::String(text) => Some(text),
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

fn plain(value: &Value) -> Option<Value> {
    let (kind, inner) = value.as_object()?.iter().next()?;
    match kind.as_str() {
        "stringValue" | "boolValue" | "doubleValue" | "bytesValue" => Some(inner.clone()),
        "intValue" => Some(match inner {
            Value::String(digits) => digits.parse::<i64>().map_or_else(|_| inner.clone(), Value::from),
            other => other.clone(),
        }),
        "arrayValue" => {
            let values = inner.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            Some(values.iter().filter_map(plain).collect())
        }
        "kvlistValue" => {
            let pairs = inner.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let pairs = pairs.iter().filter_map(|pair| {
                Some((pair.get("key")?.as_str()?.to_owned(), pair.get("value").and_then(plain)?))
            });
            Some(Value::Object(pairs.collect()))
        }
        _ => None,
    }
}
