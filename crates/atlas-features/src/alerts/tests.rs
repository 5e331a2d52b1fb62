use std::collections::BTreeMap;

use atlas_domain::{Alert, AlertStatus, Timestamp};

use super::grouping::{Grouping, OpenGroup, Voice};
use super::incoming::{IncomingAlert, absorb};
use crate::error::FeatureError;

pub(super) fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_770_000_000 + minute * 60).expect("in range")
}

pub(super) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn incoming(minute: i64, labels: &[(&str, &str)], summary: &str) -> IncomingAlert {
    IncomingAlert {
        fingerprint: None,
        status: AlertStatus::Firing,
        labels: map(labels),
        annotations: map(&[("summary", summary)]),
        starts_at: at(minute),
        ends_at: None,
        generator_url: None,
        source: None,
    }
}

fn alert(minute: i64, name: &str, service: &str, summary: &str) -> Alert {
    let labels = [("alertname", name), ("service", service), ("severity", "Warning")];
    incoming(minute, &labels, summary).read(0).expect("a good alert")
}

#[test]
fn an_alert_is_read_in_alertmanagers_terms() {
    let mut raw = incoming(
        0,
        &[("alertname", "HighLatency"), ("app", "cart"), ("job", "x"), ("severity", "CRITICAL")],
        "slow",
    );
    raw.annotations.insert("runbook_url".into(), "https://runbooks.example/latency".into());
    raw.ends_at = Some("0001-01-01T00:00:00Z".parse().expect("Alertmanager's not yet"));
    let alert = raw.read(0).expect("a good alert");
    assert_eq!(alert.name, "HighLatency");
    assert_eq!(alert.service.as_deref(), Some("cart"));
    assert_eq!(alert.severity.as_deref(), Some("critical"));
    assert_eq!(alert.runbook_url.as_deref(), Some("https://runbooks.example/latency"));
    assert_eq!(alert.ends_at, None);
}

#[test]
fn the_id_depends_on_fingerprint_and_start_only() {
    let labels = [("alertname", "A"), ("x", "1")];
    let id = |raw: IncomingAlert| raw.read(0).expect("a good alert").id;
    assert_eq!(id(incoming(0, &labels, "one text")), id(incoming(0, &labels, "another")));
    assert_ne!(id(incoming(0, &labels, "")), id(incoming(1, &labels, "")));
    assert_ne!(id(incoming(0, &labels, "")), id(incoming(0, &[("alertname", "A"), ("x", "2")], "")));
    let given = |fingerprint: &str| IncomingAlert {
        fingerprint: Some(fingerprint.into()),
        ..incoming(0, &labels, "")
    };
    assert_eq!(id(given("f00")), id(IncomingAlert { labels: map(&[("alertname", "B")]), ..given("f00") }));
    assert_eq!(id(given(" ")), id(incoming(0, &labels, "")), "a blank fingerprint is none");
}

#[test]
fn an_alert_without_a_name_is_refused_by_position() {
    let error = incoming(0, &[("job", "x")], "").read(3).expect_err("no name");
    assert!(
        matches!(&error, FeatureError::Invalid { field, .. } if field == "alerts[3].labels.alertname"),
        "{error}"
    );
}

#[test]
fn news_change_the_state_and_every_delivery_counts() {
    let mut kept = alert(0, "A", "s", "x");
    kept.group_id = Some("grp-1".to_owned().try_into().expect("an id"));
    assert!(!absorb(&mut kept, alert(0, "A", "s", "x")));
    let mut resolved = alert(0, "A", "s", "x");
    resolved.status = AlertStatus::Resolved;
    resolved.ends_at = Some(at(5));
    assert!(absorb(&mut kept, resolved));
    assert_eq!((kept.deliveries, kept.status, kept.ends_at), (3, AlertStatus::Resolved, Some(at(5))));
    assert!(kept.group_id.is_some());
}

/// Places alerts in order; the answer is one group number per alert.
fn place(grouping: &Grouping, alerts: &[(Alert, Option<Vec<f32>>)]) -> (Vec<usize>, Vec<OpenGroup>) {
    let mut open = Vec::new();
    let numbers = alerts.iter().map(|(alert, vector)| {
        let (id, _) = grouping.place(alert, Voice::of(alert, vector.clone()), &mut open);
        open.iter().position(|candidate| candidate.group.id == id).expect("placed")
    });
    (numbers.collect(), open)
}

