//! Long random histories of a store that is closed and opened again, against a naive map.
//!
//! Whatever a history does to records, chunks and vectors is done to a map as well, and after
//! every step the store must answer every question as the map would.

use std::collections::{BTreeMap, BTreeSet};

use atlas_domain::{
    Corpus, Facets, Filter, RecordDraft, RecordId, RecordKey, Seq, SpaceId, TenantScope, Timestamp,
};
use atlas_store::{Batch, Change, Entry, ListQuery, Outcome, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{chunk, space, tenant};

/// A place where a store lives: each call opens it, as after a restart.
pub type Place = Box<dyn Fn() -> Box<dyn Store>>;

/// Number of histories to try instead of the usual one.
const HISTORIES: &str = "ATLAS_HISTORIES";

/// Checks random histories, each at a place of its own: `usual` of them, or as many as
/// `ATLAS_HISTORIES` says.
pub fn run(usual: u32, place: impl Fn() -> Place) {
    #[expect(clippy::disallowed_methods, reason = "who runs the tests may ask for more histories")]
    let asked = std::env::var(HISTORIES).ok().map(|count| count.parse().expect("a number of histories"));
    let config = Config { cases: asked.unwrap_or(usual), failure_persistence: None, ..Config::default() };
    let histories = prop::collection::vec(step(), 1..40);
    TestRunner::new(config)
        .run(&histories, |steps| {
            let place = place();
            let mut store = place();
            let acme = tenant(&*store, "acme");
            let mut naive = Naive::default();
            for step in steps {
                if let Step::Reopen = step {
                    drop(store);
                    store = place();
                } else {
                    naive.follow(&*store, &acme, step)?;
                }
                naive.check(&*store, &acme)?;
            }
            Ok(())
        })
        .expect("the store answers as the map does");
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Written>, usize),
    Delete(RecordKey),
    /// Vectors for the first chunks that lack one in a space.
    Complete(usize, usize),
    Drop(usize, usize),
    Reopen,
}

#[derive(Debug, Clone)]
struct Written {
    key: RecordKey,
    facets: Facets,
    /// What each chunk says, and its vector, if it comes with one.
    chunks: Vec<(u8, Option<f32>)>,
}

fn spaces() -> [SpaceId; 2] {
    [space("m"), space("n")]
}

fn key() -> impl Strategy<Value = RecordKey> {
    (prop::sample::select(vec![Corpus::Runbooks, Corpus::Alerts]), 0..5u8)
        .prop_map(|(corpus, n)| RecordKey::new(corpus, RecordId::new(format!("r{n}")).expect("an id")))
}

fn facets() -> impl Strategy<Value = Facets> {
    let word = || prop::option::of(prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned));
    (0..4i64, word(), word(), prop::bool::ANY).prop_map(|(second, service, status, labelled)| Facets {
        service,
        status,
        labels: labelled.then(|| ("zone".to_owned(), "1".to_owned())).into_iter().collect(),
        ..Facets::at(Timestamp::from_second(second).expect("in range"))
    })
}

fn step() -> impl Strategy<Value = Step> {
    // Texts differ inside a record: which of two equal ones a vector belonged to is nobody's promise.
    let texts = prop::sample::subsequence(vec![1u8, 2, 3, 4], 0..=3);
    let chunks = (texts, prop::option::of(1..4u8)).prop_map(|(texts, vector)| {
        texts.into_iter().map(|text| (text, vector.map(f32::from))).collect::<Vec<_>>()
    });
    let written = (key(), facets(), chunks).prop_map(|(key, facets, chunks)| Written { key, facets, chunks });
    prop_oneof![
        5 => (prop::collection::vec(written, 1..4), 0..2usize).prop_map(|(all, space)| Step::Write(all, space)),
        2 => key().prop_map(Step::Delete),
        2 => (0..2usize, 1..4usize).prop_map(|(space, n)| Step::Complete(space, n)),
        1 => (0..2usize, 1..4usize).prop_map(|(space, n)| Step::Drop(space, n)),
        1 => Just(Step::Reopen),
    ]
}

/// What a record is, in the map.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    facets: Facets,
    chunks: Vec<u8>,
    /// Vectors by space and text.
    vectors: BTreeMap<(usize, u8), f32>,
    seq: Seq,
}

#[derive(Default)]
struct Naive {
    records: BTreeMap<RecordKey, Held>,
    removed: BTreeMap<RecordKey, Seq>,
    seq: Seq,
}

