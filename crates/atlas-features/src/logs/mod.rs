//! Log lines in: time and level read from the text, a template per shape, one write per slice.
//!
//! Lines are found through their templates: a thousand lines that differ in a number are one
//! vector, not a thousand. So the template's count and times are written in the same batch as
//! the lines that changed them, under the tenant's lock.
//!
//! A line goes through the files in this order: `read` (its time, level and id), `mask` and
//! `shapes` (what varies becomes a placeholder), `tree` (the template), `slice` (one commit).
//!
//! Not here: the wire formats (OTLP, Loki, NDJSON); those are the server's.

mod grouping;
mod level;
mod mask;
mod read;
mod shapes;
mod slice;
mod surges;
mod time;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;

use atlas_domain::{Corpus, LogRecord, LogTemplate, RecordId, RecordKey, TenantScope, Timestamp};
use atlas_retrieval::{Retrieval, RetrievalError};
use atlas_store::ListQuery;
use serde::{Deserialize, Serialize};
use tracing::Instrument;

pub use grouping::{GroupingReport, evaluate_templates};
pub use surges::{Surge, SurgeKind, SurgeReport, Window};
use tree::Tree;

use crate::error::FeatureError;
use crate::records::{self, Listed, Stored, TenantLocks};

/// Lines per commit. 5,000 lines are a few megabytes of one transaction; more would hold the
/// tenant's lock for long.
const SLICE_LINES: usize = 5_000;

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
    /// The templates of a tenant while nobody writes; read from the store at the first write.
    trees: TenantLocks<Option<Tree>>,
}

impl Logs {
    pub(crate) fn new(retrieval: Arc<Retrieval>) -> Self {
        Self { retrieval, trees: TenantLocks::new("logs") }
    }

    /// Takes lines in. All lines are checked before any is written; then every 5,000 lines are
    /// one commit. Sending the same batch again changes nothing, while lines repeated inside one
    /// batch are all kept.
    pub async fn ingest(&self, scope: &TenantScope, lines: Vec<LogLine>) -> Result<LogReport, FeatureError> {
        let now = Timestamp::now();
        let mut lines = off_worker(move || read::lines(lines, now)).await?;
        let mut turn = self.trees.lock(&self.retrieval, scope).await?;
        if turn.is_shared() {
            *turn.kept = None;
        }
        let (retrieval, scope) = (self.retrieval.clone(), scope.clone());
        // A task, which ends its turn though the caller gives up: a commit that nobody waits for
        // must not meet the next turn's reading of the same templates.
        let turn = async move {
            let mut report = LogReport::default();
            while !lines.is_empty() {
                let rest = lines.split_off(lines.len().min(SLICE_LINES));
                let slice = std::mem::replace(&mut lines, rest);
                // Out of its place while it changes: a slice that fails leaves no tree behind
                // that knows more than the store.
                let tree = match turn.kept.take() {
                    Some(tree) => tree,
                    None => slice::load(&retrieval, &scope).await?,
                };
                *turn.kept = Some(slice::write(&retrieval, &scope, tree, slice, &mut report).await?);
            }
            Ok(report)
        };
        match tokio::spawn(turn.in_current_span()).await {
            Ok(report) => report,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(FeatureError::Retrieval(RetrievalError::Stopped)),
            },
        }
    }

    /// One line.
    pub async fn get(&self, scope: &TenantScope, id: &RecordId) -> Result<Stored<LogRecord>, FeatureError> {
        records::get(&self.retrieval, scope, id).await
    }

    /// Removes a line. Its template keeps its count: it says what was seen.
    pub async fn delete(&self, scope: &TenantScope, id: &RecordId) -> Result<(), FeatureError> {
        records::delete(&self.retrieval, scope, RecordKey::new(Corpus::Logs, id.clone())).await
    }

    /// A page of lines. A template in the query stands for those it absorbed too.
    pub async fn list(
        &self,
        scope: &TenantScope,
        mut query: ListQuery,
    ) -> Result<Listed<LogRecord>, FeatureError> {
        let wanted: Vec<RecordId> =
            query.filter.link.iter().filter_map(|id| RecordId::new(id.as_str()).ok()).collect();
        let templates: Vec<LogTemplate> = records::get_many(&self.retrieval, scope, wanted).await?;
        query.filter.link.extend(templates.iter().flat_map(LogTemplate::ids));
        query.filter.link.sort_unstable();
        query.filter.link.dedup();
        records::list(&self.retrieval, scope, query).await
    }

    /// One template.
    pub async fn template(
        &self,
        scope: &TenantScope,
        id: &RecordId,
    ) -> Result<Stored<LogTemplate>, FeatureError> {
        records::get(&self.retrieval, scope, id).await
    }

    /// A page of templates, last seen first.
    pub async fn templates(
        &self,
        scope: &TenantScope,
        query: ListQuery,
    ) -> Result<Listed<LogTemplate>, FeatureError> {
        records::list(&self.retrieval, scope, query).await
    }

    /// Templates that are new, much more frequent or gone in `window`, against the window of the
    /// same length before it.
    pub async fn surges(&self, scope: &TenantScope, window: Window) -> Result<SurgeReport, FeatureError> {
        surges::find(&self.retrieval, scope, window).await
    }
}

/// Runs work on many lines beside the async workers.
async fn off_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // Nobody aborts it, so it panicked, and the panic belongs to the caller.
        Err(error) => resume_unwind(error.into_panic()),
    }
}

pub(crate) use level::rank as level_rank;
pub(crate) use surges::find as surges;
