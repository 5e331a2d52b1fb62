//! What an analysis looks at: alerts, log templates, past incidents and runbook sections around
//! one incident.
//!
//! Each source is asked for a little more than fits, best first; what is shown is decided by the
//! pack. A source that fails degrades the evidence, except the store itself.

use std::collections::{HashMap, HashSet};

use atlas_domain::{Alert, Corpus, Filter, Incident, RecordId, RecordKey, TenantScope, Timestamp};
use atlas_retrieval::{Leg, Legs, Retrieval, SearchAnswer, SearchRequest, Syntax};
use jiff::SignedDuration;
use serde::Serialize;

use super::render;
use crate::error::FeatureError;
use crate::logs::{self, Window};
use crate::records;

/// How far before the begin of the impact causes are looked for. Default 30 minutes: a deploy or
/// a configuration change is felt within that, mostly.
const BEFORE: SignedDuration = SignedDuration::from_mins(30);

/// How far after it symptoms still tell something.
const AFTER: SignedDuration = SignedDuration::from_mins(15);

/// Candidates per source.
const ALERTS: usize = 60;
const TEMPLATES: usize = 120;
const LINES: usize = 200;
const INCIDENTS: usize = 5;
const SECTIONS: usize = 5;

/// What kind of record an item comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// An alert of the incident or of its time.
    Alert,
    /// A log template that is new or surging.
    Log,
    /// A past incident.
    Incident,
    /// A section of a runbook.
    Runbook,
}

impl EvidenceKind {
    pub(super) const ALL: [Self; 4] = [Self::Alert, Self::Log, Self::Incident, Self::Runbook];

    /// The letter before the number: `A1`.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Alert => 'A',
            Self::Log => 'L',
            Self::Incident => 'I',
            Self::Runbook => 'R',
        }
    }
}

/// One item that the model was shown and may cite.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// `A1`, `L1`, `I1`, `R1` and so on.
    pub id: String,
    /// What it is.
    pub kind: EvidenceKind,
    /// Where it is kept.
    pub key: RecordKey,
    /// One line.
    pub title: String,
    /// What the model read, before secrets were taken out for its destination.
    pub text: String,
    /// What the rules go by.
    #[serde(skip)]
    pub(crate) facts: Facts,
}

/// What is known of an item beside its text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    /// The service that alerts or logs, as it stands in the text.
    pub(crate) entity: Option<String>,
    /// When it began.
    pub(crate) at: Option<Timestamp>,
    /// The rule that fired.
    pub(crate) rule: String,
}

/// An item that may become evidence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) kind: EvidenceKind,
    pub(super) key: RecordKey,
    pub(super) title: String,
    pub(super) text: String,
    pub(super) facts: Facts,
}

/// What was found, best first within each kind.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) candidates: Vec<Candidate>,
    pub(super) degraded: Vec<Leg>,
}

impl Found {
    fn note(&mut self, answer: &SearchAnswer) {
        for leg in &answer.degraded {
            if !self.degraded.contains(leg) {
                self.degraded.push(*leg);
            }
        }
    }
}

pub(super) async fn gather(
    retrieval: &Retrieval,
    scope: &TenantScope,
    incident: &Incident,
) -> Result<Found, FeatureError> {
    let since = incident.started_at.checked_sub(BEFORE).unwrap_or(Timestamp::MIN);
    let until = incident.started_at.checked_add(AFTER).unwrap_or(Timestamp::MAX);
    let mut found = Found::default();
    let alerts = alerts(retrieval, scope, incident, since, until).await?;
    found.candidates.extend(fold_repeats(&alerts, incident));
    found.candidates.extend(log_templates(retrieval, scope, since, until).await?);
    matching_lines(
        retrieval,
        scope,
        incident,
        Filter { since: Some(since), until: Some(until), ..Filter::default() },
        &mut found,
    )
    .await?;
    past_incidents(retrieval, scope, incident, &mut found).await?;
    runbook_sections(retrieval, scope, incident, &alerts, &mut found).await?;
    Ok(found)
}