impl Naive {
    fn follow(&mut self, store: &dyn Store, acme: &TenantScope, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Write(all, of) => {
                let changes = all.iter().map(put).collect();
                let expect: Vec<_> = all.into_iter().map(|written| self.put(written, of)).collect();
                let committed =
                    store.commit(acme, Batch { space: Some(spaces()[of].clone()), changes }).expect("commit");
                prop_assert_eq!((committed.outcomes, committed.seq), (expect, self.seq));
            }
            Step::Delete(key) => {
                let outcome = match self.records.remove(&key) {
                    Some(_) => {
                        self.seq += 1;
                        self.removed.insert(key.clone(), self.seq);
                        Outcome::Deleted
                    }
                    None => Outcome::Missing,
                };
                let changes = vec![Change::Delete(key)];
                let committed = store.commit(acme, Batch { space: None, changes }).expect("commit");
                prop_assert_eq!((committed.outcomes, committed.seq), (vec![outcome], self.seq));
            }
            Step::Complete(of, n) => self.complete(store, acme, of, n)?,
            Step::Drop(of, n) => {
                // Which of them go is the store's affair; how many is not.
                let space = &spaces()[of];
                let before: usize = self.vectors_in(of).count();
                let dropped = store.drop_vectors(acme, space, n).expect("drop");
                prop_assert_eq!(dropped as usize, n.min(before));
                for (key, held) in &mut self.records {
                    let left = texts_with_vectors(store, acme, key, space, &held.chunks);
                    held.vectors.retain(|(at, text), _| *at != of || left.contains(text));
                }
                prop_assert_eq!(self.vectors_in(of).count(), before - n.min(before));
            }
            Step::Reopen => {}
        }
        Ok(())
    }

    fn put(&mut self, written: Written, of: usize) -> Outcome {
        let texts: Vec<u8> = written.chunks.iter().map(|(text, _)| *text).collect();
        let given = written.chunks.iter().filter_map(|(text, vector)| Some(((of, *text), (*vector)?)));
        let before = self.records.get(&written.key);
        let same = before.is_some_and(|held| held.facets == written.facets && held.chunks == texts);
        // A text that was embedded before keeps its vectors; what comes with the write goes first,
        // except where nothing but vectors is new.
        let mut vectors: BTreeMap<_, _> = before
            .into_iter()
            .flat_map(|held| held.vectors.clone())
            .filter(|((_, text), _)| texts.contains(text))
            .collect();
        let n_before = vectors.len();
        for (at, vector) in given {
            if same {
                vectors.entry(at).or_insert(vector);
            } else {
                vectors.insert(at, vector);
            }
        }
        let outcome = match before {
            None => Outcome::Created,
            Some(_) if same => Outcome::Unchanged,
            Some(_) => Outcome::Updated,
        };
        let mut seq = before.map_or(0, |held| held.seq);
        if outcome != Outcome::Unchanged || vectors.len() > n_before {
            self.seq += 1;
            seq = self.seq;
        }
        self.removed.remove(&written.key);
        self.records.insert(written.key, Held { facets: written.facets, chunks: texts, vectors, seq });
        outcome
    }

    /// Gives vectors to chunks as the backlog does, and checks who is told about it.
    fn complete(
        &mut self,
        store: &dyn Store,
        acme: &TenantScope,
        of: usize,
        n: usize,
    ) -> Result<(), TestCaseError> {
        let space = &spaces()[of];
        let missing = store.chunks_without_vector(acme, space, n).expect("missing");
        let vectors = missing.iter().map(|chunk| (chunk.id, vec![9.0, 1.0])).collect();
        let after = store.put_vectors(acme, space, vectors).expect("put vectors");
        let touched: BTreeSet<&RecordKey> = missing.iter().map(|chunk| &chunk.key).collect();
        prop_assert_eq!(after, self.seq + touched.len() as u64);
        let mut seqs = BTreeSet::new();
        for key in touched {
            let record = store.get(acme, key).expect("get").expect("it has chunks");
            prop_assert!(record.seq > self.seq && record.seq <= after && seqs.insert(record.seq));
            self.records.get_mut(key).expect("in the map too").seq = record.seq;
        }
        for chunk in missing {
            let held = self.records.get_mut(&chunk.key).expect("in the map too");
            held.vectors.insert((of, text_of(&chunk.text)), 9.0);
        }
        self.seq = after;
        Ok(())
    }

    fn vectors_in(&self, of: usize) -> impl Iterator<Item = &f32> {
        let all = self.records.values().flat_map(|held| &held.vectors);
        all.filter(move |((at, _), _)| *at == of).map(|(_, vector)| vector)
    }

    /// Every question, answered by both.
    fn check(&self, store: &dyn Store, acme: &TenantScope) -> Result<(), TestCaseError> {
        prop_assert_eq!(store.last_seq(acme).expect("seq"), self.seq);
        for (key, held) in &self.records {
            let record = store.get(acme, key).expect("get").expect("there");
            prop_assert_eq!((&record.facets, record.seq), (&held.facets, held.seq));
            let chunks = store.chunks_of(acme, key).expect("chunks");
            let texts: Vec<u8> = chunks.iter().map(|chunk| text_of(&chunk.text)).collect();
            prop_assert_eq!(&texts, &held.chunks);
            for (of, space) in spaces().iter().enumerate() {
                let expect: Vec<f32> =
                    held.chunks.iter().filter_map(|text| held.vectors.get(&(of, *text)).copied()).collect();
                let rows = store.vectors_of(acme, key, space).expect("vectors");
                prop_assert_eq!(rows.iter().map(|row| row.vector[0]).collect::<Vec<_>>(), expect);
                prop_assert!(rows.iter().all(|row| row.facets == held.facets && row.id == key.id));
            }
        }
        for key in self.removed.keys() {
            prop_assert!(store.get(acme, key).expect("get").is_none());
        }
        for corpus in [Corpus::Runbooks, Corpus::Alerts] {
            self.check_corpus(store, acme, corpus)?;
        }
        let n_chunks: usize = self.records.values().map(|held| held.chunks.len()).sum();
        let mut stored = Vec::new();
        for (of, space) in spaces().iter().enumerate() {
            let n_vectors = self.vectors_in(of).count();
            let count = store.vector_count(acme, space).expect("count");
            prop_assert_eq!((count.chunks, count.vectors), (n_chunks as u64, n_vectors as u64));
            let missing = store.chunks_without_vector(acme, space, usize::MAX).expect("missing");
            prop_assert_eq!(missing.len(), n_chunks - n_vectors);
            stored.extend((n_vectors > 0).then(|| space.clone()));
        }
        let mut found = store.spaces(acme).expect("spaces");
        for names in [&mut stored, &mut found] {
            names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        }
        prop_assert_eq!(found, stored);
        Ok(())
    }

    fn check_corpus(
        &self,
        store: &dyn Store,
        acme: &TenantScope,
        corpus: Corpus,
    ) -> Result<(), TestCaseError> {
        let second = |n| Some(Timestamp::from_second(n).expect("in range"));
        let filters = [
            Filter::default(),
            Filter { service: vec!["a".into()], ..Filter::default() },
            Filter { status: vec!["a".into(), "b".into()], since: second(1), ..Filter::default() },
            Filter { until: second(2), labels: [("zone".into(), "1".into())].into(), ..Filter::default() },
        ];
        let of_corpus = || self.records.iter().filter(|(key, _)| key.corpus == corpus);
        for filter in filters {
            let mut expect: Vec<_> = of_corpus().filter(|(_, held)| filter.matches(&held.facets)).collect();
            expect.sort_by(|(a, x), (b, y)| {
                y.facets.at.cmp(&x.facets.at).then(a.id.as_str().cmp(b.id.as_str()))
            });
            let expect: Vec<&str> = expect.into_iter().map(|(key, _)| key.id.as_str()).collect();
            let query = ListQuery { filter: filter.clone(), limit: 100, cursor: None };
            let page = store.list(acme, corpus, &query).expect("list");
            let listed: Vec<&str> = page.records.iter().map(|record| record.key.id.as_str()).collect();
            prop_assert_eq!(&listed, &expect);
            prop_assert_eq!(store.count(acme, corpus, &filter).expect("count"), expect.len() as u64);
        }
        // Whoever follows from any change on sees every later one, once, in order.
        for from in [0, self.seq / 2, self.seq] {
            let held = of_corpus().map(|(key, held)| (held.seq, key.clone(), true));
            let removed = self.removed.iter().filter(|(key, _)| key.corpus == corpus);
            let removed = removed.map(|(key, seq)| (*seq, key.clone(), false));
            let mut expect: Vec<_> = held.chain(removed).filter(|(seq, ..)| *seq > from).collect();
            expect.sort_by_key(|(seq, ..)| *seq);
            let changes = store.changes_after(acme, corpus, from, usize::MAX).expect("changes");
            let found: Vec<_> = changes
                .into_iter()
                .map(|change| (change.seq, change.key, matches!(change.entry, Entry::Present(_))))
                .collect();
            prop_assert_eq!(found, expect);
        }
        Ok(())
    }
}

