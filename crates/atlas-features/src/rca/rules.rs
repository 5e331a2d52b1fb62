//! An analysis by fixed rules, for when no model can be asked or its answer cannot be used.
//!
//! What is stated comes from the evidence: a hypothesis is about an entity that alerts, a log
//! message that tells of a failure, or the cause of a past incident whose words the present
//! alerts or logs repeat. Nothing is ever `confirmed`: rules see order and words, not mechanisms.

use std::collections::{BTreeMap, BTreeSet};

use atlas_domain::{Incident, Timestamp};
use serde::Serialize;

use super::answer::{Citation, Confidence, Hypothesis, ModelAnswer, NextStep, Verdict};
use super::evidence::{Evidence, EvidenceKind};
use super::failure::{self, words};
use super::ranking::{Alerting, CLEAR_LEAD, rank};
use crate::alerts::correlation::{Topology, normalised};

/// What it is worth to have begun before all others: half of one full observation of the ranking,
/// since clocks and scrape intervals blur the order.
const EARLY: f32 = 0.5;

/// Words that the cause of a past incident shares with present alerts or logs.
const SHARED_WORDS: usize = 2;

const HYPOTHESES: usize = 3;
const STEPS: usize = 5;
const TIMELINE: usize = 20;

/// Longest quotation, as models are asked for.
const QUOTE_CHARACTERS: usize = 200;

/// Something that began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// Which item of the evidence tells of it.
    pub evidence_id: String,
    /// Its title.
    pub title: String,
}

struct Ranked {
    hypotheses: Vec<Hypothesis>,
    is_clear: bool,
}

/// Fills the answer that a model would give.
pub(super) fn analyse(incident: &Incident, evidence: &[Evidence], graph: &Topology) -> ModelAnswer {
    let by_alerts = entities(evidence, graph);
    let by_logs = failures(incident, evidence);
    let is_clear = by_alerts.is_clear || by_logs.is_clear;
    let mut hypotheses = match by_alerts.is_clear || !by_logs.is_clear {
        true => [by_alerts.hypotheses, by_logs.hypotheses].concat(),
        false => [by_logs.hypotheses, by_alerts.hypotheses].concat(),
    };
    hypotheses.extend(as_before(evidence));
    hypotheses.truncate(HYPOTHESES);
    let verdict = if is_clear && !hypotheses.is_empty() { Verdict::Likely } else { Verdict::Inconclusive };
    let summary = match (verdict, hypotheses.first()) {
        (Verdict::Likely, Some(first)) => format!("By rules, without a model: {}", first.cause),
        (_, Some(_)) => "By rules, without a model: no cause stands out among what is listed.".to_owned(),
        (_, None) => "By rules, without a model: the evidence names no cause.".to_owned(),
    };
    ModelAnswer { verdict, summary, hypotheses, next_steps: steps(evidence) }
}

