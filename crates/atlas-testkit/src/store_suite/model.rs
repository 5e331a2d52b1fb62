//! Claims over generated inputs.

use std::collections::BTreeMap;

use atlas_domain::{Corpus, Facets, Filter, RecordDraft, RecordId, RecordKey, Timestamp};
use atlas_store::{Change, ListQuery, Outcome, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{commit, put, tenant};

pub(super) fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
}

// Small alphabets, so that filters hit and ids collide.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "A", "ab", "ä", "a\0", "\"a\"", "%"]).prop_map(str::to_owned)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (-3_000i64..3_000).prop_map(|ns| Timestamp::from_nanosecond(i128::from(ns)).expect("in range"))
}

pub(super) fn facets() -> impl Strategy<Value = Facets> {
    let some = || prop::option::of(word());
    let labels = prop::collection::btree_map(word(), word(), 0..3);
    (time(), some(), some(), some(), some(), some(), labels).prop_map(
        |(at, service, severity, source, status, link, labels)| Facets {
            at,
            service,
            severity,
            source,
            status,
            link,
            labels,
        },
    )
}

pub(super) fn filter() -> impl Strategy<Value = Filter> {
    // Mostly without a condition, else hardly anything would match five of them.
    let some = || prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(word(), 1..4)];
    let labels =
        prop_oneof![2 => Just(BTreeMap::new()), 1 => prop::collection::btree_map(word(), word(), 1..3)];
    let bound = || prop::option::weighted(0.3, time());
    (bound(), bound(), some(), some(), some(), some(), some(), labels).prop_map(
        |(since, until, service, severity, source, status, link, labels)| Filter {
            since,
            until,
            service,
            severity,
            source,
            status,
            link,
            labels,
        },
    )
}

pub(super) fn record(id: &str, facets: Facets) -> RecordDraft {
    let key = RecordKey::new(Corpus::Alerts, RecordId::new(id).expect("an id"));
    RecordDraft { key, title: String::new(), facets, text: String::new(), body: serde_json::Value::Null }
}

/// The whole list, in pages of two.
fn list_all(
    store: &dyn Store,
    scope: &atlas_domain::TenantScope,
    filter: &Filter,
) -> Vec<atlas_domain::Record> {
    let mut query = ListQuery { filter: filter.clone(), limit: 2, cursor: None };
    let mut records = Vec::new();
    loop {
        let page = store.list(scope, Corpus::Alerts, &query).expect("page");
        records.extend(page.records);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return records,
        }
    }
}

pub(super) fn lists_and_counts_agree_with_the_definition_of_matching(make: &impl Fn() -> Box<dyn Store>) {
    let store = make();
    let scope = tenant(&*store, "acme");
    // One set of records and many filters: a store per case would mostly test opening.
    let records = prop::collection::vec(facets(), 60);
    runner(1)
        .run(&records, |all| {
            let changes =
                all.into_iter().enumerate().map(|(n, facets)| put(record(&format!("r{n}"), facets), &[]));
            commit(&*store, &scope, changes.collect()).expect("commit");
            Ok(())
        })
        .expect("written");
    let everything = list_all(&*store, &scope, &Filter::default());
    assert_eq!(everything.len(), 60);
    runner(200)
        .run(&filter(), |filter| {
            let expect: Vec<_> =
                everything.iter().filter(|record| filter.matches(&record.facets)).cloned().collect();
            let count = store.count(&scope, Corpus::Alerts, &filter).expect("count");
            prop_assert_eq!(count, expect.len() as u64);
            prop_assert_eq!(list_all(&*store, &scope, &filter), expect);
            Ok(())
        })
        .expect("every filter agrees");
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, i64),
    Delete(usize),
}

pub(super) fn any_sequence_of_changes_gives_what_a_map_would_hold(make: &impl Fn() -> Box<dyn Store>) {
    let step = prop_oneof![
        2 => (0usize..6, 0i64..3).prop_map(|(id, at)| Step::Put(id, at)),
        1 => (0usize..6).prop_map(Step::Delete),
    ];
    let batches = prop::collection::vec(prop::collection::vec(step, 0..5), 1..8);
    runner(24)
        .run(&batches, |batches| {
            let store = make();
            let scope = tenant(&*store, "acme");
            let mut model: BTreeMap<String, Facets> = BTreeMap::new();
            let mut seq = 0;
            for steps in batches {
                let (mut changes, mut expect) = (Vec::new(), Vec::new());
                for step in steps {
                    let (outcome, change) = apply(&mut model, step);
                    seq += u64::from(!matches!(outcome, Outcome::Unchanged | Outcome::Missing));
                    changes.push(change);
                    expect.push(outcome);
                }
                let committed = commit(&*store, &scope, changes).expect("commit");
                prop_assert_eq!((committed.seq, committed.outcomes), (seq, expect));
                prop_assert_eq!(store.last_seq(&scope).expect("seq"), seq);

                let mut held: Vec<_> = model.iter().map(|(id, facets)| (facets.at, id.as_str())).collect();
                held.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
                let listed = list_all(&*store, &scope, &Filter::default());
                let listed: Vec<_> =
                    listed.iter().map(|record| (record.facets.at, record.key.id.as_str())).collect();
                prop_assert_eq!(listed, held);
                for id in (0..6).map(|n| format!("id{n}")) {
                    let key = RecordKey::new(Corpus::Alerts, RecordId::new(&*id).expect("an id"));
                    let got = store.get(&scope, &key).expect("get").map(|record| record.facets);
                    prop_assert_eq!(got.as_ref(), model.get(&id));
                }
            }
            Ok(())
        })
        .expect("the store agrees with the map");
}

fn apply(model: &mut BTreeMap<String, Facets>, step: Step) -> (Outcome, Change) {
    match step {
        Step::Put(id, second) => {
            let id = format!("id{id}");
            let facets = Facets::at(Timestamp::from_second(second).expect("in range"));
            let outcome = match model.insert(id.clone(), facets.clone()) {
                None => Outcome::Created,
                Some(old) if old == facets => Outcome::Unchanged,
                Some(_) => Outcome::Updated,
            };
            (outcome, put(record(&id, facets), &[]))
        }
        Step::Delete(id) => {
            let id = format!("id{id}");
            let outcome = if model.remove(&id).is_some() { Outcome::Deleted } else { Outcome::Missing };
            let key = RecordKey::new(Corpus::Alerts, RecordId::new(id).expect("an id"));
            (outcome, Change::Delete(key))
        }
    }
}
