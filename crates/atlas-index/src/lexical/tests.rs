use std::collections::BTreeMap;

use atlas_domain::{Facets, Filter, RecordId, Timestamp};
use proptest::prelude::*;

use super::{LexicalChange, LexicalHit, LexicalIndex, LexicalQuery};

fn id(name: &str) -> RecordId {
    RecordId::new(name).expect("short and printable")
}

fn at(micros: i64) -> Facets {
    Facets::at(Timestamp::from_microsecond(micros).expect("near the epoch"))
}

fn put(name: &str, title: &str, text: &str) -> LexicalChange {
    LexicalChange::Put {
        id: id(name),
        title: title.into(),
        text: text.into(),
        facets: at(0),
        exact: Vec::new(),
    }
}

fn index(changes: &[LexicalChange]) -> LexicalIndex {
    let index = LexicalIndex::open(None).expect("memory").index;
    index.apply(changes, 1).expect("applied");
    index
}

fn names(hits: &[LexicalHit]) -> Vec<&str> {
    hits.iter().map(|hit| hit.id.as_str()).collect()
}

#[track_caller]
fn check(index: &LexicalIndex, query: &str, expect: &[&str]) {
    assert_eq!(
        names(
            &index
                .search(LexicalQuery::words(query, &Filter::default()), 10)
                .expect("any text is a query")
                .hits
        ),
        expect
    );
}

#[track_caller]
fn check_exact(index: &LexicalIndex, query: &str, expect: &[&str]) {
    assert_eq!(
        names(&index.exact(LexicalQuery::words(query, &Filter::default()), 10).expect("any text is a query")),
        expect
    );
}

#[test]
fn identifiers_are_found_in_text_as_written_and_by_part() {
    let index = index(&[
        put("a", "", "Received block blk_-3276232266876914214 from /10.250.7.146:50010"),
        put("b", "", "pod kube-system/coredns-7d9 cannot read /var/log/nginx/error.log"),
        put("c", "", "dial tcp: ECONNREFUSED while KubePodCrashLooping fires"),
    ]);
    for query in ["blk_-3276232266876914214", "where is 10.250.7.146?", "10.250.7.146:50010"] {
        check(&index, query, &["a"]);
    }
    for query in
        ["coredns", "kube-system/coredns-7d9", "kube-system", "error.log", "/var/log/nginx/error.log"]
    {
        assert_eq!(
            names(
                &index
                    .search(LexicalQuery::words(query, &Filter::default()), 1)
                    .expect("any text is a query")
                    .hits
            ),
            ["b"],
            "{query}"
        );
    }
    for query in ["econnrefused", "crash looping pods", "kubepodcrashlooping"] {
        assert_eq!(
            names(
                &index
                    .search(LexicalQuery::words(query, &Filter::default()), 1)
                    .expect("any text is a query")
                    .hits
            ),
            ["c"],
            "{query}"
        );
    }
}

#[test]
fn replaced_text_is_gone_and_removed_records_too() {
    let index = index(&[put("a", "old title", "first wording"), put("b", "", "first")]);
    index.apply(&[put("a", "new", "second"), LexicalChange::Remove { id: id("b") }], 2).expect("applied");
    check(&index, "first wording old", &[]);
    check(&index, "second", &["a"]);
    assert_eq!(index.len(), 1);
}

#[test]
fn the_last_change_of_a_batch_wins() {
    let index = index(&[
        put("a", "", "one"),
        put("a", "", "two"),
        put("b", "", "two"),
        LexicalChange::Remove { id: id("b") },
    ]);
    check(&index, "one", &[]);
    check(&index, "two", &["a"]);
}

#[test]
fn equal_scores_are_ordered_by_id() {
    let changes: Vec<_> = ["d", "b", "e", "a", "c"].iter().map(|name| put(name, "", "same text")).collect();
    let index = index(&changes);
    check(&index, "text", &["a", "b", "c", "d", "e"]);
    assert_eq!(
        names(
            &index
                .search(LexicalQuery::words("text", &Filter::default()), 2)
                .expect("any text is a query")
                .hits
        ),
        ["a", "b"]
    );
}

#[test]
fn names_are_found_exactly_newest_first_and_words_are_not() {
    let alert = |name: &str, micros| LexicalChange::Put {
        id: id(name),
        title: "Pod crashes".into(),
        text: String::new(),
        facets: at(micros),
        exact: vec!["KubePodCrashLooping".into(), "https://runbooks.example/Crash".into(), "critical".into()],
    };
    let index = index(&[alert("old-1", 1), alert("new-1", 2)]);
    check_exact(&index, "why does KubePodCrashLooping fire?", &["new-1", "old-1"]);
    check_exact(&index, "see https://runbooks.example/crash.", &["new-1", "old-1"]);
    check_exact(&index, "old-1", &["old-1"]);
    check_exact(&index, " pod crashes ", &["new-1", "old-1"]);
    check_exact(&index, "a critical one", &[]);
    check_exact(&index, "critical", &["new-1", "old-1"]);
    check_exact(&index, "", &[]);
}

