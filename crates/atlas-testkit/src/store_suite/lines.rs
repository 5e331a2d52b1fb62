//! Log lines come by the million, and a store may keep them in a way of its own. Nothing of that
//! may show: a store with lines gives what a map of records gives.

use std::collections::BTreeMap;

use atlas_domain::{
    Corpus, Filter, LogRecord, Noun, Record, RecordDraft, RecordId, RecordKey, TenantScope, Timestamp,
};
use atlas_store::{Change, Entry, ListQuery, Outcome, Store};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::model::runner;
use super::{commit, put, tenant};

/// What a line is made of; small alphabets, so that lines share templates and ids return.
#[derive(Debug, Clone)]
struct Made {
    id: u8,
    at_ns: i64,
    template: u8,
    service: Option<u8>,
    label: Option<u8>,
    text: u8,
}

#[derive(Debug, Clone)]
enum Step {
    Line(Made),
    /// A record of the corpus that is no line as the product writes them.
    Odd(Made),
    Delete(u8),
}

impl Made {
    fn key(id: u8) -> RecordKey {
        // The usual form, another one, and several begins.
        let id = match id % 3 {
            0 => format!("log-{:016}-{:016x}", i64::from(id) * 70_000_000, u64::from(id) << 40),
            1 => format!("log-{id}"),
            _ => format!("{id}: ü"),
        };
        RecordKey::new(Corpus::Logs, RecordId::new(id).expect("an id"))
    }

    fn draft(&self, is_odd: bool) -> RecordDraft {
        let line = LogRecord {
            id: Self::key(self.id).id,
            at: Timestamp::from_nanosecond(self.at_ns.into()).expect("in range"),
            message: format!("took {} ms, 007 of {}", self.text, "x".repeat(usize::from(self.text % 3))),
            level: None,
            service: self.service.map(|service| format!("s{service}")),
            source: None,
            template_id: RecordId::new(format!("tpl-{}", self.template)).expect("an id"),
            attributes: self
                .label
                .map(|label| ("zone".to_owned(), format!("z{label}")))
                .into_iter()
                .collect(),
        };
        let mut draft = line.draft();
        if is_odd {
            draft.title = "a title".into();
        }
        draft
    }
}

