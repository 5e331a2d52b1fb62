use std::collections::BTreeMap;

use atlas_domain::{EmbeddingSpace, Facets, Filter, Pooling, RecordId, SpaceId, Timestamp};
use proptest::prelude::*;

use super::{SpaceVector, VectorBuild, VectorBuilt, VectorIndex, VectorKind, VectorLeg};
use crate::IndexError;

fn space(model: &str) -> SpaceId {
    EmbeddingSpace {
        engine: "test".into(),
        model: model.into(),
        revision: "1".into(),
        dimension: 8,
        pooling: Pooling::Mean,
        precision: "f32".into(),
    }
    .id()
}

fn id(number: usize) -> RecordId {
    RecordId::new(format!("r{number}")).expect("short and printable")
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("near the epoch")
}

/// A small generator, so that sets are equal on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    }

    fn vector(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.next()).collect()
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

/// The leg without any cleverness.
#[derive(Default)]
struct Naive(BTreeMap<u64, (RecordId, Facets, Vec<f32>)>);

impl Naive {
    /// The best cosine of each matching record, best first.
    fn search(&self, query: &[f32], filter: &Filter) -> Vec<(f64, RecordId)> {
        let mut best: BTreeMap<&RecordId, f64> = BTreeMap::new();
        for (id, _, vector) in self.0.values().filter(|(_, facets, _)| filter.matches(facets)) {
            let score = cosine(query, vector);
            let known = best.entry(id).or_insert(score);
            *known = known.max(score);
        }
        let mut ranking: Vec<_> = best.into_iter().map(|(id, score)| (score, id.clone())).collect();
        ranking.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        ranking
    }
}

/// The answer has as many records as it must, every score is its record's best, and no record
/// that is better by more than rounding was left out.
#[track_caller]
fn check(index: &VectorIndex, naive: &Naive, space: &SpaceId, query: &[f32], filter: &Filter, depth: usize) {
    let expected = naive.search(query, filter);
    let hits =
        index.search(SpaceVector { space, components: query }, filter, depth).expect("a vector of the space");
    assert_eq!(hits.len(), depth.min(expected.len()));
    for (hit, (score, _)) in hits.iter().zip(&expected) {
        assert!((f64::from(hit.score) - score).abs() < 1e-5, "{hit:?} where {score} is best");
        let (owner, facets, vector) = naive.0.get(&hit.chunk).expect("a live chunk");
        assert_eq!(*owner, hit.id);
        assert!(filter.matches(facets));
        assert!((cosine(query, vector) - f64::from(hit.score)).abs() < 1e-5);
    }
    let mut ids: Vec<_> = hits.iter().map(|hit| &hit.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), hits.len(), "a record answers once");
}

#[derive(Debug, Clone)]
enum Step {
    Put {
        chunk: u64,
        record: usize,
        facets: Facets,
        vector: Vec<f32>,
    },
    Remove(usize),
    Search {
        query: Vec<f32>,
        filter: Box<Filter>,
        depth: usize,
    },
    /// Takes a build, or puts in the one that was taken.
    Build,
    /// Writes the file and rests on it.
    Save,
    /// Writes the file and goes on with what it holds.
    Reopen,
}

fn some_facets() -> impl Strategy<Value = Facets> {
    let word = || prop::option::of(prop::sample::select(vec!["a".to_owned(), "b".to_owned()]));
    (0i64..6, word(), word(), word(), word(), word(), word()).prop_map(
        |(second, service, severity, source, status, link, label)| Facets {
            service,
            severity,
            source,
            status,
            link,
            labels: label.into_iter().map(|value| ("team".to_owned(), value)).collect(),
            ..Facets::at(at(second))
        },
    )
}

fn some_filter() -> impl Strategy<Value = Filter> {
    let words = || {
        prop::collection::vec(
            prop::sample::select(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]),
            0..2,
        )
    };
    let time = || prop::option::weighted(0.3, (0i64..6).prop_map(at));
    (time(), time(), words(), words(), words(), words()).prop_map(
        |(since, until, service, severity, link, label)| Filter {
            since,
            until,
            service,
            severity,
            link,
            labels: label.into_iter().map(|value| ("team".to_owned(), value)).collect(),
            ..Filter::default()
        },
    )
}

