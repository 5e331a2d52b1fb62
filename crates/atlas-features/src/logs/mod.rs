//! Log lines in: time and level read from the text, a template per shape, one write per slice.
//!
//! Lines are found through their templates: a thousand lines that differ in a number are one
//! vector, not a thousand. So the template's count and times are written in the same batch as
//! the lines that changed them, under the tenant's lock.
//!
//! Not here: the wire formats (OTLP, Loki, NDJSON); those are the server's.

mod level;
mod mask;
mod shapes;
mod surges;
mod time;

#[cfg(test)]
mod loghub;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use atlas_domain::{Corpus, LogRecord, LogTemplate, Noun, RecordId, RecordKey, TenantScope, Timestamp};
use atlas_retrieval::{Document, Retrieval, Write};
use serde::{Deserialize, Serialize};

pub use surges::{Surge, SurgeKind, SurgeReport, Window};

use crate::error::FeatureError;
use crate::ids;
use crate::records::{self, Listed, Stored, TenantLocks};

/// Lines per commit. 5,000 lines are a few megabytes of one transaction; more would hold the
/// tenant's lock for long.
const SLICE_LINES: usize = 5_000;

/// Longest message kept, in bytes. A longer line is a dump; its head is kept and says so.
const MESSAGE_LIMIT: usize = 64 * 1024;

/// Longest exemplar of a template, in bytes.
const EXEMPLAR_LIMIT: usize = 2_000;

/// A line as it arrives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    /// When it was written; left out, it is read from the line, and else it is now. Only lines
    /// whose time is known are recognised when they are sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The line.
    pub message: String,
    /// Level in any spelling; left out, it is read from the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The service that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// File, stream or sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Further attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// What an ingest did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LogReport {
    /// Lines that are new and on the disk.
    pub accepted: usize,
    /// Lines that were there already.
    pub duplicates: usize,
    /// Shapes that no line had before.
    pub templates_new: usize,
}

/// Log lines of all tenants.
pub struct Logs {
    retrieval: Arc<Retrieval>,
    locks: TenantLocks,
}

impl Logs {
    pub(crate) fn new(retrieval: Arc<Retrieval>) -> Self {
        Self { retrieval, locks: TenantLocks::new("logs") }
    }

    /// Takes lines in. All lines are checked before any is written; then every 5,000 lines are
    /// one commit. Sending the same batch again changes nothing, while lines repeated inside one
    /// batch are all kept.
    pub async fn ingest(&self, scope: &TenantScope, lines: Vec<LogLine>) -> Result<LogReport, FeatureError> {
        let read = read_lines(lines, Timestamp::now())?;
        let mut report = LogReport::default();
        let _turn = self.locks.lock(&self.retrieval, scope).await?;
        for slice in read.chunks(SLICE_LINES) {
            self.write(scope, slice, &mut report).await?;
        }
        Ok(report)
    }

    async fn write(
        &self,
        scope: &TenantScope,
        slice: &[ReadLine],
        report: &mut LogReport,
    ) -> Result<(), FeatureError> {
        let ids = slice.iter().map(|line| line.record.id.clone()).collect();
        let known: HashSet<RecordId> = self.existing::<LogRecord>(scope, ids).await?;
        let fresh: Vec<&ReadLine> = slice.iter().filter(|line| !known.contains(&line.record.id)).collect();
        report.duplicates += slice.len() - fresh.len();
        if fresh.is_empty() {
            return Ok(());
        }

        let wanted: HashSet<&RecordId> = fresh.iter().map(|line| &line.record.template_id).collect();
        let wanted = wanted.into_iter().cloned().collect();
        let stored: Vec<LogTemplate> = records::get_many(&self.retrieval, scope, wanted).await?;
        let known_templates = stored.len();
        let mut templates: HashMap<RecordId, LogTemplate> =
            stored.into_iter().map(|template| (template.id.clone(), template)).collect();
        for line in &fresh {
            count(&mut templates, line);
        }
        report.templates_new += templates.len() - known_templates;
        report.accepted += fresh.len();

        let mut templates: Vec<LogTemplate> = templates.into_values().collect();
        templates.sort_by(|a, b| a.id.cmp(&b.id));
        let templates = templates.iter().map(|template| Write::Put(Document::of(template)));
        let lines = fresh.iter().map(|line| Write::Put(Document::of(&line.record)));
        self.retrieval.write(scope, templates.chain(lines).collect()).await?;
        Ok(())
    }

