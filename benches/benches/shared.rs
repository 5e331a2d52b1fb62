//! What one machine carries, in the embedded store and in PostgreSQL: rows, queries, memory, disk.
//!
//! One tenant, one passage a record, 384 components around 500 centres, made here. Prints a table
//! rather than criterion's lines: loading a million rows for each of its samples would take days.
//!
//! `ATLAS_TEST_POSTGRES` names a PostgreSQL with pgvector; without it only the embedded store is
//! measured. `ATLAS_BENCH_SIZES` is a list of sizes, 10000,100000 unless it is set.

#![expect(clippy::print_stdout, reason = "a table for people")]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use atlas_benches::{Clusters, DIMENSION, bytes_under, space};
use atlas_domain::{
    Corpus, Facets, Filter, RecordDraft, RecordId, RecordKey, TenantScope, TextHash, Timestamp,
};
use atlas_index::{SpaceVector, VectorIndex, VectorKind, VectorLeg};
use atlas_store::{Batch, Change, ChunkDraft, NearQuery, PostgresStore, SqliteStore, Store};
use atlas_testkit::postgres::Database;

const QUERIES: usize = 200;
const BATCH: usize = 1_000;
const SERVICES: usize = 100;
const TOP: usize = 10;

fn facets(number: usize) -> Facets {
    Facets { service: Some(format!("service-{}", number % SERVICES)), ..Facets::at(Timestamp::UNIX_EPOCH) }
}

fn id(number: usize) -> RecordId {
    RecordId::new(format!("record-{number}")).expect("short and printable")
}

fn put(number: usize, vector: Vec<f32>) -> Change {
    let text = format!("passage {number} {}", "about a service that waits for a connection ".repeat(6));
    let chunk =
        ChunkDraft { heading: "Mitigation".into(), hash: TextHash::of(&text), text, vector: Some(vector) };
    let record = RecordDraft {
        key: RecordKey::new(Corpus::Runbooks, id(number)),
        title: format!("Runbook {number}"),
        facets: facets(number),
        text: chunk.text.clone(),
        body: serde_json::json!({ "id": number }),
    };
    Change::Put { record, chunks: vec![chunk] }
}

/// Writes `size` rows in batches, as an import does; rows per second.
fn load(store: &dyn Store, scope: &TenantScope, size: usize) -> f64 {
    let mut vectors = Clusters::new(7);
    let began = Instant::now();
    for first in (0..size).step_by(BATCH) {
        let changes = (first..size.min(first + BATCH)).map(|number| put(number, vectors.vector())).collect();
        store.commit(scope, Batch { space: Some(space()), changes }).expect("committed");
    }
    size as f64 / began.elapsed().as_secs_f64()
}

/// What is asked, and what the right answers are.
struct Questions {
    vectors: Vec<Vec<f32>>,
    filter: Filter,
    nearest: Vec<HashSet<RecordId>>,
}

impl Questions {
    /// With a float comparison of everything that matches.
    fn new(size: usize, filter: Filter) -> Self {
        let mut source = Clusters::new(99);
        let vectors: Vec<Vec<f32>> = (0..QUERIES).map(|_| source.vector()).collect();
        let mut best: Vec<Vec<(f32, usize)>> = vec![Vec::new(); QUERIES];
        let mut rows = Clusters::new(7);
        for number in 0..size {
            let row = rows.vector();
            if !filter.matches(&facets(number)) {
                continue;
            }
            for (query, best) in vectors.iter().zip(&mut best) {
                let score: f32 = query.iter().zip(&row).map(|(a, b)| a * b).sum();
                if best.len() < TOP || score > best[TOP - 1].0 {
                    let place = best.partition_point(|(other, _)| *other >= score);
                    best.insert(place, (score, number));
                    best.truncate(TOP);
                }
            }
        }
        let nearest = best.into_iter().map(|best| best.into_iter().map(|(_, number)| id(number)).collect());
        Self { vectors, filter, nearest: nearest.collect() }
    }
}

struct Measured {
    p50: Duration,
    per_second: f64,
    recall: f64,
}

