//! Recall and cost of the vector leg, next to `hnsw_rs` as its author offers it (float vectors).
//!
//! Cost is CPU time of the one thread that asks or builds: on a shared machine it is steadier than
//! the clock, and it can be compared with the peers of other languages that are measured alike.
//! One JSON line per engine goes to standard output.
//!
//! ```text
//! cargo bench -p atlas-benches --bench vectors
//! cargo bench -p atlas-benches --bench vectors -- --set DIR [--engines flat,hnsw,hnsw_rs,peer]
//! ```
//!
//! A set is a directory of raw little-endian files: `base.f32` and `q.f32` (unit rows of 384),
//! `gt.i32` (the true ten of each query), `tag.u16` (0 to 999; below 10 is the filter of 1 %, below
//! 100 that of 10 %) and `gt1.i32`, `gt10.i32` (the true ten under those). Without one, vectors
//! around 2,000 centres are made here and the truth is computed.
#![expect(clippy::print_stdout, reason = "a bench prints its numbers")]

mod set;

use std::time::{Duration, Instant};

use atlas_benches::{DIMENSION, space};
use atlas_domain::{Facets, Filter, RecordId, Timestamp};
use atlas_index::{SpaceVector, VectorIndex, VectorKind, VectorLeg};
use hnsw_rs::prelude::{DistDot, Hnsw};
use set::{Set, TEN};

/// Rows of the set that is made here: more than a scan is used for.
const N_ROWS: usize = 70_000;
const N_QUERIES: usize = 200;
const RECALL: f64 = 0.99;
/// How long the queries are asked.
const ASKED_FOR: Duration = Duration::from_secs(1);
/// Queries before the clock starts: buffers have grown.
const WARM_UP: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |name: &str| {
        arguments
            .iter()
            .position(|word| word == name)
            .and_then(|at| arguments.get(at + 1))
            .map(String::as_str)
    };
    let set = match argument("--set") {
        Some(dir) => Set::read(dir.as_ref()).expect("a directory of base.f32, q.f32, gt.i32 and so on"),
        None => Set::made(N_ROWS, N_QUERIES),
    };
    for engine in argument("--engines").unwrap_or("flat,hnsw,hnsw_rs,peer").split(',') {
        match engine {
            "auto" => leg(engine, &set, VectorKind::Auto),
            "flat" => leg(engine, &set, VectorKind::Flat),
            "hnsw" => leg(engine, &set, VectorKind::Hnsw),
            "hnsw_rs" => leg(engine, &set, VectorKind::HnswRs),
            "peer" => peer(&set),
            other => panic!("{other} is not one of auto, flat, hnsw, hnsw_rs, peer"),
        }
    }
}

/// Our leg of one kind: everything, and two filters.
fn leg(name: &str, set: &Set, kind: VectorKind) {
    let space = space();
    let mut index = VectorIndex::new(space.clone(), DIMENSION, kind);
    let before = resident_mib();
    let put_cpu = cpu_of(|| {
        for (number, row) in set.rows().enumerate() {
            let facets = Facets {
                service: (set.tags[number] < 10).then(|| "one".to_owned()),
                severity: (set.tags[number] < 100).then(|| "ten".to_owned()),
                ..Facets::at(Timestamp::UNIX_EPOCH)
            };
            let id = RecordId::new(format!("r{number}")).expect("short and printable");
            let vector = SpaceVector { space: &space, components: row };
            index.put(number as u64, &id, &facets, vector).expect("a finite vector of the space");
        }
    });
    let build_cpu = cpu_of(|| {
        while let Some(build) = index.next_build() {
            let built = build.run(&|| true).expect("in memory").expect("nobody stops it");
            index.install(built).expect("in memory");
        }
    });
    println!(
        r#"{{"engine":"{name}","rows":{},"put_cpu_s":{put_cpu:.2},"build_cpu_s":{build_cpu:.2},"memory_mib":{}}}"#,
        set.n_rows(),
        resident_mib().saturating_sub(before)
    );
    let one = Filter { service: vec!["one".into()], ..Filter::default() };
    let ten = Filter { severity: vec!["ten".into()], ..Filter::default() };
    for (asked, filter, truth) in [
        ("all", Filter::default(), &set.truth),
        ("filter 1 %", one, &set.truth_of_1_percent),
        ("filter 10 %", ten, &set.truth_of_10_percent),
    ] {
        let measured = measure(set, truth, |query| {
            let query = SpaceVector { space: &space, components: query };
            let hits = index.search(query, &filter, TEN).expect("a vector of the space");
            hits.into_iter().map(|hit| hit.chunk as i32).collect()
        });
        measured.print(name, asked);
    }
}

/// `hnsw_rs` with its own float distance, at the narrowest walk that reaches the recall.
fn peer(set: &Set) {
    let graph: Hnsw<'_, f32, DistDot> = Hnsw::new(16, set.n_rows(), 16, 200, DistDot);
    let before = resident_mib();
    let build_cpu = cpu_of(|| {
        for (number, row) in set.rows().enumerate() {
            graph.insert((row, number));
        }
    });
    let memory = resident_mib().saturating_sub(before);
    println!(
        r#"{{"engine":"peer","rows":{},"build_cpu_s":{build_cpu:.2},"memory_mib":{memory}}}"#,
        set.n_rows()
    );
    for width in [32, 48, 64, 96, 128, 160, 192, 256, 384, 512] {
        let measured = measure(set, &set.truth, |query| {
            graph.search(query, TEN, width).into_iter().map(|neighbour| neighbour.d_id as i32).collect()
        });
        measured.print("peer", &format!("all, ef {width}"));
        if measured.recall >= RECALL {
            break;
        }
    }
}

struct Measured {
    recall: f64,
    per_cpu_second: f64,
    p50_us: f64,
}

impl Measured {
    fn print(&self, engine: &str, asked: &str) {
        let Self { recall, per_cpu_second, p50_us } = self;
        println!(
            r#"{{"engine":"{engine}","asked":"{asked}","recall":{recall:.4},"per_cpu_s":{per_cpu_second:.0},"p50_us":{p50_us:.1}}}"#
        );
    }
}

/// Asks every query, one at a time, again and again for a second: the system counts CPU time in
/// steps of some milliseconds.
fn measure(set: &Set, truth: &[i32], ask: impl Fn(&[f32]) -> Vec<i32>) -> Measured {
    set.queries().take(WARM_UP).for_each(|query| drop(ask(query)));
    let (mut found, mut expected, mut times) = (0, 0, Vec::new());
    let start = Instant::now();
    let cpu_s = cpu_of(|| {
        while start.elapsed() < ASKED_FOR {
            for (query, truth) in set.queries().zip(truth.as_chunks::<TEN>().0) {
                let began = Instant::now();
                let answer = ask(query);
                times.push(began.elapsed());
                found += answer.iter().filter(|row| truth.contains(row)).count();
                expected += truth.len();
            }
        }
    });
    let n_queries = times.len();
    times.sort_unstable();
    Measured {
        recall: found as f64 / expected as f64,
        per_cpu_second: n_queries as f64 / cpu_s,
        p50_us: times[n_queries / 2].as_secs_f64() * 1e6,
    }
}

/// Seconds that this thread spent on a CPU; by the clock where the system does not say.
fn cpu_of(work: impl FnOnce()) -> f64 {
    let spent = || {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    let (began, before) = (Instant::now(), spent());
    work();
    match before.zip(spent()) {
        Some((before, after)) => (after - before) as f64 / 1e9,
        None => began.elapsed().as_secs_f64(),
    }
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024
}