    async fn existing<N: Noun>(
        &self,
        scope: &TenantScope,
        ids: Vec<RecordId>,
    ) -> Result<HashSet<RecordId>, FeatureError> {
        let scope = scope.clone();
        let found = self.retrieval.read(move |store| store.get_many(&scope, N::CORPUS, &ids)).await?;
        Ok(found.into_iter().map(|record| record.key.id).collect())
    }

    /// One line.
    pub async fn get(&self, scope: &TenantScope, id: &RecordId) -> Result<Stored<LogRecord>, FeatureError> {
        records::get(&self.retrieval, scope, id).await
    }

    /// Removes a line. Its template keeps its count: it says what was seen.
    pub async fn delete(&self, scope: &TenantScope, id: &RecordId) -> Result<(), FeatureError> {
        records::delete(&self.retrieval, scope, RecordKey::new(Corpus::Logs, id.clone())).await
    }

    /// A page of lines.
    pub async fn list(
        &self,
        scope: &TenantScope,
        query: atlas_store::ListQuery,
    ) -> Result<Listed<LogRecord>, FeatureError> {
        records::list(&self.retrieval, scope, query).await
    }

    /// A page of templates, last seen first.
    pub async fn templates(
        &self,
        scope: &TenantScope,
        query: atlas_store::ListQuery,
    ) -> Result<Listed<LogTemplate>, FeatureError> {
        records::list(&self.retrieval, scope, query).await
    }

    /// Templates that are new or much more frequent in `window` than in the window of the same
    /// length before it.
    pub async fn surges(&self, scope: &TenantScope, window: Window) -> Result<SurgeReport, FeatureError> {
        surges::find(&self.retrieval, scope, window).await
    }
}

/// A line that has been read: the record to keep and the shape of its template.
struct ReadLine {
    record: LogRecord,
    shape: String,
}

/// Reads every line or none.
fn read_lines(lines: Vec<LogLine>, now: Timestamp) -> Result<Vec<ReadLine>, FeatureError> {
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
            Ok(read_line(line, now, &mut seen))
        })
        .collect()
}

fn read_line(line: LogLine, now: Timestamp, seen: &mut HashMap<RecordId, u64>) -> ReadLine {
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
    let micros = at.as_microsecond().to_le_bytes();
    let origin = [
        &micros[..],
        source.as_deref().unwrap_or_default().as_bytes(),
        service.as_deref().unwrap_or_default().as_bytes(),
        message.as_bytes(),
    ];
    let first = ids::derived("", &origin);
    let occurrence = seen.entry(first).or_default();
    let number = occurrence.to_le_bytes();
    *occurrence += 1;
    let record = LogRecord {
        id: ids::derived("log-", &[origin[0], origin[1], origin[2], origin[3], &number]),
        at,
        template_id: ids::derived("tpl-", &[shape.as_bytes()]),
        level,
        service,
        source,
        attributes,
        message,
    };
    ReadLine { record, shape }
}

/// Cuts a text at a character, and says how much is missing.
fn clip(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let missing = text.len() - limit;
        text.truncate(text.floor_char_boundary(limit));
        text.push_str(&format!(" [cut, {missing} bytes more]"));
    }
    text
}

fn count(templates: &mut HashMap<RecordId, LogTemplate>, line: &ReadLine) {
    let record = &line.record;
    let template = templates.entry(record.template_id.clone()).or_insert_with(|| LogTemplate {
        id: record.template_id.clone(),
        shape: line.shape.clone(),
        exemplar: clip(record.message.clone(), EXEMPLAR_LIMIT),
        count: 0,
        first_at: record.at,
        last_at: record.at,
        service: record.service.clone(),
        level: None,
    });
    template.count += 1;
    template.first_at = template.first_at.min(record.at);
    template.last_at = template.last_at.max(record.at);
    if level::rank(record.level.as_deref()) > level::rank(template.level.as_deref()) {
        template.level.clone_from(&record.level);
    }
}

pub(crate) use level::rank as level_rank;
pub(crate) use surges::find as surges;
