//! The words in which an item of evidence is shown. Short lines of `name: value`, so that a
//! quotation of one line is a quotation of one fact.

use std::fmt::Write as _;

use atlas_domain::{Alert, Corpus, Incident, RecordKey, Timestamp};
use atlas_retrieval::Hit;

use super::evidence::{Candidate, EvidenceKind, Facts};
use super::plain;
use crate::logs::{Surge, SurgeKind};

/// Longest text of one item in characters: about 400 tokens, so that no single runbook section
/// or stack trace takes the place of ten alerts.
const ITEM_CHARACTERS: usize = 1_600;

/// Labels that repeat what is said elsewhere or say nothing about the cause.
const LABELS_LEFT_OUT: [&str; 6] = ["alertname", "severity", "prometheus", "monitor", "endpoint", "uid"];

pub(super) fn alert(alert: &Alert, more: usize, incident: &Incident) -> Candidate {
    let mut text = String::new();
    line(&mut text, "alert", Some(&alert.name));
    line(&mut text, "severity", alert.severity.as_ref());
    line(&mut text, "service", alert.service.as_ref());
    line(&mut text, "status", Some(alert.status.as_str()));
    line(&mut text, "started", Some(relative(alert.starts_at, incident.started_at)));
    if more > 0 {
        line(&mut text, "more of the same rule and service", Some(more));
    }
    line(&mut text, "summary", some(&alert.summary));
    line(&mut text, "description", some(&alert.description));
    let labels: Vec<String> = alert
        .labels
        .iter()
        .filter(|(name, _)| !LABELS_LEFT_OUT.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    line(&mut text, "labels", some(&labels.join(" ")));
    candidate(EvidenceKind::Alert, RecordKey::new(Corpus::Alerts, alert.id.clone()), title(alert), text)
        .with(Facts { entity: alert.service.clone(), at: Some(alert.starts_at), rule: alert.name.clone() })
}

fn title(alert: &Alert) -> String {
    if alert.summary.is_empty() { alert.name.clone() } else { format!("{}: {}", alert.name, alert.summary) }
}

pub(super) fn surge(surge: &Surge) -> Candidate {
    let template = &surge.template;
    let mut text = String::new();
    let seen = match surge.kind {
        SurgeKind::New => format!("new, {} lines, never seen before", surge.count),
        SurgeKind::Surging => {
            format!("surging, {} lines, {} in the window before", surge.count, surge.before)
        }
        SurgeKind::Vanished => format!("vanished, no line, {} in the window before", surge.before),
    };
    line(&mut text, "log template", Some(seen));
    line(&mut text, "level", template.level.as_ref());
    line(&mut text, "service", template.service.as_ref());
    line(&mut text, "first seen", Some(clock(template.first_at)));
    line(&mut text, "example", Some(template.exemplar.trim()));
    let key = RecordKey::new(Corpus::LogTemplates, template.id.clone());
    candidate(EvidenceKind::Log, key, template.shape.clone(), text).with(Facts {
        entity: template.service.clone(),
        at: Some(template.first_at),
        rule: String::new(),
    })
}

pub(super) fn incident(past: &Incident) -> Candidate {
    let mut text = String::new();
    line(&mut text, "past incident", Some(&past.title));
    line(&mut text, "service", past.service.as_ref());
    line(&mut text, "started", Some(clock(past.started_at)));
    // Cause and resolution first: they are what is cut last.
    line(&mut text, "root cause", past.root_cause.as_ref());
    line(&mut text, "resolution", past.resolution.as_ref());
    line(&mut text, "description", some(&past.description));
    candidate(
        EvidenceKind::Incident,
        RecordKey::new(Corpus::Incidents, past.id.clone()),
        past.title.clone(),
        text,
    )
}

pub(super) fn log_line(hit: &Hit) -> Candidate {
    let mut text = String::new();
    line(&mut text, "service", hit.facets.service.as_ref());
    line(&mut text, "log line", Some(hit.passage.text.trim()));
    candidate(EvidenceKind::Log, hit.key.clone(), hit.title.clone(), text)
}

pub(super) fn section(hit: &Hit) -> Candidate {
    let heading = if hit.passage.heading.is_empty() { &hit.title } else { &hit.passage.heading };
    let text = format!("runbook section: {heading}\n{}", hit.passage.text.trim());
    candidate(EvidenceKind::Runbook, hit.key.clone(), heading.clone(), text)
}

/// The incident itself, for the prompt.
pub(super) fn subject(incident: &Incident) -> String {
    let mut text = String::new();
    line(&mut text, "title", Some(&incident.title));
    line(&mut text, "severity", incident.severity.as_ref());
    line(&mut text, "service", incident.service.as_ref());
    line(&mut text, "status", Some(incident.status.as_str()));
    line(&mut text, "started", Some(clock(incident.started_at)));
    line(&mut text, "description", some(&incident.description));
    bounded(text)
}

fn some(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.trim().is_empty())
}

fn line(text: &mut String, name: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        let _ = writeln!(text, "{name}: {value}");
    }
}

fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `2026-05-01 10:00:00 UTC (4 min before the incident)`: models reckon badly with times.
fn relative(at: Timestamp, begin: Timestamp) -> String {
    let seconds = at.as_second() - begin.as_second();
    let minutes = (seconds.abs() + 30) / 60;
    let side = match (minutes, seconds) {
        (0, _) => "when the incident began".to_owned(),
        (_, ..0) => format!("{minutes} min before the incident"),
        _ => format!("{minutes} min after the incident began"),
    };
    format!("{} ({side})", clock(at))
}

/// Signs that nobody sees are taken out, so that no quotation can carry them either.
fn candidate(kind: EvidenceKind, key: RecordKey, title: String, text: String) -> Candidate {
    let title = plain::visible(&title).chars().take(200).collect();
    Candidate { kind, key, title, text: bounded(plain::visible(&text)), facts: Facts::default() }
}

impl Candidate {
    fn with(self, facts: Facts) -> Self {
        Self { facts, ..self }
    }
}

fn bounded(text: String) -> String {
    let text = text.trim_end();
    match text.char_indices().nth(ITEM_CHARACTERS) {
        Some((end, _)) => format!("{} [cut]", &text[..end]),
        None => text.to_owned(),
    }
}
