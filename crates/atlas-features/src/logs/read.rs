//! From a line as it arrives to what is known of it: time, level, id and shape.

use std::collections::{BTreeMap, HashMap};

use atlas_domain::{LogRecord, RecordId, Timestamp};

use super::{LogLine, level, mask, time};
use crate::error::FeatureError;
use crate::ids;

/// Longest message kept, in bytes. A longer line is a dump; its head is kept and says so.
const MESSAGE_LIMIT: usize = 64 * 1024;

/// A line that has been read. Its template is found later, line by line.
pub(super) struct ReadLine {
    pub(super) id: RecordId,
    pub(super) at: Timestamp,
    pub(super) level: Option<String>,
    pub(super) service: Option<String>,
    pub(super) shape: String,
    pub(super) message: String,
    source: Option<String>,
    attributes: BTreeMap<String, String>,
}

impl ReadLine {
    pub(super) fn into_record(self, template_id: RecordId) -> LogRecord {
        let Self { id, at, level, service, source, attributes, message, shape: _ } = self;
        LogRecord { id, at, message, level, service, source, template_id, attributes }
    }
}

/// Reads every line or none.
pub(super) fn lines(lines: Vec<LogLine>, now: Timestamp) -> Result<Vec<ReadLine>, FeatureError> {
    let mut seen: HashMap<RecordId, u64> = HashMap::new();
    lines
        .into_iter()
        .enumerate()
        .map(|(position, line)| {
            if line.message.trim().is_empty() {
                return Err(FeatureError::invalid(
                    format!("lines[{position}].message"),
                    "it is empty",
                    "leave out blank lines",
                ));
            }
            Ok(read(line, now, &mut seen))
        })
        .collect()
}

fn read(line: LogLine, now: Timestamp, seen: &mut HashMap<RecordId, u64>) -> ReadLine {
    let LogLine { at, message, level, service, source, attributes } = line;
    let message = clip(message, MESSAGE_LIMIT);
    // Looked for even when the time is given: the head of the line is no part of its shape.
    let head = time::detect(&message, now);
    let at = at.or(head.map(|(at, _)| at)).unwrap_or(now);
    let rest = head.map_or(message.as_str(), |(_, end)| &message[end..]);
    let level = match level.as_deref().map(str::trim).filter(|level| !level.is_empty()) {
        Some(given) => Some(level::canonical(given).map_or_else(|| given.to_lowercase(), str::to_owned)),
        None => level::detect(rest).map(str::to_owned),
    };
    let mut shape = mask::shape(rest);
    if shape.is_empty() {
        shape = mask::shape(&message);
    }
    let origin = [
        source.as_deref().unwrap_or_default().as_bytes(),
        service.as_deref().unwrap_or_default().as_bytes(),
        message.as_bytes(),
    ];
    let first = ids::of_moment("log-", at, &origin);
    // Lines that are repeated inside one batch are all kept, each with an id of its own.
    let id = match seen.get_mut(&first) {
        None => {
            seen.insert(first.clone(), 1);
            first
        }
        Some(times) => {
            *times += 1;
            ids::of_moment("log-", at, &[origin[0], origin[1], origin[2], &times.to_le_bytes()])
        }
    };
    ReadLine { id, at, level, service, source, attributes, message, shape }
}

/// Cuts a text at a character, and says how much is missing.
pub(super) fn clip(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let missing = text.len() - limit;
        text.truncate(text.floor_char_boundary(limit));
        text.push_str(&format!(" [cut, {missing} bytes more]"));
    }
    text
}
