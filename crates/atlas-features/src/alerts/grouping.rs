//! Which alerts belong together: decided on arrival, in memory, with the reason kept.
//!
//! An alert joins the open group that speaks most for it, else it opens one. Evidence in order:
//! the same fingerprint (it flaps), then how alike the wordings are. Groups are never merged
//! afterwards, so what a person saw stays what it was.

use std::collections::HashSet;
use std::time::Duration;

use atlas_domain::{Alert, AlertGroup, AlertStatus, GroupMember, RecordId, Timestamp};

use crate::ids;

/// When alerts belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouping {
    /// How far an alert may start from a group's first or last alert. Default 10 minutes: two
    /// evaluation intervals of slow rules and the `for` clauses between a cause and its symptoms.
    pub window: Duration,
    /// How long a group stays open after its first alert, however steadily alerts follow.
    /// Default 2 hours: else one flapping alert would collect a day.
    pub longest: Duration,
    /// Least cosine between wordings for alerts of the same service, or where one has none.
    /// Default 0.65: with MiniLM two symptoms of one cause usually lie above, two rules that
    /// share only the name of a service below.
    pub similarity: f32,
    /// Least cosine for alerts of different services. Default 0.80: the same rule firing for
    /// several services, while "high latency" alone does not tie two services together.
    pub similarity_across: f32,
    /// Least share of common words where there are no vectors (same service and severity).
    /// Default 0.5.
    pub words: f32,
}

impl Default for Grouping {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10 * 60),
            longest: Duration::from_secs(2 * 60 * 60),
            similarity: 0.65,
            similarity_across: 0.80,
            words: 0.5,
        }
    }
}

/// An open group with the members that new alerts are compared to.
pub(super) struct OpenGroup {
    pub(super) group: AlertGroup,
    pub(super) members: Vec<Voice>,
    pub(super) changed: bool,
}

/// What of an alert takes part in comparing.
#[derive(Clone)]
pub(super) struct Voice {
    fingerprint: String,
    name: String,
    service: Option<String>,
    severity: Option<String>,
    words: HashSet<String>,
    /// Of unit length; `None` where there is no vector leg.
    vector: Option<Vec<f32>>,
}

impl Voice {
    pub(super) fn of(alert: &Alert, vector: Option<Vec<f32>>) -> Self {
        let wording = alert.wording().to_lowercase();
        Self {
            fingerprint: alert.fingerprint.clone(),
            name: alert.name.clone(),
            service: alert.service.clone(),
            severity: alert.severity.clone(),
            words: wording
                .split(|c: char| !c.is_alphabetic())
                .filter(|word| word.len() > 2)
                .map(str::to_owned)
                .collect(),
            vector,
        }
    }
}

/// Why an alert joins, and how strongly.
#[derive(Debug, Clone, PartialEq)]
struct Tie {
    reason: &'static str,
    strength: f32,
    similarity: Option<f32>,
}

impl Grouping {
    /// Puts a new alert into the group that fits best, or into one of its own. Returns the
    /// group's id and whether it was opened for this alert.
    pub(super) fn place(&self, alert: &Alert, voice: Voice, open: &mut Vec<OpenGroup>) -> (RecordId, bool) {
        let best = open
            .iter()
            .enumerate()
            .filter(|(_, candidate)| self.is_open_for(&candidate.group, alert.starts_at))
            .filter_map(|(position, candidate)| Some((position, self.tie(&voice, candidate)?)))
            // Equal ties go to the older group, which is first: `max_by` alone would take the last.
            .rev()
            .max_by(|(_, a), (_, b)| a.strength.total_cmp(&b.strength));
        match best {
            Some((position, tie)) => {
                let joined = &mut open[position];
                join(&mut joined.group, alert, &tie);
                joined.members.push(voice);
                joined.changed = true;
                (joined.group.id.clone(), false)
            }
            None => {
                let group = found(alert);
                let id = group.id.clone();
                open.push(OpenGroup { group, members: vec![voice], changed: true });
                (id, true)
            }
        }
    }