fn put(written: &Written) -> Change {
    let Written { key, facets, chunks } = written;
    let record = RecordDraft {
        key: key.clone(),
        title: String::new(),
        facets: facets.clone(),
        text: String::new(),
        body: serde_json::Value::Null,
    };
    let piece = |(text, vector): &(u8, Option<f32>)| {
        let components = vector.map(|vector| [vector, 1.0]);
        chunk(&format!("text {text}"), components.as_ref().map(|components| &components[..]))
    };
    super::put(record, &chunks.iter().map(piece).collect::<Vec<_>>())
}

fn text_of(text: &str) -> u8 {
    text.strip_prefix("text ").and_then(|n| n.parse().ok()).expect("a text of ours")
}

/// The texts of a record's chunks that have a vector in a space.
fn texts_with_vectors(
    store: &dyn Store,
    acme: &TenantScope,
    key: &RecordKey,
    space: &SpaceId,
    texts: &[u8],
) -> BTreeSet<u8> {
    let chunks = store.chunks_of(acme, key).expect("chunks");
    let rows = store.vectors_of(acme, key, space).expect("vectors");
    let with: BTreeSet<u64> = rows.iter().map(|row| row.chunk).collect();
    chunks.iter().zip(texts).filter(|(chunk, _)| with.contains(&chunk.id)).map(|(_, text)| *text).collect()
}
