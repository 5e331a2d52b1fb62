use std::sync::atomic::Ordering;

use atlas_domain::{Alert, AlertGroup, AlertStatus, Filter};
use atlas_store::ListQuery;

use super::at;
use crate::testing::Bench;
use crate::{AlertsReport, FeatureError, IncomingAlert};

fn firing(minute: i64, name: &str, service: &str, summary: &str) -> IncomingAlert {
    let pairs = [("alertname", name), ("service", service), ("severity", "warning")];
    IncomingAlert {
        fingerprint: None,
        status: AlertStatus::Firing,
        labels: pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        annotations: [("summary".to_owned(), summary.to_owned())].into(),
        starts_at: at(minute),
        ends_at: None,
        generator_url: None,
        source: None,
    }
}

fn resolved(alert: &IncomingAlert, minute: i64) -> IncomingAlert {
    IncomingAlert { status: AlertStatus::Resolved, ends_at: Some(at(minute)), ..alert.clone() }
}

async fn receive(bench: &Bench, alerts: Vec<IncomingAlert>) -> AlertsReport {
    bench.features.alerts().receive(&bench.scope, alerts).await.expect("taken in")
}

async fn kept(bench: &Bench, alert: &IncomingAlert) -> Alert {
    bench.features.alerts().get(&bench.scope, &alert.id()).await.expect("kept").item
}

async fn groups(bench: &Bench) -> Vec<AlertGroup> {
    let query = ListQuery { filter: Filter::default(), limit: 50, cursor: None };
    let listed = bench.features.alerts().groups(&bench.scope, query).await.expect("a list");
    listed.items.into_iter().map(|stored| stored.item).collect()
}

#[tokio::test]
async fn a_repeated_delivery_is_counted_and_makes_no_second_alert() {
    let bench = Bench::new();
    let alert = firing(0, "DiskFull", "search", "disk of node 7 is full");
    let first = receive(&bench, vec![alert.clone()]).await;
    assert_eq!(first, AlertsReport { created: 1, groups_opened: 1, ..AlertsReport::default() });
    let again = receive(&bench, vec![alert.clone(), alert.clone()]).await;
    assert_eq!(again, AlertsReport { unchanged: 2, ..AlertsReport::default() });
    assert_eq!(kept(&bench, &alert).await.deliveries, 3);
    assert_eq!(groups(&bench).await[0].members.len(), 1);
}

#[tokio::test]
async fn a_group_fires_until_its_last_alert_is_resolved() {
    let bench = Bench::new();
    let one = firing(0, "DiskFull", "search", "disk of node seven is nearly full");
    let two = firing(1, "DiskFilling", "search", "disk of node seven is nearly full soon");
    let report = receive(&bench, vec![two.clone(), one.clone()]).await;
    assert_eq!((report.groups_opened, report.groups_joined), (1, 1));
    let report = receive(&bench, vec![resolved(&one, 5)]).await;
    assert_eq!((report.updated, report.created), (1, 0));
    let state = kept(&bench, &one).await;
    assert_eq!((state.status, state.ends_at), (AlertStatus::Resolved, Some(at(5))));
    assert!(groups(&bench).await[0].firing);
    receive(&bench, vec![resolved(&two, 6)]).await;
    let group = groups(&bench).await.remove(0);
    assert!(!group.firing);
    assert_eq!(group.title, "disk of node seven is nearly full (+1 more)");
    assert_eq!(kept(&bench, &two).await.group_id, Some(group.id));
}

#[tokio::test]
async fn a_later_delivery_joins_an_open_group_by_its_wording() {
    let bench = Bench::new();
    receive(&bench, vec![firing(0, "PoolEmpty", "cart", "no free connection to the orders database")]).await;
    let near = firing(3, "PoolWaits", "cart", "no free connection to the orders database, requests wait");
    let far = firing(3, "CertExpires", "edge", "certificate runs out in six days");
    let report = receive(&bench, vec![near.clone(), far]).await;
    assert_eq!((report.groups_joined, report.groups_opened), (1, 1));
    let group_id = kept(&bench, &near).await.group_id.expect("a group");
    let group = bench.features.alerts().group(&bench.scope, &group_id).await.expect("kept").item;
    assert_eq!(group.members[1].reason, "similar");
    assert!(group.members[1].similarity.is_some_and(|cosine| cosine > 0.65));
}

#[tokio::test]
async fn an_engine_that_is_down_costs_no_alert() {
    let bench = Bench::new();
    bench.engine.failing.store(true, Ordering::SeqCst);
    let one = firing(0, "TargetDown", "a", "x");
    let report = receive(&bench, vec![one.clone(), firing(1, "TargetDown", "b", "y")]).await;
    assert_eq!((report.created, report.groups_joined), (2, 1));
    assert_eq!(groups(&bench).await[0].members[1].reason, "name");
    assert_eq!(kept(&bench, &one).await.name, "TargetDown");
}

#[tokio::test]
async fn alike_alerts_are_found_and_the_alert_itself_is_not() {
    let bench = Bench::new();
    let one = firing(0, "PoolEmpty", "cart", "no free connection to the orders database");
    let old = firing(-5_000, "PoolGone", "cart", "no free connection to the orders database");
    receive(&bench, vec![one.clone(), old.clone(), firing(0, "CertExpires", "edge", "certificate runs out")])
        .await;
    bench.retrieval.settled(&bench.scope).await.expect("caught up");
    let answer = bench.features.alerts().similar(&bench.scope, &one.id(), 1).await.expect("an answer");
    assert_eq!(answer.hits.iter().map(|hit| &hit.key.id).collect::<Vec<_>>(), [&old.id()]);
}

#[tokio::test]
async fn a_correction_by_hand_reaches_the_group_and_a_refused_one_changes_nothing() {
    let bench = Bench::new();
    let alert = firing(0, "DiskFull", "search", "disk of node seven is full");
    receive(&bench, vec![alert.clone()]).await;
    let alerts = bench.features.alerts();

    let id = alert.id();
    let refused = alerts.replace(&bench.scope, &id, |_| Err(FeatureError::invalid("name", "is empty", "")));
    refused.await.expect_err("refused");
    assert!(groups(&bench).await[0].firing);

    let resolve = |before: Alert| -> Result<Alert, FeatureError> {
        Ok(Alert { status: AlertStatus::Resolved, ends_at: Some(at(5)), ..before })
    };
    let replaced = alerts.replace(&bench.scope, &id, resolve).await.expect("replaced").item;
    assert_eq!((replaced.status, replaced.deliveries), (AlertStatus::Resolved, 1));
    assert!(!groups(&bench).await[0].firing);
}
