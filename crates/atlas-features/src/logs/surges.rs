//! Which templates are new, surging or gone in a window.
//!
//! Counts come from the store, per template and window; the template's own total cannot say what
//! happened when.

use atlas_domain::{Corpus, Filter, LogTemplate, Noun, TenantScope, Timestamp};
use atlas_retrieval::Retrieval;
use atlas_store::{ListQuery, Store, StoreError};
use serde::Serialize;

use super::level_rank;
use crate::error::FeatureError;

/// Templates looked at: the most recently seen ones. A tenant with more shapes than this in one
/// window has shapes that are not shapes.
const TEMPLATES_LIMIT: usize = 500;

/// Fewer lines than this are no surge, whatever the ratio: 1 to 3 is chance.
const SURGE_LINES: u64 = 5;

/// How many times more lines than before make a surge.
const SURGE_RATIO: u64 = 3;

/// A stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// Its begin.
    pub since: Timestamp,
    /// Its end, not included.
    pub until: Timestamp,
    /// Only these services; empty: all.
    pub services: Vec<String>,
    /// Most surges to return.
    pub limit: usize,
}

/// Why a template stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SurgeKind {
    /// No line of this shape before the window, ever.
    New,
    /// Much more often than in the window before.
    Surging,
    /// Not in the window, and several times in the one before.
    Vanished,
}

/// A template that stands out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Surge {
    /// The template.
    pub template: LogTemplate,
    /// Why.
    pub kind: SurgeKind,
    /// Lines in the window.
    pub count: u64,
    /// Lines in the window of the same length before it.
    pub before: u64,
}

/// What stands out in a window.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SurgeReport {
    /// Worst first: by level, then new before surging before vanished, then by count.
    pub surges: Vec<Surge>,
    /// Surges beyond the limit.
    pub left_out: usize,
    /// Templates that were seen in the window.
    pub templates: usize,
}

pub(crate) async fn find(
    retrieval: &Retrieval,
    scope: &TenantScope,
    window: Window,
) -> Result<SurgeReport, FeatureError> {
    if window.until <= window.since {
        return Err(FeatureError::invalid(
            "until",
            "it is not after since",
            "give a window that has a length",
        ));
    }
    let scope = scope.clone();
    Ok(retrieval.read(move |store| find_in(store, &scope, &window)).await?)
}

fn find_in(store: &dyn Store, scope: &TenantScope, window: &Window) -> Result<SurgeReport, StoreError> {
    let length = window.until.duration_since(window.since);
    let earlier = window.since.checked_sub(length).unwrap_or(Timestamp::MIN);
    // A template may have gone on after the window, so only its begin is a condition on the list.
    let seen = Filter { since: Some(earlier), ..Filter::default() };
    let page = store.list(
        scope,
        Corpus::LogTemplates,
        &ListQuery { filter: seen, limit: TEMPLATES_LIMIT, cursor: None },
    )?;

    let mut report = SurgeReport::default();
    for record in &page.records {
        // An unreadable template is no reason to withhold the others from somebody in an incident.
        let Ok(template) = LogTemplate::from_record(record) else { continue };
        if template.first_at >= window.until {
            continue;
        }
        let lines = |since, until| Filter {
            since: Some(since),
            until: Some(until),
            service: window.services.clone(),
            link: template.ids(),
            ..Filter::default()
        };
        let count = store.count(scope, Corpus::Logs, &lines(window.since, window.until))?;
        report.templates += usize::from(count > 0);
        let before = store.count(scope, Corpus::Logs, &lines(earlier, window.since))?;
        let kind = if count == 0 {
            if before < SURGE_LINES {
                continue;
            }
            SurgeKind::Vanished
        } else if template.first_at >= window.since {
            SurgeKind::New
        } else if count >= SURGE_LINES && count >= SURGE_RATIO * before {
            SurgeKind::Surging
        } else {
            continue;
        };
        report.surges.push(Surge { template, kind, count, before });
    }
    report.surges.sort_by(|a, b| {
        let order = |surge: &Surge| {
            let kind = match surge.kind {
                SurgeKind::New => 2,
                SurgeKind::Surging => 1,
                SurgeKind::Vanished => 0,
            };
            (level_rank(surge.template.level.as_deref()), kind, surge.count.max(surge.before))
        };
        order(b).cmp(&order(a)).then_with(|| a.template.id.cmp(&b.template.id))
    });
    report.left_out = report.surges.len().saturating_sub(window.limit);
    report.surges.truncate(window.limit);
    Ok(report)
}