#[test]
fn a_bound_between_two_microseconds_means_the_later_one() {
    let changes = [0, 1, 2].map(|micros| LexicalChange::Put {
        id: id(&format!("r{micros}")),
        title: String::new(),
        text: "x".into(),
        facets: at(micros),
        exact: Vec::new(),
    });
    let index = index(&changes);
    let between = Timestamp::from_nanosecond(1500).expect("near the epoch");
    let found = |filter| {
        let hits = index.search(LexicalQuery::words("x", &filter), 9).expect("any text is a query").hits;
        hits.into_iter().map(|hit| hit.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(Filter { since: Some(between), ..Filter::default() }), ["r2"]);
    assert_eq!(found(Filter { until: Some(between), ..Filter::default() }), ["r0", "r1"]);
    assert_eq!(found(Filter { since: Some(between), until: Some(between), ..Filter::default() }), [""; 0]);
}

#[test]
fn a_query_with_thousands_of_terms_is_answered_by_its_rarest() {
    let noise = (0..600).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
    let index =
        index(&[put("a", "", &noise), put("b", "", &noise), put("c", "", &format!("{noise} needle"))]);
    let hits = index
        .search(LexicalQuery::words(&format!("{noise} needle"), &Filter::default()), 1)
        .expect("any text is a query")
        .hits;
    assert_eq!(names(&hits), ["c"]);
}

#[test]
fn a_reopened_directory_covers_the_same_and_answers_the_same() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("runbooks");
    let opened = LexicalIndex::open(Some(&path)).expect("a new directory");
    assert_eq!((opened.seq, opened.rebuilt), (0, None));
    for seq in 1..=12 {
        let change = put(&format!("r{seq}"), "disk", &"disk full ".repeat(seq as usize));
        opened.index.apply(&[change], seq).expect("applied");
    }
    let before = opened
        .index
        .search(LexicalQuery::words("full disk", &Filter::default()), 20)
        .expect("any text is a query")
        .hits;
    drop(opened.index);
    let opened = LexicalIndex::open(Some(&path)).expect("an old directory");
    assert_eq!((opened.seq, opened.rebuilt), (12, None));
    let after = opened
        .index
        .search(LexicalQuery::words("full disk", &Filter::default()), 20)
        .expect("any text is a query")
        .hits;
    assert_eq!(names(&after), names(&before));
    assert_eq!(after.len(), 12);
}

#[test]
fn an_empty_batch_moves_the_change_number() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    LexicalIndex::open(Some(dir.path())).expect("a new directory").index.apply(&[], 77).expect("applied");
    assert_eq!(LexicalIndex::open(Some(dir.path())).expect("an old directory").seq, 77);
}

fn some_facets() -> impl Strategy<Value = Facets> {
    let word =
        || prop::option::of(prop::sample::select(vec!["a".to_owned(), "A".to_owned(), "b c".to_owned()]));
    (0i64..6, word(), word(), word(), word(), word(), word()).prop_map(
        |(micros, service, severity, source, status, link, label)| Facets {
            service,
            severity,
            source,
            status,
            link,
            labels: label.into_iter().map(|value| ("team".to_owned(), value)).collect(),
            ..at(micros)
        },
    )
}

fn some_filter() -> impl Strategy<Value = Filter> {
    let words = || {
        let word =
            prop::sample::select(vec!["a".to_owned(), "A".to_owned(), "b c".to_owned(), "zz".to_owned()]);
        prop::collection::vec(word, 0..3)
    };
    let time = || prop::option::weighted(0.3, (0i64..6).prop_map(|micros| at(micros).at));
    (time(), time(), words(), words(), words(), words(), words()).prop_map(
        |(since, until, service, severity, source, status, label)| Filter {
            since,
            until,
            service,
            severity: severity.into_iter().take(1).collect(),
            source: source.into_iter().skip(2).collect(),
            status: status.into_iter().skip(2).collect(),
            link: Vec::new(),
            labels: label.into_iter().skip(1).map(|value| ("team".to_owned(), value)).collect(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_history_is_filtered_like_a_plain_map(
        batches in prop::collection::vec(
            prop::collection::vec((0usize..20, prop::option::weighted(0.8, some_facets())), 1..12), 1..5),
        filters in prop::collection::vec(some_filter(), 12),
    ) {
        let index = LexicalIndex::open(None).expect("memory").index;
        let mut naive: BTreeMap<RecordId, Facets> = BTreeMap::new();
        for (seq, batch) in batches.into_iter().enumerate() {
            let mut changes = Vec::new();
            for (record, facets) in batch {
                let id = id(&format!("r{record:02}"));
                changes.push(match facets {
                    Some(facets) => {
                        naive.insert(id.clone(), facets.clone());
                        let (title, text, exact) = ("Word".into(), "word".into(), vec!["NAME-1".into()]);
                        LexicalChange::Put { id, title, text, facets, exact }
                    }
                    None => {
                        naive.remove(&id);
                        LexicalChange::Remove { id }
                    }
                });
            }
            index.apply(&changes, seq as u64 + 1).expect("applied");
        }
        prop_assert_eq!(index.len(), naive.len());
        for filter in filters {
            let expect: Vec<&RecordId> = naive.iter().filter(|(_, facets)| filter.matches(facets)).map(|(id, _)| id).collect();
            let hits = index.search(LexicalQuery::words("words", &filter), 50).expect("any text is a query").hits;
            prop_assert_eq!(hits.iter().map(|hit| &hit.id).collect::<Vec<_>>(), expect.clone(), "{:?}", &filter);
            let mut exact: Vec<_> = index.exact(LexicalQuery::words("name-1", &filter), 50).expect("any text is a query").into_iter().map(|hit| hit.id).collect();
            exact.sort();
            prop_assert_eq!(exact.iter().collect::<Vec<_>>(), expect);
        }
    }

    #[test]
    fn any_text_is_a_query(text in ".{0,60}", marks in "[-+&|!(){}\\[\\]^\"~*?:\\\\/ a-z]{0,40}") {
        let index = index(&[put("a", "some title", "and text")]);
        for query in [text, marks] {
            index.search(LexicalQuery::words(&query, &Filter::default()), 3).expect("any text is a query");
            index.exact(LexicalQuery::words(&query, &Filter::default()), 3).expect("any text is a query");
        }
    }
}