/// Alerting entities by the ranking and by who began first.
fn entities(evidence: &[Evidence], graph: &Topology) -> Ranked {
    let alerts = || evidence.iter().filter(|item| item.kind == EvidenceKind::Alert);
    let alerting: Vec<Alerting<'_>> = alerts()
        .filter_map(|item| {
            let entity = item.facts.entity.as_deref()?;
            Some(Alerting { entity, rule: &item.facts.rule, text: &item.text })
        })
        .collect();
    // By normalised name: the first item of each.
    let mut first: BTreeMap<String, &Evidence> = BTreeMap::new();
    for item in alerts() {
        let Some(name) = item.facts.entity.as_deref().map(normalised) else { continue };
        let known = first.entry(name).or_insert(item);
        if item.facts.at < known.facts.at {
            *known = item;
        }
    }
    let mut scored: Vec<(f32, &Evidence)> = rank(&alerting, graph)
        .causes
        .iter()
        .filter_map(|cause| {
            let own = *first.get(&cause.entity)?;
            let later = first.values().filter(|other| other.facts.at > own.facts.at).count();
            let early = EARLY * later as f32 / first.len().saturating_sub(1).max(1) as f32;
            Some((cause.score + early, own))
        })
        .collect();
    scored.sort_by(|(a, first), (b, second)| {
        b.total_cmp(a)
            .then_with(|| first.facts.at.cmp(&second.facts.at))
            .then_with(|| first.id.cmp(&second.id))
    });
    let is_clear = match scored.as_slice() {
        [] => false,
        [(only, _)] => *only > 0.0,
        [(first, _), (second, _), ..] => *first > 0.0 && first - second >= CLEAR_LEAD,
    };
    let hypotheses = scored.iter().filter(|(score, _)| *score > 0.0).take(HYPOTHESES).enumerate();
    let hypotheses = hypotheses.filter_map(|(position, (_, item))| {
        let entity = item.facts.entity.clone()?;
        let mut citations: Vec<Citation> = telling(item).into_iter().collect();
        let own_log = evidence.iter().find(|log| {
            log.kind == EvidenceKind::Log
                && log.facts.entity.as_deref().map(normalised) == Some(normalised(&entity))
                && failure::strength(&log.text) > 0
        });
        citations.extend(own_log.and_then(telling));
        let confidence = match position == 0 && is_clear && own_log.is_some() {
            true => Confidence::Medium,
            false => Confidence::Low,
        };
        let earlier = alerts().filter(|other| other.facts.at < item.facts.at).take(2);
        let against = earlier.filter_map(|other| Some(cite(other, line_of(other, "started: ")?))).collect();
        let cause = format!("{entity} is the likeliest origin among what alerts: {}.", item.title);
        Some(Hypothesis { cause, confidence, citations, entity: Some(entity), against })
    });
    Ranked { hypotheses: hypotheses.collect(), is_clear }
}

/// Log messages that tell of a failure, by how plainly and how near to the incident's own words.
fn failures(incident: &Incident, evidence: &[Evidence]) -> Ranked {
    let asked = words(&format!("{} {}", incident.title, incident.description));
    let mut told: Vec<(usize, &Evidence)> = evidence
        .iter()
        .filter(|item| item.kind == EvidenceKind::Log)
        .filter_map(|item| {
            let strength = failure::strength(&item.text);
            let near = words(&item.text).intersection(&asked).count().min(2);
            (strength > 0).then_some((2 * strength + near, item))
        })
        .collect();
    told.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    // One message that names what is wrong, of what the incident is about, ahead of all others:
    // where many fail alike, or the failing is of something else, none is the cause by itself.
    let is_clear = told.first().is_some_and(|(weight, item)| {
        let is_near = !words(&item.text).is_disjoint(&asked);
        let leads = told.get(1).is_none_or(|(second, _)| second < weight);
        failure::strength(&item.text) >= failure::PLAIN && is_near && leads
    });
    let hypotheses = told.iter().take(2).filter_map(|(_, item)| {
        let citation = telling(item)?;
        let cause = format!("A log message tells of a failure: {}.", citation.quote);
        Some(Hypothesis {
            cause,
            confidence: Confidence::Low,
            citations: vec![citation],
            entity: item.facts.entity.clone(),
            against: Vec::new(),
        })
    });
    Ranked { hypotheses: hypotheses.collect(), is_clear }
}

/// The cause of a past incident, where present alerts or logs repeat its words.
fn as_before(evidence: &[Evidence]) -> Option<Hypothesis> {
    let present =
        || evidence.iter().filter(|item| matches!(item.kind, EvidenceKind::Alert | EvidenceKind::Log));
    let past = evidence.iter().filter(|item| item.kind == EvidenceKind::Incident);
    let found = past.filter_map(|item| {
        let cause = line_of(item, "root cause: ")?;
        let told = words(cause);
        let (shared, like) = present()
            .map(|now| (words(&now.text).intersection(&told).count(), now))
            .max_by_key(|(n, _)| *n)?;
        (shared >= SHARED_WORDS).then_some((shared, item, cause, like))
    });
    let (_, item, cause, like) = found.max_by_key(|(shared, ..)| *shared)?;
    let mut citations = vec![cite(item, cause)];
    citations.extend(telling(like));
    Some(Hypothesis {
        cause: format!("As before in \"{}\": {}", item.title, cause.trim_start_matches("root cause: ")),
        confidence: Confidence::Low,
        citations,
        entity: like.facts.entity.clone(),
        against: Vec::new(),
    })
}