/// One client after another question; then the recall of what was answered.
fn ask(questions: &Questions, answer: impl Fn(&[f32], &Filter) -> Vec<RecordId>) -> Measured {
    for vector in questions.vectors.iter().take(20) {
        answer(vector, &questions.filter);
    }
    let mut took = Vec::with_capacity(QUERIES);
    let mut right = 0;
    for (vector, nearest) in questions.vectors.iter().zip(&questions.nearest) {
        let began = Instant::now();
        let found = answer(vector, &questions.filter);
        took.push(began.elapsed());
        right += found.iter().filter(|id| nearest.contains(id)).count();
    }
    let total: Duration = took.iter().sum();
    took.sort_unstable();
    let wanted: usize = questions.nearest.iter().map(HashSet::len).sum();
    Measured {
        p50: took[took.len() / 2],
        per_second: QUERIES as f64 / total.as_secs_f64(),
        recall: right as f64 / wanted.max(1) as f64,
    }
}

fn row(store: &str, size: usize, load: f64, all: &Measured, narrow: &Measured, memory: u64, disk: u64) {
    let cell = |measured: &Measured| {
        format!(
            "{:.2} ms, {:.0}/s, {:.3}",
            measured.p50.as_secs_f64() * 1e3,
            measured.per_second,
            measured.recall
        )
    };
    println!(
        "| {store} | {size} | {load:.0} | {} | {} | {} | {} |",
        cell(all),
        cell(narrow),
        memory >> 20,
        disk >> 20
    );
}

/// The memory of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

fn embedded(size: usize, all: &Questions, narrow: &Questions) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(dir.path()).expect("opened");
    let scope = atlas_testkit::store_suite::tenant(&store, "bench");
    let before = resident();
    let rate = load(&store, &scope, size);
    let space = space();
    let mut index = VectorIndex::new(space.clone(), DIMENSION, VectorKind::Auto);
    let mut vectors = Clusters::new(7);
    for number in 0..size {
        let components = &vectors.vector();
        index
            .put(number as u64, &id(number), &facets(number), SpaceVector { space: &space, components })
            .expect("a vector of the space");
    }
    let answer = |vector: &[f32], filter: &Filter| {
        let query = SpaceVector { space: &space, components: vector };
        let found = index.search(query, filter, TOP).expect("a vector of the space");
        found.into_iter().map(|hit| hit.id).collect()
    };
    let (all, narrow) = (ask(all, answer), ask(narrow, answer));
    store.close();
    row("SQLite", size, rate, &all, &narrow, resident().saturating_sub(before), bytes_under(dir.path()));
}

fn shared(size: usize, all: &Questions, narrow: &Questions) {
    let Some(database) = Database::create("PostgreSQL in the table") else { return };
    let store = database.open();
    let scope = atlas_testkit::store_suite::tenant(&store, "bench");
    let before = resident();
    let rate = load(&store, &scope, size);
    database.admin("VACUUM ANALYZE atlasai.records, atlasai.chunks, atlasai.vectors");
    let began = Instant::now();
    let built =
        PostgresStore::index(database.connect(), database.options(&database.owner())).expect("indexed");
    let building = began.elapsed();
    // A server believes its list of graphs for half a minute.
    let store = database.open();
    let space = space();
    let answer = |vector: &[f32], filter: &Filter| {
        let query = NearQuery { space: &space, vector, filter, limit: TOP };
        let search = store.vector_search().expect("it has one");
        let found = search.nearest(&scope, Corpus::Runbooks, query).expect("found");
        found.into_iter().map(|near| near.id).collect()
    };
    let (all, narrow) = (ask(all, answer), ask(narrow, answer));
    let memory = resident().saturating_sub(before);
    let disk = database.admin_value("SELECT pg_database_size(current_database())::text");
    row("PostgreSQL", size, rate, &all, &narrow, memory, disk.parse().unwrap_or(0));
    if !built.is_empty() {
        println!("<!-- graph of {size}: {:.0} s -->", building.as_secs_f64());
    }
}

fn main() {
    #[expect(clippy::disallowed_methods, reason = "a bench is told by its caller how far to go")]
    let sizes = std::env::var("ATLAS_BENCH_SIZES").unwrap_or_else(|_| "10000,100000".to_owned());
    println!(
        "| store | passages | written/s | top 10 of all: p50, rate, recall | of 1 %: p50, rate, recall | MiB memory | MiB disk |"
    );
    println!("|---|---:|---:|---|---|---:|---:|");
    for size in sizes.split(',').filter_map(|size| size.trim().parse().ok()) {
        let all = Questions::new(size, Filter::default());
        let narrow = Questions::new(size, Filter { service: vec!["service-7".into()], ..Filter::default() });
        embedded(size, &all, &narrow);
        shared(size, &all, &narrow);
    }
}