fn some_step() -> impl Strategy<Value = Step> {
    let vector = || prop::collection::vec(-1.0f32..1.0, 8);
    prop_oneof![
        6 => (0u64..200, 0usize..60, some_facets(), vector())
            .prop_map(|(chunk, record, facets, vector)| Step::Put { chunk, record, facets, vector }),
        2 => (0usize..60).prop_map(Step::Remove),
        2 => (vector(), some_filter(), 0usize..12)
            .prop_map(|(query, filter, depth)| Step::Search { query, filter: Box::new(filter), depth }),
        1 => Just(Step::Build),
        1 => prop::sample::select(vec![Step::Save, Step::Reopen]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_history_answers_like_a_plain_map(
        kind in prop::sample::select(vec![VectorKind::Auto, VectorKind::Flat, VectorKind::Hnsw, VectorKind::HnswRs]),
        steps in prop::collection::vec(some_step(), 0..400),
    ) {
        let space = space("m");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("leg.vectors");
        let mut index = VectorIndex::new(space.clone(), 8, kind);
        let mut build = None;
        let mut naive = Naive::default();
        for step in steps {
            match step {
                Step::Put { chunk, record, facets, vector } => {
                    let vector_of_space = SpaceVector { space: &space, components: &vector };
                    index.put(chunk, &id(record), &facets, vector_of_space).expect("a vector of the space");
                    naive.0.insert(chunk, (id(record), facets, vector));
                }
                Step::Remove(record) => {
                    let had = naive.0.values().any(|(owner, ..)| *owner == id(record));
                    prop_assert_eq!(index.remove(&id(record)), had);
                    naive.0.retain(|_, (owner, ..)| *owner != id(record));
                }
                Step::Search { query, filter, depth } => check(&index, &naive, &space, &query, &filter, depth),
                Step::Build => match build.take() {
                    None => build = index.next_build(),
                    Some(taken) => index.install(whole(taken)).expect("undamaged"),
                },
                Step::Save => {
                    let saved = index.snapshot().write(&file, 7, &|| true).expect("room").expect("not stopped");
                    index.rest_on(saved);
                    prop_assert_eq!(index.unsaved(), 0);
                }
                Step::Reopen => {
                    index.snapshot().write(&file, 7, &|| true).expect("room").expect("not stopped");
                    let loaded = VectorIndex::load(&file, &space, 8, kind).expect("undamaged").expect("there");
                    prop_assert_eq!(loaded.covers, 7);
                    index = loaded.index;
                }
            }
            prop_assert_eq!(index.len(), naive.0.len());
        }
        check(&index, &naive, &space, &[0.5; 8], &Filter::default(), 5);
    }
}

/// The whole of a build.
fn whole(build: VectorBuild) -> VectorBuilt {
    build.run(&|| true).expect("in memory").expect("nobody stopped it")
}

/// Builds until there is nothing left to build.
fn settle(index: &mut VectorIndex) {
    while let Some(build) = index.next_build() {
        index.install(whole(build)).expect("in memory");
    }
}

/// Rows that the graph covers.
fn covered(index: &VectorIndex) -> u32 {
    index.graph.as_ref().map_or(0, |graph| graph.covered())
}

/// `count` records of one chunk each around a few centres.
fn clustered(kind: VectorKind, count: usize, dimension: usize) -> (VectorIndex, Naive, SpaceId, Random) {
    let space = space("m");
    let mut random = Random(7);
    let centres: Vec<Vec<f32>> = (0..40).map(|_| random.vector(dimension)).collect();
    let mut index = VectorIndex::new(space.clone(), dimension, kind);
    let mut naive = Naive::default();
    for number in 0..count {
        let vector: Vec<f32> = centres[number % 40].iter().map(|x| x + 0.8 * random.next()).collect();
        let facets = Facets { service: Some(format!("s{}", number % 100)), ..Facets::at(at(number as i64)) };
        index
            .put(number as u64, &id(number), &facets, SpaceVector { space: &space, components: &vector })
            .expect("a vector of the space");
        naive.0.insert(number as u64, (id(number), facets, vector));
    }
    settle(&mut index);
    (index, naive, space, random)
}

fn recall(index: &VectorIndex, naive: &Naive, space: &SpaceId, queries: &[Vec<f32>]) -> f64 {
    let mut found = 0;
    for query in queries {
        let hits = index
            .search(SpaceVector { space, components: query }, &Filter::default(), 10)
            .expect("a vector of the space");
        assert_eq!(hits.len(), 10);
        let truth = naive.search(query, &Filter::default());
        found += hits.iter().filter(|hit| truth[..10].iter().any(|(_, id)| *id == hit.id)).count();
        assert!(hits.iter().all(|hit| naive.0.contains_key(&hit.chunk)), "a removed chunk was returned");
    }
    found as f64 / (10 * queries.len()) as f64
}

/// Puts a record of one chunk whose time is its number.
fn put(index: &mut VectorIndex, naive: &mut Naive, space: &SpaceId, number: usize, vector: Vec<f32>) {
    let facets = Facets::at(at(number as i64));
    index
        .put(number as u64, &id(number), &facets, SpaceVector { space, components: &vector })
        .expect("a vector of the space");
    naive.0.insert(number as u64, (id(number), facets, vector));
}

#[test]
fn the_scan_finds_exactly_the_true_ten() {
    let (index, naive, space, mut random) = clustered(VectorKind::Flat, 3000, 96);
    let queries: Vec<_> = (0..40).map(|_| random.vector(96)).collect();
    assert_eq!(recall(&index, &naive, &space, &queries), 1.0);
}

#[test]
fn the_graph_finds_ninety_nine_of_a_hundred_in_many_dimensions() {
    let (index, naive, space, mut random) = clustered(VectorKind::Hnsw, 4000, 384);
    assert_eq!(covered(&index), 4000);
    // Near what is there, as questions are: from nowhere all rows are equally far.
    let mut near = |number: u64| naive.0[&number].2.iter().map(|x| x + 0.4 * random.next()).collect();
    let queries: Vec<_> = (0..40).map(|number| near(number * 99)).collect();
    let reached = recall(&index, &naive, &space, &queries);
    assert!(reached >= 0.99, "{reached}");
}

/// Copies whose cosines differ by less than halves of codes can tell.
#[test]
fn near_copies_are_told_apart_by_the_scan() {
    let space = space("m");
    let mut random = Random(11);
    let original = random.vector(256);
    let mut index = VectorIndex::new(space.clone(), 256, VectorKind::Flat);
    let mut naive = Naive::default();
    for number in 0..2000 {
        let copy = original.iter().map(|x| x + 0.05 * random.next()).collect();
        put(&mut index, &mut naive, &space, number, copy);
    }
    let queries: Vec<_> = (0..20).map(|_| random.vector(256)).collect();
    assert_eq!(recall(&index, &naive, &space, &queries), 1.0);
}

#[test]
fn either_graph_finds_nearly_all_and_nothing_that_was_removed() {
    check_recall_beside_dead_rows(VectorKind::Hnsw, 0.99);
    check_recall_beside_dead_rows(VectorKind::HnswRs, 0.95);
}

#[track_caller]
fn check_recall_beside_dead_rows(kind: VectorKind, least: f64) {
    let (mut index, mut naive, space, mut random) = clustered(kind, 3000, 32);
    assert_eq!(covered(&index), 3000);
    for number in (0..3000).step_by(9) {
        index.remove(&id(number));
        naive.0.remove(&(number as u64));
    }
    settle(&mut index);
    assert_eq!(index.rows.len(), 3000, "a ninth dead is no reason to compact");
    let queries: Vec<_> = (0..40).map(|_| random.vector(32)).collect();
    let reached = recall(&index, &naive, &space, &queries);
    assert!(reached >= least, "{kind:?}: {reached}");
}

#[test]
fn filters_with_few_matches_are_exact_beside_a_graph() {
    for kind in [VectorKind::Hnsw, VectorKind::HnswRs] {
        check_filters_beside_a_graph(kind);
    }
}

fn check_filters_beside_a_graph(kind: VectorKind) {
    let (index, naive, space, mut random) = clustered(kind, 2000, 16);
    for service in ["s0", "s17", "s99", "nobody"] {
        let filter = Filter { service: vec![service.into()], ..Filter::default() };
        check(&index, &naive, &space, &random.vector(16), &filter, 30);
    }
    let most = Filter { since: Some(at(100)), ..Filter::default() };
    let query = random.vector(16);
    let hits =
        index.search(SpaceVector { space: &space, components: &query }, &most, 10).expect("of the space");
    assert_eq!(hits.len(), 10);
    assert!(hits.iter().all(|hit| hit.chunk >= 100));
}

#[test]
fn a_graph_that_runs_short_leaves_the_answer_to_the_scan() {
    for kind in [VectorKind::Hnsw, VectorKind::HnswRs] {
        let (index, naive, space, mut random) = clustered(kind, 400, 16);
        check(&index, &naive, &space, &random.vector(16), &Filter::default(), 400);
    }
}

#[test]
fn compaction_changes_no_answer_and_the_graph_catches_up_after_it() {
    for kind in [VectorKind::Flat, VectorKind::Hnsw, VectorKind::HnswRs] {
        let (mut index, mut naive, space, mut random) = clustered(kind, 1000, 16);
        for number in 0..400 {
            index.remove(&id(number));
            naive.0.remove(&(number as u64));
        }
        settle(&mut index);
        assert!(index.rows.len() < 800, "dead rows were dropped");
        let query = random.vector(16);
        check(&index, &naive, &space, &query, &Filter::default(), 10);
        for number in 1000..1400 {
            put(&mut index, &mut naive, &space, number, random.vector(16));
        }
        settle(&mut index);
        let behind = index.rows.len() - covered(&index);
        assert!(kind == VectorKind::Flat || behind < index.rows.len() / 8, "{behind} rows without a graph");
        check(&index, &naive, &space, &query, &Filter::default(), 10);
    }
}

#[test]
fn what_happens_during_a_build_is_in_the_answers_before_and_after_it() {
    for kind in [VectorKind::Hnsw, VectorKind::HnswRs] {
        let (mut index, mut naive, space, mut random) = clustered(kind, 1000, 16);
        (0..300).for_each(|number| {
            index.remove(&id(number));
            naive.0.remove(&(number as u64));
        });
        let build = index.next_build().expect("almost a third are dead");
        (300..350).for_each(|number| {
            index.remove(&id(number));
            naive.0.remove(&(number as u64));
        });
        (340..400).for_each(|number| put(&mut index, &mut naive, &space, number, random.vector(16)));
        (1000..1050).for_each(|number| put(&mut index, &mut naive, &space, number, random.vector(16)));
        let queries: Vec<_> = (0..5).map(|_| random.vector(16)).collect();
        queries.iter().for_each(|query| check(&index, &naive, &space, query, &Filter::default(), 10));
        index.install(whole(build)).expect("in memory");
        assert_eq!(index.len(), naive.0.len());
        queries.iter().for_each(|query| check(&index, &naive, &space, query, &Filter::default(), 10));
        let late = Filter { since: Some(at(900)), ..Filter::default() };
        queries.iter().for_each(|query| check(&index, &naive, &space, query, &late, 10));
        settle(&mut index);
        queries.iter().for_each(|query| check(&index, &naive, &space, query, &Filter::default(), 10));
    }
}

#[test]
fn a_build_for_row_numbers_that_are_gone_is_dropped() {
    let (mut index, mut naive, space, mut random) = clustered(VectorKind::Hnsw, 1000, 16);
    (1000..1200).for_each(|number| put(&mut index, &mut naive, &space, number, random.vector(16)));
    let late = index.next_build().expect("a sixth is not covered");
    (0..400).for_each(|number| {
        index.remove(&id(number));
        naive.0.remove(&(number as u64));
    });
    settle(&mut index);
    let before = covered(&index);
    index.install(whole(late)).expect("in memory");
    assert_eq!(covered(&index), before);
    check(&index, &naive, &space, &random.vector(16), &Filter::default(), 10);
}

#[test]
fn a_build_that_is_told_to_stop_has_no_outcome() {
    let (index, ..) = {
        let (mut index, mut naive, space, mut random) = clustered(VectorKind::Hnsw, 100, 16);
        (100..200).for_each(|number| put(&mut index, &mut naive, &space, number, random.vector(16)));
        (index, naive)
    };
    assert!(index.next_build().expect("half is not covered").run(&|| false).expect("in memory").is_none());
}

#[test]
fn many_chunks_of_one_record_do_not_crowd_out_the_others() {
    let space = space("m");
    let mut index = VectorIndex::new(space.clone(), 2, VectorKind::Auto);
    let mut put = |chunk: u64, record: usize, components: [f32; 2]| {
        let vector = SpaceVector { space: &space, components: &components };
        index.put(chunk, &id(record), &Facets::at(at(0)), vector).expect("of the space");
    };
    (0..500).for_each(|chunk| put(chunk, 0, [1.0, 0.001 * chunk as f32]));
    (1..6).for_each(|record| put(1000 + record as u64, record, [0.1, record as f32]));
    let hits = index.search(SpaceVector { space: &space, components: &[1.0, 0.0] }, &Filter::default(), 4);
    let hits = hits.expect("of the space");
    assert_eq!(hits.iter().map(|hit| hit.id.as_str()).collect::<Vec<_>>(), ["r0", "r1", "r2", "r3"]);
    assert_eq!(hits[0].chunk, 0, "the best chunk speaks for the record");
}

#[test]
fn vectors_of_another_space_never_enter() {
    let (ours, other) = (space("ours"), space("other"));
    let mut index = VectorIndex::new(ours.clone(), 8, VectorKind::Auto);
    let foreign = SpaceVector { space: &other, components: &[1.0; 8] };
    assert!(matches!(index.put(1, &id(1), &Facets::at(at(0)), foreign), Err(IndexError::Space { .. })));
    assert!(matches!(index.search(foreign, &Filter::default(), 1), Err(IndexError::Space { .. })));
    assert!(index.is_empty());
}

#[test]
fn a_vector_that_is_none_of_ours_is_an_error_and_leaves_no_trace() {
    let space = space("m");
    let mut index = VectorIndex::new(space.clone(), 8, VectorKind::Auto);
    for components in [&[1.0f32; 7][..], &[1.0; 9], &[]] {
        let vector = SpaceVector { space: &space, components };
        assert!(matches!(
            index.put(1, &id(1), &Facets::at(at(0)), vector),
            Err(IndexError::Dimension { .. })
        ));
        assert!(matches!(index.search(vector, &Filter::default(), 1), Err(IndexError::Dimension { .. })));
    }
    for bad in [f32::NAN, f32::INFINITY] {
        let vector = SpaceVector { space: &space, components: &[bad; 8] };
        assert!(matches!(index.put(1, &id(1), &Facets::at(at(0)), vector), Err(IndexError::NotFinite)));
    }
    assert_eq!(index.len(), 0);
}

#[test]
fn length_does_not_count_and_zero_is_like_nothing() {
    let space = space("m");
    let mut index = VectorIndex::new(space.clone(), 2, VectorKind::HnswRs);
    for (number, components) in [[1e30f32, 0.0], [0.0, 1e-30], [0.0, 0.0]].iter().enumerate() {
        let vector = SpaceVector { space: &space, components };
        index.put(number as u64, &id(number), &Facets::at(at(0)), vector).expect("of the space");
    }
    let hits = index.search(SpaceVector { space: &space, components: &[2.0, 2.0] }, &Filter::default(), 5);
    let scores: Vec<_> =
        hits.expect("of the space").iter().map(|hit| (hit.id.as_str().to_owned(), hit.score)).collect();
    assert_eq!(scores.len(), 3);
    assert!((scores[0].1 - 0.70710677).abs() < 1e-6 && (scores[1].1 - 0.70710677).abs() < 1e-6, "{scores:?}");
    assert_eq!(scores[2], ("r2".to_owned(), 0.0));
}
