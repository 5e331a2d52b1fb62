use std::sync::atomic::Ordering;

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

#[tokio::test]
async fn a_template_that_stopped_has_vanished() {
    let bench = Bench::new();
    let mut lines: Vec<LogLine> = (0..60).map(|minute| line(minute, "steady 1")).collect();
    lines.extend((2..14).map(|minute| line(minute, "WARN heartbeat 1 of node")));
    lines.extend((3..6).map(|minute| line(minute, "seldom 1")));
    bench.features.logs().ingest(&bench.scope, lines).await.expect("taken in");
    let window = Window { since: at(30), until: at(60), services: vec![], limit: 10 };
    let report = bench.features.logs().surges(&bench.scope, window).await.expect("a report");
    let found: Vec<_> = report
        .surges
        .iter()
        .map(|surge| (surge.template.shape.as_str(), surge.kind, surge.count, surge.before))
        .collect();
    assert_eq!(found, [("WARN heartbeat <num> of node", SurgeKind::Vanished, 0, 12)]);
    assert_eq!(report.templates, 1);
}

/// One line a job, of jobs that are the same statement as soon as there are five.
fn jobs(from: i64, names: &[&str]) -> Vec<LogLine> {
    (from..).zip(names).map(|(minute, name)| line(minute, &format!("{name}: is ready to run"))).collect()
}

#[tokio::test]
async fn lines_stored_before_their_template_widened_are_found_by_it() {
    let bench = Bench::new();
    let logs = bench.features.logs();
    logs.ingest(&bench.scope, jobs(0, &["com.a.One", "com.a.Two", "com.b.One"])).await.expect("taken in");
    assert_eq!(templates(&bench).await.len(), 3);
    let report =
        logs.ingest(&bench.scope, jobs(10, &["org.c.X", "org.d.Y", "org.e.Z"])).await.expect("taken in");
    assert_eq!(report, LogReport { accepted: 3, duplicates: 0, templates_new: 0 });

    let [template] = &templates(&bench).await[..] else { panic!("one template") };
    assert_eq!((template.shape.as_str(), template.count), ("<*>: is ready to run", 6));
    assert_eq!((template.first_at, template.last_at, template.absorbed.len()), (at(0), at(12), 2));
    let query =
        ListQuery { filter: Filter { link: vec![template.id.to_string()], ..Filter::default() }, ..all() };
    let lines = logs.list(&bench.scope, query).await.expect("a list");
    assert_eq!(lines.items.len(), 6);
    let window = Window { since: at(0), until: at(60), services: vec![], limit: 10 };
    let report = logs.surges(&bench.scope, window).await.expect("a report");
    assert_eq!(report.surges.iter().map(|surge| surge.count).collect::<Vec<_>>(), [6]);
    assert_eq!(logs.template(&bench.scope, &template.id).await.expect("there").item, *template);
}

#[tokio::test]
async fn a_new_start_knows_the_templates_of_the_last() {
    let bench = Bench::new();
    let names = ["com.a.One", "com.a.Two", "com.b.One", "org.c.X", "org.d.Y"];
    bench.features.logs().ingest(&bench.scope, jobs(0, &names)).await.expect("taken in");
    let before = templates(&bench).await;
    let again = crate::Logs::new(bench.retrieval.clone());
    let report = again.ingest(&bench.scope, jobs(20, &["com.a.Two", "net.f.New"])).await.expect("taken in");
    assert_eq!(report, LogReport { accepted: 2, duplicates: 0, templates_new: 0 });
    let after = templates(&bench).await;
    assert_eq!((&after[0].id, &after[0].shape), (&before[0].id, &before[0].shape));
    assert_eq!((after.len(), after[0].count), (1, 7));
}

#[tokio::test]
async fn many_similar_lines_cost_one_embedding_and_a_wider_shape_one_more() {
    let bench = Bench::new();
    let logs = bench.features.logs();
    let many =
        |from: i64| (from..from + 300).map(|n| line(n, &format!("button report {n} was sent"))).collect();
    logs.ingest(&bench.scope, many(0)).await.expect("taken in");
    logs.ingest(&bench.scope, many(1_000)).await.expect("taken in");
    bench.retrieval.settled(&bench.scope).await.expect("caught up");
    let embedded = || bench.engine.n_embedded.load(Ordering::SeqCst);
    assert_eq!(embedded(), 1);
    logs.ingest(&bench.scope, vec![line(2_000, "button report deadbeef7 was sent")]).await.expect("taken in");
    bench.retrieval.settled(&bench.scope).await.expect("caught up");
    assert_eq!((embedded(), templates(&bench).await.len()), (2, 1));
}