#[track_caller]
fn check(alerts: &[(Alert, Option<Vec<f32>>)], expect: &[usize], reasons: &[&str]) {
    let (numbers, open) = place(&Grouping::default(), alerts);
    assert_eq!(numbers, expect);
    let found: Vec<&str> = open[0].group.members.iter().map(|member| member.reason.as_str()).collect();
    assert_eq!(found, reasons);
}

/// A unit vector at an angle whose cosine to `[1, 0]` is `cosine`.
fn leaning(cosine: f32) -> Option<Vec<f32>> {
    Some(vec![cosine, (1.0 - cosine * cosine).sqrt()])
}

#[test]
fn a_flapping_alert_stays_in_its_group() {
    let flap = |minute| (alert(minute, "A", "s", "x"), None);
    check(&[flap(0), flap(5), flap(14)], &[0, 0, 0], &["first", "fingerprint", "fingerprint"]);
}

#[test]
fn similar_wording_joins_and_the_cosine_is_kept() {
    let alerts = [
        (alert(0, "A", "s", "x"), leaning(1.0)),
        (alert(1, "B", "s", "y"), leaning(0.7)),
        (alert(2, "C", "s", "z"), leaning(-0.5)),
    ];
    check(&alerts, &[0, 0, 1], &["first", "similar"]);
    let (_, open) = place(&Grouping::default(), &alerts);
    let cosine = open[0].group.members[1].similarity.expect("a cosine");
    assert!((cosine - 0.7).abs() < 1e-6, "{cosine}");
}

#[test]
fn another_service_needs_more_likeness() {
    let other =
        |cosine| [(alert(0, "A", "s", "x"), leaning(1.0)), (alert(1, "B", "t", "y"), leaning(cosine))];
    check(&other(0.7), &[0, 1], &["first"]);
    check(&other(0.85), &[0, 0], &["first", "similar"]);
}

#[test]
fn without_vectors_names_and_words_decide() {
    let alerts = [
        (alert(0, "TargetDown", "s", "target unreachable"), None),
        (alert(1, "TargetDown", "t", "another one"), None),
        (alert(2, "DiskFull", "s", "volume nearly full on node seven"), None),
        (alert(3, "DiskFilling", "s", "volume nearly full on node eight"), None),
    ];
    check(&alerts, &[0, 0, 1, 1], &["first", "name"]);
}

#[test]
fn an_alert_outside_the_window_opens_a_group() {
    let named = |minute| (alert(minute, "A", "s", "x"), None);
    check(&[named(0), named(11)], &[0, 1], &["first"]);
}

#[test]
fn a_steady_drip_does_not_keep_a_group_open_for_ever() {
    let drip: Vec<_> = (0..20).map(|n| (alert(n * 9, "A", "s", "x"), None)).collect();
    let (numbers, open) = place(&Grouping::default(), &drip);
    assert!(open.len() == 2 && numbers[13] == 0 && numbers[14] == 1, "{numbers:?}");
}

#[test]
fn the_best_tie_wins_over_the_first() {
    let alerts = [
        (alert(0, "A", "s", "x"), leaning(1.0)),
        (alert(0, "B", "s", "y"), leaning(0.0)),
        (alert(1, "C", "s", "z"), leaning(0.66)),
    ];
    // 0.66 to the first and 0.75 to the second.
    check(&alerts, &[0, 1, 1], &["first"]);
}

#[test]
fn a_group_carries_the_worst_severity_and_counts_in_its_title() {
    let mut worse = alert(2, "A", "s", "third");
    worse.severity = Some("critical".into());
    let alerts = [(alert(0, "A", "s", "first"), None), (alert(1, "A", "s", "second"), None), (worse, None)];
    let (_, open) = place(&Grouping::default(), &alerts);
    let group = &open[0].group;
    assert_eq!(group.title, "first (+2 more)");
    assert_eq!(group.severity.as_deref(), Some("critical"));
    assert_eq!((group.first_at, group.last_at, group.firing), (at(0), at(2), true));
}