/// What fixed past incidents, then what runbooks tell to do, mitigation first.
fn steps(evidence: &[Evidence]) -> Vec<NextStep> {
    let of = |kind| evidence.iter().filter(move |item| item.kind == kind);
    let fixed = of(EvidenceKind::Incident).filter_map(|item| Some((item, line_of(item, "resolution: ")?)));
    let mut sections: Vec<&Evidence> = of(EvidenceKind::Runbook).collect();
    sections.sort_by_key(|item| !item.title.to_lowercase().contains("mitigation"));
    let told = sections.into_iter().flat_map(|item| {
        let lines = item.text.lines().skip(1).map(str::trim);
        let lines = lines.filter(|line| !line.starts_with(['#', '`', '|', '<']) && words(line).len() >= 3);
        lines.take(2).map(move |line| (item, line))
    });
    let steps = fixed.take(2).chain(told).take(STEPS).map(|(item, line)| {
        let quoted = cite(item, line);
        let action = quoted.quote.trim_start_matches("resolution: ").trim_start_matches(['-', '*', ' ']);
        let action = match item.kind {
            EvidenceKind::Incident => format!("What helped in \"{}\": {action}", item.title),
            _ => action.to_owned(),
        };
        NextStep { action, citations: vec![quoted] }
    });
    steps.collect()
}

/// Names the entity of each hypothesis that has none: that of all it cites, if it is one.
pub(super) fn place(hypotheses: &mut [Hypothesis], evidence: &[Evidence]) {
    for hypothesis in hypotheses.iter_mut().filter(|hypothesis| hypothesis.entity.is_none()) {
        let cited = hypothesis.citations.iter();
        let items = cited.filter_map(|citation| evidence.iter().find(|item| item.id == citation.evidence_id));
        let entities: BTreeSet<&str> = items.filter_map(|item| item.facts.entity.as_deref()).collect();
        if entities.len() == 1 {
            hypothesis.entity = entities.first().map(|entity| (*entity).to_owned());
        }
    }
}

/// What began when.
pub(super) fn timeline(evidence: &[Evidence]) -> Vec<Moment> {
    let mut moments: Vec<Moment> = evidence
        .iter()
        .filter_map(|item| {
            let at = item.facts.at?;
            Some(Moment { at, evidence_id: item.id.clone(), title: item.title.clone() })
        })
        .collect();
    moments.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.evidence_id.cmp(&b.evidence_id)));
    moments.truncate(TIMELINE);
    moments
}

/// The entities that alert.
pub(super) fn blast_radius(evidence: &[Evidence]) -> Vec<String> {
    let alerts = evidence.iter().filter(|item| item.kind == EvidenceKind::Alert);
    let entities: BTreeSet<&String> = alerts.filter_map(|item| item.facts.entity.as_ref()).collect();
    entities.into_iter().cloned().collect()
}

/// The line that says most about what went wrong.
fn telling(item: &Evidence) -> Option<Citation> {
    let lines = item.text.lines().filter(|line| line.chars().filter(|c| c.is_alphanumeric()).count() >= 8);
    let said = |line: &&str| {
        let named = ["summary: ", "description: ", "example: "].iter().any(|name| line.starts_with(name));
        (failure::strength(line), named, std::cmp::Reverse(line.len()))
    };
    lines.max_by_key(said).map(|line| cite(item, line))
}

fn line_of<'a>(item: &'a Evidence, name: &str) -> Option<&'a str> {
    item.text.lines().find(|line| line.starts_with(name))
}

fn cite(item: &Evidence, line: &str) -> Citation {
    let quote = line.trim().chars().take(QUOTE_CHARACTERS).collect::<String>().trim_end().to_owned();
    Citation { evidence_id: item.id.clone(), quote }
}
