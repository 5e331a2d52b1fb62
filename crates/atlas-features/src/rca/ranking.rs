//! Which alerting entity is the likely cause, without a model.
//!
//! Every entity that alerts is a candidate, and nothing else is: a cause that no evidence names is
//! never named. Seven observations are summed. The weights are round numbers by judgement, not
//! fitted: where the text blames somebody that counts twice, because a rule's author or an
//! operator wrote it down.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;

use crate::alerts::correlation::{Topology, kind, named, normalised, stem, tokens};

/// How far effects are followed in the service graph.
const REACH: u8 = 6;

/// How much the first must lead the second. A quarter of what one full observation is worth.
pub(super) const CLEAR_LEAD: f32 = 0.25;

/// Words of rules about something that broke where it is: a process, a disk, a quota.
const BROKEN: [&str; 25] = [
    "backoff",
    "cpu",
    "crash",
    "crashing",
    "disk",
    "evicted",
    "exhausted",
    "failed",
    "image",
    "killed",
    "memory",
    "mismatch",
    "oom",
    "pending",
    "pods",
    "quota",
    "ready",
    "restarting",
    "rollout",
    "saturation",
    "spend",
    "stuck",
    "throttling",
    "unschedulable",
    "waiting",
];

/// Words that follow `no` in rules about work that stopped coming, which is the fault of whoever
/// sends it: a queue's consumer, a shop's mailer.
const WORK: [&str; 7] = ["connections", "data", "database", "messages", "requests", "traffic", "operations"];

/// An alert of the incident.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alerting<'a> {
    pub(crate) entity: &'a str,
    pub(crate) rule: &'a str,
    pub(crate) text: &'a str,
}

/// What was observed of an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CauseReason {
    /// Others that alert lie downstream of it.
    Explains,
    /// It lies downstream of others that alert.
    Explained,
    /// It is a workload and not the service in front of it.
    Workload,
    /// Its alerts say that something broke in it.
    Broken,
    /// Its alerts say that it gets no work.
    Idle,
    /// Alerts of others name it.
    Blamed,
    /// Its own alerts name others.
    Blames,
}

/// An entity that may be the cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Cause {
    /// Its normalised name.
    pub entity: String,
    /// The sum of what the reasons gave.
    pub score: f32,
    /// What spoke for it and, negative, against it.
    pub reasons: Vec<(CauseReason, f32)>,
}

/// The alerting entities, the likeliest cause first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ranking {
    pub(crate) causes: Vec<Cause>,
    /// Whether the first leads by enough to be stated.
    pub(crate) is_clear: bool,
}

struct Entity<'a> {
    alerts: Vec<(&'a Alerting<'a>, Vec<String>)>,
    stem: String,
    downstream: HashMap<Arc<str>, u8>,
}

/// Ranks the entities that alert. Edges of the graph point from cause to effect.
pub(crate) fn rank(alerts: &[Alerting<'_>], graph: &Topology) -> Ranking {
    let mut entities: BTreeMap<String, Entity<'_>> = BTreeMap::new();
    for alert in alerts {
        let name = normalised(alert.entity);
        if name.is_empty() {
            continue;
        }
        let entity = entities.entry(name).or_insert_with_key(|name| Entity {
            alerts: Vec::new(),
            stem: stem(name),
            downstream: graph.downstream(name, REACH),
        });
        entity.alerts.push((alert, tokens(alert.text)));
    }
    let stems: BTreeSet<&str> = entities.values().map(|entity| entity.stem.as_str()).collect();
    let mut causes: Vec<Cause> = entities
        .iter()
        .map(|(name, entity)| {
            let reasons = reasons(name, entity, &entities, &stems);
            let score = reasons.iter().map(|(_, part)| part).sum();
            Cause { entity: name.clone(), score, reasons }
        })
        .collect();
    causes.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.entity.cmp(&b.entity)));
    let is_clear = match causes.as_slice() {
        [] => false,
        [only] => only.score > 0.0,
        [first, second, ..] => first.score > 0.0 && first.score - second.score >= CLEAR_LEAD,
    };
    Ranking { causes, is_clear }
}

