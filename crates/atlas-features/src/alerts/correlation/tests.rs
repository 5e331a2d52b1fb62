//! Groups as alerts arrive, and as people change them.

use std::collections::BTreeMap;

use atlas_domain::{AlertStatus, RecordId, Timestamp};

use super::{Change, Correlator, Reason, Settings, Signal, Topology};
use crate::alerts::IncomingAlert;

const BEGIN: f64 = 1_770_000_000.0;

fn signal(name: &str, service: &str, cluster: &str, second: f64) -> Signal {
    let labels = [("alertname", name), ("service", service), ("cluster", cluster)];
    let text = format!("{service} answers with errors since its database is away");
    let incoming = IncomingAlert {
        fingerprint: None,
        status: AlertStatus::Firing,
        labels: labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into(),
        annotations: BTreeMap::from([("description".to_owned(), text)]),
        starts_at: Timestamp::from_second((BEGIN + second) as i64).expect("near"),
        ends_at: None,
        generator_url: None,
        source: None,
    };
    Signal::of(&incoming.read(0).expect("an alert"), None)
}

/// A shop: the database affects the cart, the cart the checkout, the checkout the web.
fn shop() -> Correlator {
    let graph = Topology::from_edges([("db", "cart"), ("cart", "checkout"), ("checkout", "web")]);
    Correlator::new(Settings::default(), graph)
}

fn arrive(correlator: &mut Correlator, service: &str, second: f64) -> (RecordId, Vec<Change>) {
    let signal = signal("HighErrorRate", service, "prod", second);
    let id = signal.id.clone();
    (id, correlator.arrive(signal, BEGIN + second))
}

#[test]
fn an_effect_that_travels_the_graph_is_one_group() {
    let mut correlator = shop();
    let alerts: Vec<RecordId> = [("db", 0.0), ("cart", 50.0), ("checkout", 95.0), ("web", 140.0)]
        .map(|(service, second)| arrive(&mut correlator, service, second).0)
        .into();
    let groups: Vec<_> = alerts.iter().map(|alert| correlator.group_of(alert)).collect();
    assert!(groups.iter().all(|group| group.is_some() && *group == groups[0]), "{groups:?}");
    let candidates: Vec<usize> = correlator.candidates().map(|group| group.alerts.len()).collect();
    assert_eq!(candidates, [4]);
}

#[test]
fn an_alert_that_joins_says_why() {
    let mut correlator = shop();
    arrive(&mut correlator, "db", 0.0);
    let (_, changes) = arrive(&mut correlator, "cart", 50.0);
    let why = changes.iter().find_map(|change| match change {
        Change::Joined { why, .. } => Some(why),
        _ => None,
    });
    let why = why.expect("it joins");
    assert!(why.score > 0.0);
    assert!(why.reasons.iter().any(|(reason, part)| *reason == Reason::Graph && *part > 0.0), "{why:?}");
}

#[test]
fn what_is_delivered_again_changes_nothing() {
    let mut correlator = shop();
    arrive(&mut correlator, "db", 0.0);
    let (alert, changes) = arrive(&mut correlator, "db", 0.0);
    assert_eq!(changes, [Change::Repeated { alert }]);
    assert_eq!(correlator.len(), 1);
}

#[test]
fn an_alert_that_comes_back_after_it_was_resolved_joins_where_it_was() {
    let mut correlator = shop();
    let (first, _) = arrive(&mut correlator, "db", 0.0);
    correlator.resolve(&first);
    let (second, changes) = arrive(&mut correlator, "db", 200.0);
    assert_eq!(correlator.group_of(&first), correlator.group_of(&second));
    let flaps =
        |change: &Change| matches!(change, Change::Joined { why, .. } if why.reasons[0].0 == Reason::Flap);
    assert!(changes.iter().any(flaps), "{changes:?}");
}

#[test]
fn clusters_are_not_mixed() {
    let mut correlator = shop();
    let signals = [("db", "prod", 0.0), ("db", "staging", 5.0), ("cart", "prod", 50.0)];
    let ids = signals.map(|(service, cluster, second)| {
        let signal = signal("HighErrorRate", service, cluster, second);
        let id = signal.id.clone();
        correlator.arrive(signal, BEGIN + second);
        id
    });
    let [prod, staging, cart] = ids.map(|id| correlator.group_of(&id).expect("open"));
    assert_eq!(prod, cart);
    assert_ne!(prod, staging);
}

#[test]
fn a_group_closes_when_nothing_joins_it_for_the_window() {
    let mut correlator = shop();
    let (alert, _) = arrive(&mut correlator, "db", 0.0);
    let (_, changes) = arrive(&mut correlator, "web", 3_600.0);
    let closed = changes.iter().find_map(|change| match change {
        Change::Closed { group } => Some(group.alerts.clone()),
        _ => None,
    });
    assert_eq!(closed, Some(vec![alert.clone()]));
    assert_eq!((correlator.group_of(&alert), correlator.len()), (None, 1));
}

#[test]
fn what_a_person_split_stays_apart_and_what_a_person_merged_stays_together() {
    let mut correlator = shop();
    let (db, _) = arrive(&mut correlator, "db", 0.0);
    let (cart, _) = arrive(&mut correlator, "cart", 50.0);
    let group = correlator.group_of(&db).expect("open");
    let apart =
        correlator.split(group, std::slice::from_ref(&cart), BEGIN + 60.0).expect("it is in the group");
    arrive(&mut correlator, "checkout", 95.0);
    assert_eq!(correlator.group_of(&db), Some(group));
    assert_eq!(correlator.group_of(&cart), Some(apart));
    assert!(correlator.merge(group, apart));
    arrive(&mut correlator, "web", 140.0);
    assert_eq!(correlator.group_of(&db), correlator.group_of(&cart));
    assert!(!correlator.merge(group, group));
}
