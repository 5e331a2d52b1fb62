//! What an answer promises.

use std::collections::BTreeMap;

use atlas_domain::{Alert, AlertStatus, LogRecord, LogTemplate};

use super::*;
use crate::api::{Leg, Matches, RetrievalError};

async fn refused(bench: &Bench, request: SearchRequest) -> &'static str {
    match bench.retrieval.search(&acme(), request).await {
        Err(RetrievalError::Request { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_searches_name_the_field() {
    let bench = Bench::new();
    assert_eq!(refused(&bench, request(Legs::HYBRID, " \n")).await, "query");
    assert_eq!(
        refused(&bench, SearchRequest { corpora: vec![], ..request(Legs::HYBRID, "x") }).await,
        "corpora"
    );
    let groups = SearchRequest { corpora: vec![Corpus::AlertGroups], ..request(Legs::HYBRID, "x") };
    assert_eq!(refused(&bench, groups).await, "corpora");
    let none = Legs { exact: false, lexical: false, vector: false };
    assert_eq!(refused(&bench, request(none, "x")).await, "legs");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exact_name_comes_first() {
    let bench = Bench::new();
    let wordy = "KubePodCrashLooping ".repeat(30);
    bench
        .write(vec![
            runbook("wordy", &wordy),
            runbook("kubernetes/KubePodCrashLooping.md", "A container restarts."),
        ])
        .await;
    bench.settled().await;
    let answer = bench.search(Legs::HYBRID, "what to do about KubePodCrashLooping?").await;
    bench.check(&answer, &["kubernetes/KubePodCrashLooping.md", "wordy"]);
    assert_eq!(answer.hits[0].legs[0].leg, Leg::Exact);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_searches_give_equal_answers_and_a_smaller_limit_a_prefix() {
    let bench = Bench::new();
    bench
        .write((0..40).map(|n| runbook(&format!("r{n:02}"), &format!("disk word{}", n % 3))).collect())
        .await;
    bench.settled().await;
    let many = bench.ask(SearchRequest { limit: 40, ..request(Legs::HYBRID, "disk word1") }).await;
    assert_eq!(many.hits.len(), 40);
    for limit in [1, 7, 20, 40, 1_000] {
        let answer = bench.ask(SearchRequest { limit, ..request(Legs::HYBRID, "disk word1") }).await;
        assert_eq!(ids(&answer.hits), ids(&many.hits)[..limit.min(40)]);
    }
    let none = bench.ask(SearchRequest { limit: 0, ..request(Legs::HYBRID, "disk word1") }).await;
    assert_eq!(none.hits.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_passage_is_the_section_that_answers() {
    let bench = Bench::new();
    let filler = "filler ".repeat(35);
    let text = format!("## Meaning\n\n{filler}\n\n## Mitigation\n\nDelete old snapshots. {filler}");
    bench.write(vec![runbook("Disk", &text)]).await;
    bench.settled().await;
    for legs in [Legs::LEXICAL, Legs::VECTOR] {
        let answer = bench.search(legs, "delete old snapshots").await;
        assert_eq!(answer.hits[0].passage.heading, "Disk > Mitigation", "{legs:?}");
        assert!(answer.hits[0].passage.text.starts_with("## Mitigation\n\nDelete old snapshots."));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_legs_agree_with_the_filter() {
    let bench = Bench::new();
    let mut documents = Vec::new();
    for n in 0..24 {
        let mut document = runbook(&format!("r{n:02}"), "the disk is full");
        let facets = &mut document.record.facets;
        facets.at = at(i64::from(n));
        facets.service = (n % 3 > 0).then(|| format!("service{}", n % 3));
        facets.severity = Some(["warning", "critical"][n as usize % 2].into());
        facets.labels = BTreeMap::from([("team".into(), format!("t{}", n % 4))]);
        documents.push(document);
    }
    let facets: Vec<_> = documents.iter().map(|document| document.record.facets.clone()).collect();
    bench.write(documents).await;
    bench.settled().await;
    let filters = [
        Filter::default(),
        Filter { service: vec!["service1".into()], ..Filter::default() },
        Filter {
            service: vec!["service1".into(), "service2".into()],
            since: Some(at(5)),
            ..Filter::default()
        },
        Filter { severity: vec!["critical".into()], until: Some(at(9)), ..Filter::default() },
        Filter { labels: BTreeMap::from([("team".into(), "t3".into())]), ..Filter::default() },
        Filter { service: vec!["elsewhere".into()], ..Filter::default() },
    ];
    for filter in filters {
        let matching = facets.iter().enumerate().filter(|(_, facets)| filter.matches(facets));
        let expect: Vec<String> = matching.map(|(n, _)| format!("r{n:02}")).collect();
        for legs in [Legs::LEXICAL, Legs::VECTOR, Legs::HYBRID] {
            let request = SearchRequest { filter: filter.clone(), limit: 100, ..request(legs, "full disk") };
            let answer = bench.ask(request).await;
            let mut found = ids(&answer.hits);
            found.sort_unstable();
            assert_eq!(found, expect, "{legs:?} {filter:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_corpora_are_answered_together() {
    let bench = Bench::new();
    bench
        .write(vec![
            runbook("runbook", "the disk is full"),
            document(Corpus::Incidents, "incident", "Outage", "the disk was full"),
        ])
        .await;
    bench.settled().await;
    let corpora = vec![Corpus::Incidents, Corpus::Runbooks, Corpus::Incidents];
    let answer = bench.ask(SearchRequest { corpora, ..request(Legs::HYBRID, "full disk") }).await;
    let mut found = ids(&answer.hits);
    found.sort_unstable();
    assert_eq!(found, ["incident", "runbook"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_of_a_query_hold_in_every_leg() {
    let bench = Bench::new();
    let mut documents = vec![
        runbook("refused", "the connection refused"),
        runbook("scattered", "the refused connection"),
        runbook("payments", "payments: the connection refused"),
    ];
    for (document, service) in documents.iter_mut().zip(["shop", "desk", "shop"]) {
        document.record.facets.service = Some(service.into());
    }
    bench.write(documents).await;
    bench.settled().await;
    for legs in [Legs::LEXICAL, Legs::VECTOR, Legs::HYBRID] {
        for (query, expect) in [
            ("\"connection refused\"", vec!["payments", "refused"]),
            ("connection -payments", vec!["refused", "scattered"]),
            ("connection service:shop", vec!["payments", "refused"]),
            ("connection -service:shop", vec!["scattered"]),
            ("connection id:scattered", vec!["scattered"]),
            ("connection since:1h", vec![]),
            ("connection before:1970-01-02 service:desk", vec!["scattered"]),
        ] {
            let answer = bench.search(legs, query).await;
            let mut found = ids(&answer.hits);
            found.sort_unstable();
            assert_eq!(found, expect, "{legs:?} {query}");
            assert!(answer.read_as.is_some() && answer.notes.is_empty(), "{query}: {answer:?}");
        }
        let words = SearchRequest { syntax: Syntax::Words, ..request(legs, "connection -payments") };
        let answer = bench.ask(words).await;
        assert_eq!((answer.hits.len(), answer.read_as), (3, None), "{legs:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_with_mistakes_is_answered_and_they_are_named() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the volume is full"), runbook("pod", "a container crashes")]).await;
    bench.settled().await;
    for (query, part) in [
        ("volume since:noon", "since:noon"),
        ("\"volume full\"", "volume full"),
        ("volume \"full", "\"full"),
        ("volme", "volm"),
    ] {
        let answer = bench.search(Legs::HYBRID, query).await;
        assert_eq!(ids(&answer.hits).first(), Some(&"disk"), "{query}");
        assert_eq!(answer.notes.iter().map(|note| note.part.as_str()).collect::<Vec<_>>(), [part], "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_alone_list_the_newest_and_contradictions_nothing() {
    let bench = Bench::new();
    let mut documents = vec![runbook("a-old", "one"), runbook("b-new", "two")];
    documents[1].record.facets.at = at(2_000);
    for document in &mut documents {
        document.record.facets.service = Some("shop".into());
    }
    bench.write(documents).await;
    bench.settled().await;
    let answer = bench.search(Legs::HYBRID, "service:shop").await;
    bench.check(&answer, &["b-new", "a-old"]);
    assert_eq!(answer.degraded, []);
    let desk = Filter { service: vec!["desk".into()], ..Filter::default() };
    let answer = bench.ask(SearchRequest { filter: desk, ..request(Legs::HYBRID, "service:shop") }).await;
    bench.check(&answer, &[]);
    assert_eq!((answer.matches, answer.degraded), (Matches::None, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_score_is_explained_by_its_parts_if_that_is_asked() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full"), runbook("pod", "a pod crashes")]).await;
    bench.settled().await;
    let answer = bench.search(Legs::HYBRID, "full disk").await;
    assert!(answer.hits.iter().all(|hit| hit.explain.is_none()));
    let answer = bench.ask(SearchRequest { explain: true, ..request(Legs::HYBRID, "full disks") }).await;
    let explained = answer.hits[0].explain.as_ref().expect("asked");
    assert_eq!(explained.matched, ["full", "disk"]);
    let sum: f32 = explained.parts.iter().map(|part| part.score).sum();
    assert!((sum - answer.hits[0].score).abs() < 1e-5, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_nothing_matches_is_an_answer() {
    let bench = Bench::new();
    bench.write(vec![runbook("disk", "the disk is full"), runbook("pod", "a pod crashes")]).await;
    bench.settled().await;
    let confidence = |answer: &SearchAnswer| answer.confidence;
    let (about, beside) = (
        bench.search(Legs::HYBRID, "the disk is full").await,
        bench.search(Legs::HYBRID, "zebra stripes").await,
    );
    assert_eq!((about.matches, beside.matches), (Matches::Good, Matches::None));
    assert!(confidence(&about) > confidence(&beside));
    let named = bench.search(Legs::HYBRID, "disk").await;
    assert_eq!((named.matches, named.confidence), (Matches::Good, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_one_hit_however_many_of_its_passages_match() {
    let bench = Bench::new();
    let section = "## Mitigation\n\nDelete old snapshots.\n\n";
    bench.write(vec![runbook("disk", &section.repeat(6)), runbook("pod", "Delete the pod.")]).await;
    bench.settled().await;
    for legs in [Legs::LEXICAL, Legs::VECTOR, Legs::HYBRID] {
        bench.check(&bench.search(legs, "delete old snapshots").await, &["disk", "pod"]);
    }
}

fn alert(name: &str, summary: &str, started: i64) -> Alert {
    Alert {
        id: id(&format!("{name}-{started}")),
        fingerprint: format!("fp-{name}"),
        name: name.into(),
        status: AlertStatus::Firing,
        severity: None,
        service: None,
        source: None,
        summary: summary.into(),
        description: String::new(),
        runbook_url: None,
        generator_url: None,
        starts_at: at(started),
        ends_at: None,
        deliveries: 1,
        group_id: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn similar_records_leave_the_record_itself_out() {
    for bench in [Bench::new(), Bench::keywords_only()] {
        let alerts = [alert("DiskFull", "the disk is full", 1), alert("DiskFull", "the disk is full", 2)];
        let other = alert("CertExpiry", "certificates expire", 3);
        bench.write(alerts.iter().chain([&other]).map(Document::of).collect()).await;
        bench.settled().await;
        let key = RecordKey::new(Corpus::Alerts, id("DiskFull-1"));
        let answer = bench
            .retrieval
            .similar(&acme(), &key, Corpus::Alerts, Filter::default(), 1)
            .await
            .expect("answered");
        bench.check(&answer, &["DiskFull-2"]);
        let missing = RecordKey::new(Corpus::Alerts, id("nothing"));
        let missing = bench.retrieval.similar(&acme(), &missing, Corpus::Alerts, Filter::default(), 1).await;
        assert!(matches!(missing, Err(RetrievalError::NotFound(_))), "{missing:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wording_of_a_stored_alert_is_its_nearest_text() {
    let bench = Bench::new();
    let alerts = [alert("DiskFull", "the disk is full", 1), alert("CertExpiry", "certificates expire", 2)];
    bench.write(alerts.iter().map(Document::of).collect()).await;
    bench.settled().await;
    let texts = alerts.iter().map(Alert::wording).collect();
    let near = bench
        .retrieval
        .nearest(&acme(), Corpus::Alerts, texts, &Filter::default(), 1)
        .await
        .expect("answered");
    let found: Vec<&str> = near.iter().map(|near| near[0].0.as_str()).collect();
    assert_eq!(found, ["DiskFull-1", "CertExpiry-2"]);
    assert!(near.iter().all(|near| near[0].1 > 0.999), "{near:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_found_through_their_template() {
    let bench = Bench::new();
    let template = |name: &str, shape: &str| LogTemplate {
        id: id(name),
        shape: shape.into(),
        absorbed: vec![id(&format!("{name}-before"))],
        exemplar: shape.into(),
        count: 1,
        first_at: at(0),
        last_at: at(9),
        service: None,
        level: None,
    };
    let line = |n: i64, template: &str, message: &str| LogRecord {
        id: id(&format!("line{n:02}")),
        at: at(n),
        message: message.into(),
        level: Some(if n % 2 == 0 { "info" } else { "error" }.into()),
        service: None,
        source: None,
        template_id: id(template),
        attributes: BTreeMap::new(),
    };
    let templates = [template("t1", "received block <num>"), template("t2", "session <num> was closed")];
    bench.write(templates.iter().map(Document::of).collect()).await;
    let mut lines: Vec<LogRecord> = (0..20).map(|n| line(n, "t1", &format!("rcvd blk {n}"))).collect();
    // Stored under a template that the other one has absorbed since.
    lines.push(line(50, "t2-before", "bye"));
    bench.write(lines.iter().map(Document::of).collect()).await;
    bench.settled().await;

    // No line has a word of the question: only the template does.
    let corpora = vec![Corpus::Logs];
    let question = SearchRequest { corpora, ..request(Legs::VECTOR, "received block") };
    let answer = bench.ask(question.clone()).await;
    assert_eq!(answer.hits.len(), 10);
    assert_eq!(answer.degraded, []);
    // The newest lines of the nearest template.
    let newest: Vec<String> = (10..20).rev().map(|n| format!("line{n}")).collect();
    let mut found = ids(&answer.hits);
    found.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(found, newest);

    let errors = Filter { severity: vec!["error".into()], ..Filter::default() };
    let answer = bench.ask(SearchRequest { filter: errors, limit: 3, ..question.clone() }).await;
    assert!(answer.hits.iter().all(|hit| hit.facets.severity.as_deref() == Some("error")));
    let linked = Filter { link: vec!["t2-before".into()], ..Filter::default() };
    bench.check(&bench.ask(SearchRequest { filter: linked, ..question.clone() }).await, &["line50"]);
    let closed = SearchRequest { text: "session closed".into(), limit: 1, ..question };
    bench.check(&bench.ask(closed).await, &["line50"]);
}

#[test]
fn alerts_are_embedded_without_their_labels_and_lines_not_at_all() {
    let mut alert = alert("DiskFull", "the disk is full", 1);
    alert.labels.insert("pod".into(), "foo-7d9".into());
    match Document::of(&alert).passages {
        Passages::Whole(text) => assert_eq!(text, "Disk Full. the disk is full"),
        other => panic!("{other:?}"),
    }
}
