use atlas_domain::{Corpus, IncidentStatus, RecordKey};
use atlas_store::Outcome;
use serde_json::json;

use super::{at, id};
use crate::testing::{Bench, scope};
use crate::{FeatureError, IncidentDraft, from_markdown};

fn draft(value: serde_json::Value) -> IncidentDraft {
    serde_json::from_value(value).expect("a draft")
}

#[track_caller]
fn refused(outcome: Result<impl Sized, FeatureError>, expect: &str) {
    match outcome.err() {
        Some(FeatureError::Invalid { field, hint, .. }) => {
            assert_eq!(field, expect);
            assert!(!hint.is_empty());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_incident_gets_an_id_and_defaults() {
    let bench = Bench::new();
    let incidents = bench.features.incidents();
    let made = incidents
        .create(&bench.scope, draft(json!({"title": " Down ", "severity": "High"})))
        .await
        .expect("made");
    assert!(made.item.id.as_str().starts_with("inc-"));
    assert_eq!((made.item.title.as_str(), made.item.status), ("Down", IncidentStatus::Open));
    assert_eq!(made.item.severity.as_deref(), Some("high"));
    assert_eq!(incidents.get(&bench.scope, &made.item.id).await.expect("kept"), made);
    assert!(matches!(
        incidents.get(&scope("other"), &made.item.id).await,
        Err(FeatureError::NotFound { .. })
    ));
}

#[tokio::test]
async fn an_incident_is_checked_by_field() {
    let bench = Bench::new();
    let create = async |value| bench.features.incidents().create(&bench.scope, draft(value)).await;
    refused(create(json!({"title": " "})).await, "title");
    refused(create(json!({"title": "x".repeat(501)})).await, "title");
    refused(create(json!({"title": "x", "alert_ids": ["nowhere"]})).await, "alert_ids[0]");
    let times = json!({"title": "x", "started_at": at(9).to_string(), "resolved_at": at(3).to_string()});
    refused(create(times).await, "resolved_at");
    let import = bench.features.incidents().import(&bench.scope, vec![draft(json!({"title": ""}))]).await;
    refused(import, "incidents[0].title");
}

#[tokio::test]
async fn a_second_incident_of_an_id_is_refused_and_an_update_keeps_the_begin() {
    let bench = Bench::new();
    let incidents = bench.features.incidents();
    let first = json!({"id": "inc-7", "title": "one", "started_at": at(0).to_string()});
    let made = incidents.create(&bench.scope, draft(first.clone())).await.expect("made");
    assert!(matches!(incidents.create(&bench.scope, draft(first)).await, Err(FeatureError::Exists { .. })));
    let end = json!({"title": "two", "resolved_at": at(30).to_string(), "root_cause": "a leak"});
    let changed = incidents.update(&bench.scope, &id("inc-7"), draft(end)).await.expect("changed");
    assert_eq!((changed.item.started_at, changed.item.status), (at(0), IncidentStatus::Resolved));
    assert_eq!(changed.created_at, made.created_at);
    let other =
        incidents.update(&bench.scope, &id("inc-7"), draft(json!({"id": "inc-8", "title": "x"}))).await;
    refused(other, "id");
    let missing = incidents.update(&bench.scope, &id("inc-9"), draft(json!({"title": "x"}))).await;
    assert!(matches!(missing, Err(FeatureError::NotFound { .. })));
}

#[tokio::test]
async fn what_is_deleted_is_gone_once() {
    let bench = Bench::new();
    let incidents = bench.features.incidents();
    incidents.create(&bench.scope, draft(json!({"id": "inc-1", "title": "x"}))).await.expect("made");
    incidents.delete(&bench.scope, &id("inc-1")).await.expect("deleted");
    let again = incidents.delete(&bench.scope, &id("inc-1")).await.expect_err("gone");
    assert_eq!(
        (again.code(), again.to_string().as_str()),
        ("not_found", "there is no incident with id inc-1")
    );
}

#[tokio::test]
async fn a_past_incident_of_the_same_words_is_similar() {
    let bench = Bench::new();
    let incidents = bench.features.incidents();
    let all = [
        json!({"id": "a", "title": "Connection pool of checkout is empty"}),
        json!({"id": "b", "title": "Connection pool of checkout exhausted"}),
        json!({"id": "c", "title": "Certificate expired"}),
    ];
    incidents.import(&bench.scope, all.into_iter().map(draft).collect()).await.expect("imported");
    bench.retrieval.settled(&bench.scope).await.expect("caught up");
    let key = RecordKey::new(Corpus::Incidents, id("a"));
    let answer = incidents.similar(&bench.scope, &key, 1).await.expect("an answer");
    assert_eq!(answer.hits[0].key.id, id("b"));
}

#[tokio::test]
async fn importing_the_same_runbooks_again_changes_nothing() {
    let bench = Bench::new();
    let runbooks = bench.features.runbooks();
    let read = |text| vec![from_markdown(id("disk.md"), text, None).expect("a runbook")];
    let first = runbooks.import(&bench.scope, read("# Disk full\nDelete logs.")).await.expect("imported");
    assert_eq!(first.outcomes, [Outcome::Created]);
    let again = runbooks.import(&bench.scope, read("# Disk full\nDelete logs.")).await.expect("imported");
    assert_eq!(again.outcomes, [Outcome::Unchanged]);
    let changed = runbooks.import(&bench.scope, read("# Disk full\nGrow it.")).await.expect("imported");
    assert_eq!(changed.outcomes, [Outcome::Updated]);
    let runbook = runbooks.get(&bench.scope, &id("disk.md")).await.expect("kept").item;
    assert!(matches!(runbooks.create(&bench.scope, runbook.clone()).await, Err(FeatureError::Exists { .. })));
    runbooks.delete(&bench.scope, &runbook.id).await.expect("deleted");
    assert!(matches!(runbooks.update(&bench.scope, runbook).await, Err(FeatureError::NotFound { .. })));
}
