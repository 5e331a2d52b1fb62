//! Loki's push API in its JSON form.

use std::collections::BTreeMap;

use atlas_features::LogLine;
use serde::Deserialize;

use super::{invalid, time};
use crate::extract;
use crate::problem::Problem;

/// Labels that name the service, best first: what Promtail, Alloy and Fluent Bit set.
const SERVICE_LABELS: [&str; 4] = ["service_name", "service", "app", "job"];
const LEVEL_LABELS: [&str; 3] = ["level", "detected_level", "severity"];
const SOURCE_LABELS: [&str; 3] = ["filename", "source", "container"];

#[derive(Deserialize)]
struct Push {
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    stream: BTreeMap<String, String>,
    values: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Line(String, String),
    LineWithMetadata(String, String, BTreeMap<String, String>),
}

/// The lines of a push.
pub(crate) fn read(text: &str) -> Result<Vec<LogLine>, Problem> {
    let push: Push = extract::parse(text)?;
    let mut lines = Vec::with_capacity(push.streams.iter().map(|stream| stream.values.len()).sum());
    for (s, stream) in push.streams.into_iter().enumerate() {
        for (v, value) in stream.values.into_iter().enumerate() {
            let (at, message, metadata) = match value {
                Value::Line(at, message) => (at, message, BTreeMap::new()),
                Value::LineWithMetadata(at, message, metadata) => (at, message, metadata),
            };
            let at = at.parse().ok().and_then(time::nanoseconds).ok_or_else(|| {
                invalid(format!("streams[{s}].values[{v}][0]"), "is not a time in nanoseconds since 1970")
            })?;
            if message.trim().is_empty() {
                continue; // Loki takes blank lines; there is nothing to find in one.
            }
            let mut attributes = stream.stream.clone();
            attributes.extend(metadata);
            lines.push(LogLine {
                at: Some(at),
                message,
                level: take(&mut attributes, &LEVEL_LABELS),
                service: take(&mut attributes, &SERVICE_LABELS),
                source: take(&mut attributes, &SOURCE_LABELS),
                attributes,
            });
        }
    }
    Ok(lines)
}

fn take(attributes: &mut BTreeMap<String, String>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| attributes.remove(*name)).filter(|value| !value.is_empty())
}