fn reasons(
    name: &str,
    entity: &Entity<'_>,
    entities: &BTreeMap<String, Entity<'_>>,
    stems: &BTreeSet<&str>,
) -> Vec<(CauseReason, f32)> {
    let others = || entities.iter().filter(|(other, _)| *other != name);
    let share = |count: usize, of: usize| count as f32 / of.max(1) as f32;
    let n_others = entities.len().saturating_sub(1);
    let explains = others().filter(|(other, _)| entity.downstream.contains_key(other.as_str())).count();
    let explained = others().filter(|(_, other)| other.downstream.contains_key(name)).count();

    let n_own = entity.alerts.len();
    let own = |is: fn(&str) -> bool| entity.alerts.iter().filter(|(alert, _)| is(alert.rule)).count();
    let is_workload = kind(name).is_some_and(|kind| !matches!(kind, "service" | "svc" | "endpoint"));

    let foreign = entities.values().filter(|other| other.stem != entity.stem);
    let foreign: Vec<&Vec<String>> =
        foreign.flat_map(|other| &other.alerts).map(|(_, tokens)| tokens).collect();
    let blamed = foreign.iter().filter(|tokens| mentions(tokens, stems).contains(entity.stem.as_str()));
    let blames = entity
        .alerts
        .iter()
        .filter(|(_, tokens)| mentions(tokens, stems).iter().any(|mentioned| *mentioned != entity.stem));
    let all = [
        (CauseReason::Explains, share(explains, n_others)),
        (CauseReason::Explained, -share(explained, n_others)),
        (CauseReason::Workload, f32::from(is_workload)),
        (CauseReason::Broken, share(own(is_broken), n_own)),
        (CauseReason::Idle, -share(own(is_idle), n_own)),
        (CauseReason::Blamed, 2.0 * share(blamed.count(), foreign.len())),
        (CauseReason::Blames, -share(blames.count(), n_own)),
    ];
    all.into_iter().filter(|(_, part)| *part != 0.0).collect()
}

/// The stems that a text spells out; `frontend proxy` is one and not also `frontend`.
fn mentions<'a>(tokens: &[String], stems: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let mut found: Vec<(usize, usize, &str)> = stems
        .iter()
        .flat_map(|stem| named(stem, tokens).into_iter().map(move |(from, count)| (from, count, *stem)))
        .collect();
    found.sort_by_key(|(from, count, _)| (*from, std::cmp::Reverse(*count)));
    let mut past = 0;
    let mut mentioned = BTreeSet::new();
    for (from, count, stem) in found {
        if from >= past {
            past = from + count;
            mentioned.insert(stem);
        }
    }
    mentioned
}

/// `KubePodCrashLooping` is `kube pod crash looping`.
fn rule_words(rule: &str) -> Vec<String> {
    let mut spaced = String::with_capacity(rule.len() + 8);
    let mut was_lower = false;
    for c in rule.chars() {
        if c.is_uppercase() && was_lower {
            spaced.push(' ');
        }
        was_lower = c.is_lowercase() || c.is_ascii_digit();
        spaced.push(c);
    }
    tokens(&spaced)
}

fn is_broken(rule: &str) -> bool {
    let words = rule_words(rule);
    !is_idle(rule) && words.iter().any(|word| BROKEN.binary_search(&word.as_str()).is_ok())
}

fn is_idle(rule: &str) -> bool {
    rule_words(rule).windows(2).any(|pair| pair[0] == "no" && WORK.contains(&pair[1].as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert<'a>(entity: &'a str, rule: &'a str, text: &'a str) -> Alerting<'a> {
        Alerting { entity, rule, text }
    }

    #[test]
    fn words_of_broken_things_are_sorted() {
        assert!(BROKEN.is_sorted());
        assert!(is_broken("KubePodCrashLooping") && is_broken("KubePodNotReady"));
        assert!(is_idle("NoRequestsReceived") && !is_broken("NoDatabaseOperations"));
        assert!(!is_broken("HighRequestLatency") && !is_idle("HighRequestLatency"));
    }

    #[test]
    fn the_end_of_the_chain_that_others_blame_is_first() {
        let graph = Topology::from_edges([("db", "cart"), ("cart", "web")]);
        let alerts = [
            alert("web-1", "HighErrorRate", "web fails because cart fails"),
            alert("cart", "HighErrorRate", "cart cannot reach its db"),
            alert("db", "HighErrorRate", "db answers late"),
        ];
        let ranking = rank(&alerts, &graph);
        let names: Vec<&str> = ranking.causes.iter().map(|cause| cause.entity.as_str()).collect();
        assert_eq!(names, ["db", "cart", "web"]);
        assert!(ranking.is_clear);
    }

    #[test]
    fn an_entity_without_alerts_is_never_named() {
        let graph = Topology::from_edges([("db", "cart"), ("db", "web")]);
        let alerts = [alert("cart", "Slow", "the db is down"), alert("web", "Slow", "the db is down")];
        let ranking = rank(&alerts, &graph);
        assert!(ranking.causes.iter().all(|cause| cause.entity != "db"));
        assert!(!ranking.is_clear, "nothing tells the two apart");
        assert!(rank(&[], &graph).causes.is_empty());
    }

    #[test]
    fn a_longer_name_is_not_the_shorter_one() {
        let stems = BTreeSet::from(["frontend", "frontendproxy"]);
        assert_eq!(mentions(&tokens("frontend-proxy fails"), &stems), BTreeSet::from(["frontendproxy"]));
    }
}
