//! The demo files, read by the rules of their README, are good data for every feature.

use std::path::PathBuf;

use atlas_domain::{RecordId, Timestamp};
use serde_json::Value;

use super::id;
use crate::testing::Bench;
use crate::{IncidentDraft, IncomingAlert, LogLine, from_markdown};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../atlas-server/demo")
}

fn lines(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(file)).expect("a demo file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON in every line")).collect()
}

/// Turns `<name>_offset` into a time.
fn shift(value: &mut Value, name: &str, now: Timestamp) {
    let object = value.as_object_mut().expect("an object");
    if let Some(offset) = object.remove(&format!("{name}_offset")).and_then(|offset| offset.as_f64()) {
        let micros = now.as_microsecond() + (offset * 1e6) as i64;
        let at = Timestamp::from_microsecond(micros).expect("in range");
        object.insert(name.into(), at.to_string().into());
    }
}

fn alerts(now: Timestamp) -> Vec<(String, IncomingAlert)> {
    lines("alerts.jsonl")
        .into_iter()
        .map(|mut value| {
            shift(&mut value, "starts_at", now);
            shift(&mut value, "ends_at", now);
            let name = value["ref"].as_str().expect("a ref").to_owned();
            (name, serde_json::from_value(value).expect("an alert"))
        })
        .collect()
}

pub(super) async fn load(bench: &Bench, now: Timestamp) {
    let mut runbooks = Vec::new();
    for entry in std::fs::read_dir(folder().join("runbooks")).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        let text = std::fs::read_to_string(&path).expect("a file");
        runbooks.push(from_markdown(id(&name), &text, Some("demo".into())).expect("a runbook"));
    }
    bench.features.runbooks().import(&bench.scope, runbooks).await.expect("runbooks");

    let alerts = alerts(now);
    let incoming = alerts.iter().map(|(_, alert)| alert.clone()).collect();
    bench.features.alerts().receive(&bench.scope, incoming).await.expect("alerts");

    let mut logs = Vec::new();
    for mut value in lines("logs.jsonl") {
        shift(&mut value, "at", now);
        logs.push(serde_json::from_value::<LogLine>(value).expect("a line"));
    }
    let report = bench.features.logs().ingest(&bench.scope, logs).await.expect("logs");
    assert!(report.duplicates == 0 && (20..60).contains(&report.templates_new), "{report:?}");

    let mut incidents = Vec::new();
    for mut value in lines("incidents.jsonl") {
        shift(&mut value, "started_at", now);
        shift(&mut value, "resolved_at", now);
        let refs = value.as_object_mut().expect("an object").remove("alert_refs");
        let mut draft: IncidentDraft = serde_json::from_value(value).expect("an incident");
        draft.alert_ids = refs
            .iter()
            .flat_map(|refs| refs.as_array().expect("a list"))
            .map(|wanted| ref_id(&alerts, wanted))
            .collect();
        incidents.push(draft);
    }
    bench.features.incidents().import(&bench.scope, incidents).await.expect("incidents");
    bench.retrieval.settled(&bench.scope).await.expect("caught up");
}

fn ref_id(alerts: &[(String, IncomingAlert)], wanted: &Value) -> RecordId {
    alerts.iter().find(|(name, _)| name == wanted).expect("a ref that is there").1.id()
}

#[tokio::test]
async fn every_runbook_has_a_service_and_the_four_sections() {
    let bench = Bench::new();
    load(&bench, Timestamp::now()).await;
    let query = atlas_store::ListQuery { limit: 50, ..Default::default() };
    let listed = bench.features.runbooks().list(&bench.scope, query).await.expect("a list").items;
    assert_eq!(listed.len(), 12);
    for runbook in listed {
        let runbook = runbook.item;
        assert!(runbook.service.is_some() && runbook.labels.contains_key("alert"), "{}", runbook.id);
        for section in ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"] {
            assert!(runbook.markdown.contains(section), "{} has no {section}", runbook.id);
        }
    }
}

#[tokio::test]
async fn the_three_pods_of_the_story_are_one_group() {
    let bench = Bench::new();
    let now = Timestamp::now();
    load(&bench, now).await;
    let mut groups = Vec::new();
    for (_, alert) in alerts(now).iter().filter(|(name, _)| name.starts_with("pool-")) {
        groups
            .push(bench.features.alerts().get(&bench.scope, &alert.id()).await.expect("kept").item.group_id);
    }
    groups.dedup();
    assert!(groups.len() == 1 && groups[0].is_some(), "{groups:?}");
}
