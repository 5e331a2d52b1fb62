use atlas_domain::{Filter, LogTemplate};
use atlas_store::ListQuery;

use super::at;
use crate::testing::{Bench, scope};
use crate::{FeatureError, LogLine, LogReport, SurgeKind, Window};

fn line(minute: i64, message: &str) -> LogLine {
    LogLine {
        at: Some(at(minute)),
        message: message.into(),
        service: Some("cart".into()),
        ..LogLine::default()
    }
}

fn all() -> ListQuery {
    ListQuery { filter: Filter::default(), limit: 100, cursor: None }
}

async fn templates(bench: &Bench) -> Vec<LogTemplate> {
    let listed = bench.features.logs().templates(&bench.scope, all()).await.expect("a list");
    listed.items.into_iter().map(|stored| stored.item).collect()
}

#[tokio::test]
async fn a_resent_batch_changes_nothing_and_repeated_lines_are_kept() {
    let bench = Bench::new();
    let batch = || {
        vec![line(0, "INFO took 7 ms"), line(0, "INFO took 7 ms"), line(1, "INFO took 9 ms"), line(1, "gone")]
    };
    let logs = bench.features.logs();
    let first = logs.ingest(&bench.scope, batch()).await.expect("taken in");
    assert_eq!(first, LogReport { accepted: 4, duplicates: 0, templates_new: 2 });
    let again = logs.ingest(&bench.scope, batch()).await.expect("taken in");
    assert_eq!(again, LogReport { accepted: 0, duplicates: 4, templates_new: 0 });
    let took =
        templates(&bench).await.into_iter().find(|t| t.shape == "INFO took <num> ms").expect("the template");
    assert_eq!((took.count, took.first_at, took.last_at), (3, at(0), at(1)));
    assert_eq!(took.level.as_deref(), Some("info"));
}

#[tokio::test]
async fn later_lines_add_to_the_template() {
    let bench = Bench::new();
    let logs = bench.features.logs();
    logs.ingest(&bench.scope, vec![line(5, "took 7")]).await.expect("taken in");
    let late = logs.ingest(&bench.scope, vec![line(1, "took 8"), line(9, "took 9")]).await.expect("taken in");
    assert_eq!(late.templates_new, 0);
    let [template] = &templates(&bench).await[..] else { panic!("one template") };
    assert_eq!((template.count, template.first_at, template.last_at), (3, at(1), at(9)));
}

#[tokio::test]
async fn simultaneous_batches_lose_no_count() {
    let bench = Bench::new();
    let batch = |from: i64| (from..from + 50).map(|minute| line(minute, "tick 1")).collect();
    let logs = bench.features.logs();
    let (a, b, c) = tokio::join!(
        logs.ingest(&bench.scope, batch(0)),
        logs.ingest(&bench.scope, batch(100)),
        logs.ingest(&bench.scope, batch(200)),
    );
    let accepted: usize = [a, b, c].into_iter().map(|report| report.expect("taken in").accepted).sum();
    assert_eq!((accepted, templates(&bench).await[0].count), (150, 150));
}

#[tokio::test]
async fn a_bad_line_refuses_the_whole_call_before_anything_is_written() {
    let bench = Bench::new();
    let error = bench.features.logs().ingest(&bench.scope, vec![line(0, "good"), line(0, " ")]).await;
    assert!(matches!(error, Err(FeatureError::Invalid { .. })));
    assert!(templates(&bench).await.is_empty());
}

#[tokio::test]
async fn tenants_do_not_see_each_others_lines() {
    let bench = Bench::new();
    bench.features.logs().ingest(&bench.scope, vec![line(0, "secret of acme")]).await.expect("taken in");
    let other = bench.features.logs().list(&scope("other"), all()).await.expect("a list");
    assert!(other.items.is_empty());
}

#[tokio::test]
async fn new_and_surging_templates_stand_out_and_steady_ones_do_not() {
    let bench = Bench::new();
    let mut lines: Vec<LogLine> = (0..60).map(|minute| line(minute, "steady 1")).collect();
    lines.push(line(10, "ERROR slow 1"));
    lines.extend((40..52).map(|minute| line(minute, "ERROR slow 1")));
    lines.push(line(45, "INFO deployed 2.31"));
    lines.push(line(70, "after the window"));
    bench.features.logs().ingest(&bench.scope, lines).await.expect("taken in");
    let window = Window { since: at(30), until: at(60), services: vec![], limit: 10 };
    let report = bench.features.logs().surges(&bench.scope, window.clone()).await.expect("a report");
    let found: Vec<_> = report
        .surges
        .iter()
        .map(|surge| (surge.template.shape.as_str(), surge.kind, surge.count, surge.before))
        .collect();
    assert_eq!(
        found,
        [("ERROR slow <num>", SurgeKind::Surging, 12, 1), ("INFO deployed <num>", SurgeKind::New, 1, 0)]
    );
    let elsewhere = Window { services: vec!["other".into()], ..window };
    assert!(bench.features.logs().surges(&bench.scope, elsewhere).await.expect("a report").surges.is_empty());
    let empty = Window { since: at(1), until: at(1), services: vec![], limit: 1 };
    assert!(matches!(
        bench.features.logs().surges(&bench.scope, empty).await,
        Err(FeatureError::Invalid { field, .. }) if field == "until"
    ));
}