/// The incident's own alerts, then those of its service, then those of its time.
async fn alerts(
    retrieval: &Retrieval,
    scope: &TenantScope,
    incident: &Incident,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<Alert>, FeatureError> {
    let mut alerts: Vec<Alert> = records::get_many(retrieval, scope, incident.alert_ids.clone()).await?;
    let named: HashSet<RecordId> = alerts.iter().map(|alert| alert.id.clone()).collect();
    let filter = Filter { since: Some(since), until: Some(until), ..Filter::default() };
    let around: Vec<Alert> = records::newest(retrieval, scope, filter, ALERTS).await?;
    alerts.extend(around.into_iter().filter(|alert| !named.contains(&alert.id)));
    alerts.sort_by_key(|alert| {
        let elsewhere = incident.service.is_none() || alert.service != incident.service;
        (!named.contains(&alert.id), elsewhere, alert.starts_at, alert.id.clone())
    });
    Ok(alerts)
}

/// One item per rule and service: forty pods with the same alert are one symptom.
fn fold_repeats(alerts: &[Alert], incident: &Incident) -> Vec<Candidate> {
    let mut first: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    let mut folded: Vec<(&Alert, usize)> = Vec::new();
    for alert in alerts {
        let rule = (alert.name.as_str(), alert.service.as_deref());
        match first.get(&rule) {
            Some(position) => folded[*position].1 += 1,
            None => {
                first.insert(rule, folded.len());
                folded.push((alert, 0));
            }
        }
    }
    folded.into_iter().map(|(alert, more)| render::alert(alert, more, incident)).collect()
}

async fn log_templates(
    retrieval: &Retrieval,
    scope: &TenantScope,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<Candidate>, FeatureError> {
    let window = Window { since, until, services: Vec::new(), limit: TEMPLATES };
    let report = logs::surges(retrieval, scope, window).await?;
    Ok(report.surges.iter().map(render::surge).collect())
}

/// Lines that the incident's own words find; behind the templates, which tell what is new. A line
/// whose words are an example already, or another line, is not shown twice.
async fn matching_lines(
    retrieval: &Retrieval,
    scope: &TenantScope,
    incident: &Incident,
    filter: Filter,
    found: &mut Found,
) -> Result<(), FeatureError> {
    let request = SearchRequest {
        text: format!("{}\n{}", incident.title, incident.description),
        syntax: Syntax::Words,
        corpora: vec![Corpus::Logs],
        filter,
        limit: LINES,
        legs: Legs::HYBRID,
        explain: false,
    };
    let answer = retrieval.search(scope, request).await?;
    found.note(&answer);
    let logs = found.candidates.iter().filter(|known| known.kind == EvidenceKind::Log);
    let examples =
        logs.flat_map(|known| known.text.lines()).filter_map(|line| line.strip_prefix("example: "));
    let mut known: HashSet<String> = examples.map(str::to_owned).collect();
    for hit in &answer.hits {
        if known.insert(hit.passage.text.trim().to_owned()) {
            found.candidates.push(render::log_line(hit));
        }
    }
    Ok(())
}

/// Those with a known cause or resolution first: the others repeat the symptoms only.
async fn past_incidents(
    retrieval: &Retrieval,
    scope: &TenantScope,
    incident: &Incident,
    found: &mut Found,
) -> Result<(), FeatureError> {
    let key = RecordKey::new(Corpus::Incidents, incident.id.clone());
    let filter = Filter { until: Some(incident.started_at), ..Filter::default() };
    let answer = retrieval.similar(scope, &key, Corpus::Incidents, filter, INCIDENTS).await?;
    found.note(&answer);
    let ids = answer.hits.iter().map(|hit| hit.key.id.clone()).collect();
    let mut past: Vec<Incident> = records::get_many(retrieval, scope, ids).await?;
    past.retain(|past| past.id != incident.id);
    past.sort_by_key(|past| past.root_cause.is_none() && past.resolution.is_none());
    found.candidates.extend(past.iter().map(render::incident));
    Ok(())
}

async fn runbook_sections(
    retrieval: &Retrieval,
    scope: &TenantScope,
    incident: &Incident,
    alerts: &[Alert],
    found: &mut Found,
) -> Result<(), FeatureError> {
    let request = SearchRequest {
        text: runbook_query(incident, alerts),
        syntax: Syntax::Words,
        corpora: vec![Corpus::Runbooks],
        filter: Filter::default(),
        limit: SECTIONS,
        legs: Legs::HYBRID,
        explain: false,
    };
    let answer = retrieval.search(scope, request).await?;
    found.note(&answer);
    found.candidates.extend(answer.hits.iter().map(render::section));
    Ok(())
}

/// The title, and the rules that fired: runbooks are named after rules.
fn runbook_query(incident: &Incident, alerts: &[Alert]) -> String {
    let mut query = incident.title.clone();
    let mut named = HashSet::new();
    for alert in alerts.iter().filter(|alert| named.insert(&alert.name)).take(6) {
        query.push_str(". ");
        query.push_str(&alert.wording().chars().take(160).collect::<String>());
        query.push(' ');
        query.push_str(&alert.name);
    }
    query
}