    fn is_open_for(&self, group: &AlertGroup, at: Timestamp) -> bool {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        let (first, last, at) = (group.first_at.as_second(), group.last_at.as_second(), at.as_second());
        at <= last.saturating_add(seconds(self.window))
            && at >= first.saturating_sub(seconds(self.window))
            && at <= first.saturating_add(seconds(self.longest))
    }

    /// The strongest tie between an alert and any member.
    fn tie(&self, voice: &Voice, candidate: &OpenGroup) -> Option<Tie> {
        candidate
            .members
            .iter()
            .filter_map(|member| self.tie_between(voice, member))
            .max_by(|a, b| a.strength.total_cmp(&b.strength))
    }

    fn tie_between(&self, a: &Voice, b: &Voice) -> Option<Tie> {
        if a.fingerprint == b.fingerprint {
            return Some(Tie { reason: "fingerprint", strength: 2.0, similarity: None });
        }
        let same_service = a.service == b.service;
        if let (Some(one), Some(other)) = (&a.vector, &b.vector) {
            let cosine: f32 = one.iter().zip(other).map(|(x, y)| x * y).sum();
            let near = same_service || a.service.is_none() || b.service.is_none();
            let least = if near { self.similarity } else { self.similarity_across };
            return (cosine >= least).then_some(Tie {
                reason: "similar",
                strength: cosine,
                similarity: Some(cosine),
            });
        }
        if a.name == b.name {
            return Some(Tie { reason: "name", strength: 1.5, similarity: None });
        }
        let shared = jaccard(&a.words, &b.words);
        (same_service && a.service.is_some() && a.severity == b.severity && shared >= self.words)
            .then_some(Tie { reason: "words", strength: shared, similarity: None })
    }
}

fn jaccard(a: &HashSet<String>, b: &HashSet<String>) -> f32 {
    let shared = a.intersection(b).count();
    let all = a.len() + b.len() - shared;
    if all == 0 { 0.0 } else { shared as f32 / all as f32 }
}

/// A group of one. Its id comes from the alert's, so that a delivery that is repeated after a
/// crash opens the same group.
fn found(alert: &Alert) -> AlertGroup {
    AlertGroup {
        id: ids::derived("grp-", &[alert.id.as_str().as_bytes()]),
        title: first_line(alert).to_owned(),
        severity: alert.severity.clone(),
        service: alert.service.clone(),
        first_at: alert.starts_at,
        last_at: alert.starts_at,
        firing: alert.status == AlertStatus::Firing,
        members: vec![GroupMember { alert_id: alert.id.clone(), reason: "first".into(), similarity: None }],
    }
}

fn first_line(alert: &Alert) -> &str {
    alert.summary.lines().next().map(str::trim).filter(|line| !line.is_empty()).unwrap_or(&alert.name)
}

fn join(group: &mut AlertGroup, alert: &Alert, tie: &Tie) {
    let first = match group.members.len() {
        0 | 1 => group.title.clone(),
        more => group.title.strip_suffix(&suffix(more - 1)).unwrap_or(&group.title).to_owned(),
    };
    group.members.push(GroupMember {
        alert_id: alert.id.clone(),
        reason: tie.reason.into(),
        similarity: tie.similarity,
    });
    group.title = format!("{first}{}", suffix(group.members.len() - 1));
    group.first_at = group.first_at.min(alert.starts_at);
    group.last_at = group.last_at.max(alert.starts_at);
    group.firing |= alert.status == AlertStatus::Firing;
    if severity_rank(alert.severity.as_deref()) > severity_rank(group.severity.as_deref()) {
        group.severity.clone_from(&alert.severity);
    }
}

fn suffix(more: usize) -> String {
    format!(" (+{more} more)")
}

/// Higher is worse. An unknown word ranks below every known one and above none at all.
pub(crate) fn severity_rank(severity: Option<&str>) -> u8 {
    match severity {
        Some("critical" | "page" | "fatal" | "emergency" | "disaster" | "p1" | "sev1") => 6,
        Some("high" | "major" | "error" | "p2" | "sev2") => 5,
        Some("warning" | "warn" | "medium" | "average" | "minor" | "p3" | "sev3") => 4,
        Some("low" | "p4" | "sev4") => 3,
        Some("info" | "none" | "p5" | "sev5") => 2,
        Some(_) => 1,
        None => 0,
    }
}
