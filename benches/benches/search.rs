//! Search: the exact scan at three sizes, a narrow filter, the lexical leg. Graphs, recall and the
//! peer are in `vectors`.
//!
//! Vectors: 384 components around 500 centres, made here. Throughput is one query at a time.

use std::hint::black_box;
use std::time::Duration;

use atlas_benches::{Clusters, DIMENSION, Random, space};
use atlas_domain::{Facets, Filter, RecordId, SpaceId, Timestamp};
use atlas_index::{
    LexicalChange, LexicalIndex, LexicalQuery, SpaceVector, VectorIndex, VectorKind, VectorLeg,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const QUERIES: usize = 64;

fn id(number: usize) -> RecordId {
    RecordId::new(format!("record-{number}")).expect("short and printable")
}

fn filled(space: &SpaceId, vectors: &[Vec<f32>]) -> VectorIndex {
    let mut index = VectorIndex::new(space.clone(), DIMENSION, VectorKind::Flat);
    for (number, components) in vectors.iter().enumerate() {
        let facets = Facets {
            service: Some(format!("service-{}", number % 100)),
            ..Facets::at(Timestamp::UNIX_EPOCH)
        };
        index
            .put(number as u64, &id(number), &facets, SpaceVector { space, components })
            .expect("a finite vector of the space");
    }
    index
}

fn vector_leg(c: &mut Criterion) {
    let space = space();
    let mut clusters = Clusters::new(1);
    let all: Vec<Vec<f32>> = (0..60_000 + QUERIES).map(|_| clusters.vector()).collect();
    let (queries, rows) = all.split_at(QUERIES);
    let mut group = c.benchmark_group("vector_top10_384d");
    for size in [1_000, 10_000, 60_000] {
        let index = filled(&space, &rows[..size]);
        let filters = [
            ("scan", Filter::default()),
            ("filter_1pct", Filter { service: vec!["service-7".into()], ..Filter::default() }),
        ];
        for (name, filter) in filters {
            let mut next = 0;
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| {
                    next = (next + 1) % QUERIES;
                    let query = SpaceVector { space: &space, components: &queries[next] };
                    index.search(black_box(query), &filter, 10).expect("a vector of the space")
                });
            });
        }
    }
    group.finish();
}

/// Texts of 40 words from a vocabulary in which few words are frequent.
fn lexical_leg(c: &mut Criterion) {
    let mut random = Random::new(7);
    let mut word = || {
        let skewed = random.below(20_000) * random.below(20_000) / 20_000;
        format!("w{skewed:x}")
    };
    let mut words = |count: usize| (0..count).map(|_| word()).collect::<Vec<_>>().join(" ");
    let change = |number: usize, text: String| LexicalChange::Put {
        id: id(number),
        title: String::new(),
        text,
        facets: Facets {
            service: Some(format!("service-{}", number % 100)),
            ..Facets::at(Timestamp::UNIX_EPOCH)
        },
        exact: Vec::new(),
    };
    let changes: Vec<_> = (0..10_000).map(|number| change(number, words(40))).collect();
    let queries: Vec<String> = (0..QUERIES).map(|_| words(8)).collect();
    let index = LexicalIndex::open(None).expect("memory").index;
    index.apply(&changes, 1).expect("memory takes it");
    let mut group = c.benchmark_group("lexical_top50_8words");
    let filters = [
        ("all", Filter::default()),
        ("filter_1pct", Filter { service: vec!["service-7".into()], ..Filter::default() }),
    ];
    for (name, filter) in filters {
        let mut next = 0;
        group.bench_function(BenchmarkId::new(name, 10_000), |b| {
            b.iter(|| {
                next = (next + 1) % QUERIES;
                index
                    .search(LexicalQuery::words(black_box(&queries[next]), &filter), 50)
                    .expect("any text is a query")
            });
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(30)
}

criterion_group! { name = search; config = short(); targets = vector_leg, lexical_leg }
criterion_main!(search);