fn made() -> impl Strategy<Value = Made> {
    let some = || prop::option::weighted(0.7, 0u8..3);
    (0u8..24, 0i64..20_000, 0u8..3, some(), some(), any::<u8>()).prop_map(
        |(id, at_ns, template, service, label, text)| Made {
            id,
            at_ns: at_ns * 250,
            template,
            service,
            label,
            text,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let step = prop_oneof![
        8 => made().prop_map(Step::Line),
        1 => made().prop_map(Step::Odd),
        2 => (0u8..24).prop_map(Step::Delete),
    ];
    prop::collection::vec(prop::collection::vec(step, 0..12), 1..6)
}

fn filters() -> Vec<Filter> {
    let at = |us: i128| Some(Timestamp::from_nanosecond(us * 1000 + 1).expect("in range"));
    let zone = BTreeMap::from([("zone".to_owned(), "z1".to_owned())]);
    vec![
        Filter::default(),
        Filter { since: at(1_500), ..Filter::default() },
        Filter { since: at(1_000), until: at(3_000), ..Filter::default() },
        Filter { link: vec!["tpl-1".into(), "tpl-2".into()], until: at(4_000), ..Filter::default() },
        Filter { service: vec!["s0".into()], labels: zone, ..Filter::default() },
        Filter { status: vec!["open".into()], ..Filter::default() },
    ]
}

/// A record as the map keeps it: what was written, kept to the microsecond.
fn kept(draft: &RecordDraft) -> RecordDraft {
    let mut draft = draft.clone();
    let us = draft.facets.at.as_nanosecond().div_euclid(1000);
    draft.facets.at = Timestamp::from_nanosecond(us * 1000).expect("in range");
    draft
}

fn as_draft(record: Record) -> RecordDraft {
    let Record { key, title, facets, text, body, .. } = record;
    RecordDraft { key, title, facets, text, body }
}

pub(super) fn any_sequence_of_lines_gives_what_a_map_would_hold(make: &impl Fn() -> Box<dyn Store>) {
    runner(24)
        .run(&steps(), |batches| {
            let store = make();
            let scope = tenant(&*store, "acme");
            let mut map: BTreeMap<RecordId, RecordDraft> = BTreeMap::new();
            let mut seq = 0;
            for steps in batches {
                let (mut changes, mut expect) = (Vec::new(), Vec::new());
                for step in steps {
                    let (change, outcome) = apply(&mut map, step);
                    seq += u64::from(!matches!(outcome, Outcome::Unchanged | Outcome::Missing));
                    changes.push(change);
                    expect.push(outcome);
                }
                let committed = commit(&*store, &scope, changes).expect("commit");
                prop_assert_eq!((committed.seq, committed.outcomes), (seq, expect));
                agrees(&*store, &scope, &map)?;
            }
            Ok(())
        })
        .expect("the store agrees with the map");
}

fn apply(map: &mut BTreeMap<RecordId, RecordDraft>, step: Step) -> (Change, Outcome) {
    let draft = match step {
        Step::Delete(id) => {
            let key = Made::key(id);
            let outcome = if map.remove(&key.id).is_some() { Outcome::Deleted } else { Outcome::Missing };
            return (Change::Delete(key), outcome);
        }
        Step::Line(made) => made.draft(false),
        Step::Odd(made) => made.draft(true),
    };
    let outcome = match map.insert(draft.key.id.clone(), kept(&draft)) {
        None => Outcome::Created,
        Some(before) if before == kept(&draft) => Outcome::Unchanged,
        Some(_) => Outcome::Updated,
    };
    (put(draft, &[]), outcome)
}

fn agrees(
    store: &dyn Store,
    scope: &TenantScope,
    map: &BTreeMap<RecordId, RecordDraft>,
) -> Result<(), TestCaseError> {
    let keys: Vec<RecordKey> = (0..24).map(Made::key).collect();
    for key in &keys {
        let found = store.get(scope, key).expect("get").map(as_draft);
        prop_assert_eq!(found.as_ref(), map.get(&key.id));
    }
    let ids: Vec<RecordId> = keys.iter().rev().map(|key| key.id.clone()).collect();
    let many = store.get_many(scope, Corpus::Logs, &ids).expect("get many");
    let many: Vec<RecordDraft> = many.into_iter().map(as_draft).collect();
    prop_assert_eq!(many, ids.iter().filter_map(|id| map.get(id).cloned()).collect::<Vec<_>>());

    for filter in filters() {
        let mut expect: Vec<RecordDraft> =
            map.values().filter(|draft| filter.matches(&draft.facets)).cloned().collect();
        expect.sort_by(|a, b| {
            b.facets.at.cmp(&a.facets.at).then_with(|| a.key.id.as_str().cmp(b.key.id.as_str()))
        });
        let count = store.count(scope, Corpus::Logs, &filter).expect("count");
        prop_assert_eq!(count, expect.len() as u64, "{:?}", &filter);
        let mut query = ListQuery { filter, limit: 3, cursor: None };
        let mut listed = Vec::new();
        loop {
            let page = store.list(scope, Corpus::Logs, &query).expect("page");
            listed.extend(page.records.into_iter().map(as_draft));
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => break,
            }
        }
        prop_assert_eq!(listed, expect, "{:?}", &query.filter);
    }

    // The log, read in small steps, ends in the same state and in order.
    let (mut replayed, mut after) = (BTreeMap::new(), 0);
    loop {
        let changes = store.changes_after(scope, Corpus::Logs, after, 4).expect("changes");
        let Some(last) = changes.last() else { break };
        prop_assert!(changes.iter().map(|change| change.seq).is_sorted() && changes[0].seq > after);
        after = last.seq;
        for change in changes {
            match change.entry {
                Entry::Present(record) => {
                    prop_assert_eq!(record.seq, change.seq);
                    replayed.insert(change.key.id, as_draft(*record));
                }
                Entry::Removed => prop_assert!(!map.contains_key(&change.key.id)),
            }
        }
    }
    prop_assert_eq!(&replayed, map);
    Ok(())
}
