//! Log lines as JSON: one value a line, or one array.

use std::collections::BTreeMap;

use atlas_features::LogLine;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::{invalid, time};
use crate::problem::Problem;

/// Names under which senders put the same thing, best first.
const TIME: [&str; 5] = ["timestamp", "at", "time", "ts", "@timestamp"];
const MESSAGE: [&str; 4] = ["message", "msg", "line", "log"];
const LEVEL: [&str; 3] = ["level", "severity", "lvl"];

/// Newline-delimited JSON: every line an object or a string. Blank lines are skipped.
pub(crate) fn read_lines(text: &str) -> Result<Vec<LogLine>, Problem> {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    numbered
        .map(|(index, line)| {
            let place = format!("line {}", index + 1);
            let value = serde_json::from_str(line).map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("{place}: {error}"))
                    .field(place.as_str())
                    .hint("every line is a JSON object with a message, or a JSON string")
            })?;
            read_one(value, &place)
        })
        .collect()
}

/// One JSON array of objects or strings; a single object is taken as one line.
pub(crate) fn read_array(text: &str) -> Result<Vec<LogLine>, Problem> {
    match crate::extract::parse(text)? {
        Value::Array(values) => values
            .into_iter()
            .enumerate()
            .map(|(index, value)| read_one(value, &format!("[{index}]")))
            .collect(),
        value @ Value::Object(_) => Ok(vec![read_one(value, "the body")?]),
        _ => Err(invalid("the body", "is neither an array nor an object")),
    }
}

/// Plain text: every line is a message. Blank lines are skipped.
pub(crate) fn read_text(text: &str) -> Result<Vec<LogLine>, Problem> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(|line| LogLine { message: line.to_owned(), ..LogLine::default() }).collect())
}

/// For a body that does not say what it is.
pub(crate) fn read_any(text: &str) -> Result<Vec<LogLine>, Problem> {
    if text.trim_start().starts_with('[') { read_array(text) } else { read_lines(text) }
}

fn read_one(value: Value, place: &str) -> Result<LogLine, Problem> {
    let mut fields = match value {
        Value::String(message) => Map::from_iter([("message".to_owned(), Value::String(message))]),
        Value::Object(fields) => fields,
        _ => return Err(invalid(place, "is neither an object nor a string")),
    };
    let message = match take(&mut fields, &MESSAGE) {
        Some((_, Value::String(message))) if !message.trim().is_empty() => message,
        Some((name, Value::String(_))) => return Err(invalid(format!("{place}: {name}"), "is empty")),
        Some((name, _)) => return Err(invalid(format!("{place}: {name}"), "is not a string")),
        None => {
            return Err(
                invalid(format!("{place}: message"), "is missing").hint("it may also be named msg or line")
            );
        }
    };
    let at = match take(&mut fields, &TIME) {
        Some((_, Value::Null)) | None => None,
        Some((name, value)) => Some(time::read(&value).ok_or_else(|| {
            invalid(format!("{place}: {name}"), "is neither an RFC 3339 time nor a number since 1970")
        })?),
    };
    let level = text(&mut fields, &LEVEL, place)?;
    let service = text(&mut fields, &["service", "service_name"], place)?;
    let source = text(&mut fields, &["source"], place)?;
    let mut attributes = BTreeMap::new();
    for (name, value) in fields {
        match value {
            Value::Null => {}
            Value::Object(inner) if name == "attributes" => {
                attributes.extend(inner.into_iter().map(|(name, value)| (name, plain(value))));
            }
            value => {
                attributes.insert(name, plain(value));
            }
        }
    }
    Ok(LogLine { at, message, level, service, source, attributes })
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn take(fields: &mut Map<String, Value>, names: &[&'static str]) -> Option<(&'static str, Value)> {
    names.iter().find_map(|name| fields.remove(*name).map(|value| (*name, value)))
}

fn text(
    fields: &mut Map<String, Value>,
    names: &[&'static str],
    place: &str,
) -> Result<Option<String>, Problem> {
    match take(fields, names) {
        None | Some((_, Value::Null)) => Ok(None),
        Some((_, Value::String(text))) => Ok(Some(text).filter(|text| !text.trim().is_empty())),
        Some((_, Value::Number(number))) => Ok(Some(number.to_string())),
        Some((name, _)) => Err(invalid(format!("{place}: {name}"), "is not a string")),
    }
}
