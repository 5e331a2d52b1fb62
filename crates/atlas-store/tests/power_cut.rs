//! The power is cut at every write of ten workloads.
//!
//! Each workload runs once on a recorded disk. What every cut leaves is computed (nothing that
//! was not synced, all of it, or blocks of it by chance) and opened: the store must hold a prefix
//! of the batches, of which none is missing that was acknowledged. While it recovers the power is
//! cut again, and the same must hold.
//!
//! `cargo test` takes a sample; `cargo xtask crash` takes every write (`ATLAS_CUTS=all`).

#![cfg(unix)]

use std::path::{Path, PathBuf};

use atlas_domain::{Corpus, TenantScope};
use atlas_store::{Batch, Change, ChunkDraft, SqliteStore, Store};
use atlas_testkit::faulty_disk::{self, Cut, Image, Op, Watch};
use atlas_testkit::store_suite::{chunk, draft, key, put, space, tenant};
use rusqlite::Connection;

/// The files of the one tenant.
const FILES: [&str; 3] =
    ["tenants/acme/atlas.db", "tenants/acme/atlas.db-wal", "tenants/acme/atlas.db-journal"];

/// Cuts per workload in `cargo test`.
const SAMPLE: usize = 24;

/// One thing that a workload does.
enum Step {
    Commit(Batch),
    /// Vectors for chunks that were committed without.
    Vectors,
    /// The store is closed and opened again.
    Reopen,
    /// The log is written back into the database while the store is open.
    Checkpoint,
}

fn batch(changes: Vec<Change>) -> Step {
    Step::Commit(Batch { space: Some(space("m")), changes })
}

fn record(id: &str, version: i64, length: usize, vector: bool) -> Change {
    let text = format!("{id} {version} {}", "x".repeat(length));
    let components = [version as f32, 1.0];
    let pieces: Vec<ChunkDraft> = ["begin", "middle", "end"]
        .iter()
        .map(|part| chunk(&format!("{part} of {id} {version}"), vector.then_some(&components[..])))
        .collect();
    put(draft(id, version, &text), &pieces)
}

fn workloads() -> Vec<(&'static str, Vec<Step>)> {
    let ids = |n: i64, of: i64| format!("r{}", n % of);
    let each = |n: i64, step: &dyn Fn(i64) -> Vec<Step>| (0..n).flat_map(step).collect::<Vec<_>>();
    vec![
        ("small records", each(12, &|n| vec![batch(vec![record(&ids(n, 99), n, 40, false)])])),
        ("one record again and again", each(12, &|n| vec![batch(vec![record("counter", n, 200, true)])])),
        ("records of many pages", each(6, &|n| vec![batch(vec![record(&ids(n, 99), n, 60_000, false)])])),
        (
            "large batches",
            each(5, &|n| vec![batch((0..25).map(|m| record(&format!("r{n}-{m}"), n, 300, true)).collect())]),
        ),
        (
            "records that come and go",
            each(12, &|n| match n % 3 {
                2 => {
                    vec![batch(vec![Change::Delete(key(&ids(n - 2, 99))), record(&ids(n, 99), n, 90, true)])]
                }
                _ => vec![batch(vec![record(&ids(n, 99), n, 4_000, true)])],
            }),
        ),
        (
            "vectors that come later",
            each(5, &|n| vec![batch(vec![record(&ids(n, 99), n, 100, false)]), Step::Vectors]),
        ),
        (
            "a log that is written back",
            each(6, &|n| vec![batch(vec![record(&ids(n, 3), n, 9_000, true)]), Step::Checkpoint]),
        ),
        (
            "a store that is closed and opened",
            each(5, &|n| vec![batch(vec![record(&ids(n, 3), n, 2_000, true)]), Step::Reopen]),
        ),
        (
            "a log that begins anew",
            each(12, &|n| match n % 4 {
                3 => vec![batch(vec![record(&ids(n, 2), n, 100, false)]), Step::Checkpoint],
                _ => vec![batch(vec![record(&ids(n, 2), n, 30_000, false)])],
            }),
        ),
        (
            "everything in turn",
            each(4, &|n| {
                vec![
                    batch(vec![record(&ids(n, 2), n, 20_000, false), record("same", 0, 10, true)]),
                    Step::Vectors,
                    batch(vec![Change::Delete(key(&ids(n, 2)))]),
                    Step::Checkpoint,
                    batch(vec![record(&ids(n, 2), n + 50, 10, true)]),
                    Step::Reopen,
                ]
            }),
        ),
    ]
}

/// Everything that the tenant holds, as text.
fn content(store: &SqliteStore, acme: &TenantScope) -> String {
    let changes = store.changes_after(acme, Corpus::Runbooks, 0, usize::MAX).expect("changes");
    let chunks: Vec<_> =
        changes.iter().map(|change| store.chunks_of(acme, &change.key).expect("chunks")).collect();
    let vectors = store.vectors_after(acme, Corpus::Runbooks, &space("m"), 0, usize::MAX).expect("vectors");
    format!("{:?}", (store.last_seq(acme).expect("seq"), changes, chunks, vectors))
}

/// What a workload did to its disk, and what the store held after each of its batches.
struct Recorded {
    before: Image,
    ops: Vec<Op>,
    contents: Vec<String>,
}

fn run(root: &Path, steps: Vec<Step>) -> Recorded {
    let mut store = SqliteStore::open(root).expect("open");
    let acme = tenant(&store, "acme");
    store.close();
    let before = Image::of(root, &FILES).expect("read");
    let watch = Watch::begin(root);
    let mut contents = vec![content(&store, &acme)];
    for step in steps {
        // Odd: a batch has begun; even: it was acknowledged.
        let n = contents.len() as u64;
        match step {
            Step::Commit(batch) => {
                watch.mark(2 * n - 1);
                store.commit(&acme, batch).expect("commit");
                watch.mark(2 * n);
                contents.push(content(&store, &acme));
            }
            Step::Vectors => {
                let chunks = store.chunks_without_vector(&acme, &space("m"), usize::MAX).expect("chunks");
                let vectors = chunks.iter().map(|chunk| (chunk.id, vec![chunk.id as f32, 2.0])).collect();
                watch.mark(2 * n - 1);
                store.put_vectors(&acme, &space("m"), vectors).expect("vectors");
                watch.mark(2 * n);
                contents.push(content(&store, &acme));
            }
            Step::Reopen => {
                drop(store);
                store = SqliteStore::open(root).expect("open");
            }
            // Closing writes back what is open; the store opens its tenant again when it is used.
            Step::Checkpoint => store.close(),
        }
    }
    drop(store);
    Recorded { before, ops: watch.ops(), contents }
}

/// The number of batches that were acknowledged and begun before the end of `ops`.
fn promised(ops: &[Op]) -> (usize, usize) {
    let marks = ops.iter().filter_map(|op| match op {
        Op::Mark(mark) => Some(*mark as usize),
        _ => None,
    });
    let last = marks.max().unwrap_or(0);
    (last / 2, last.div_ceil(2))
}

/// One cut: where, and what survived.
fn cuts(recorded: &Recorded, seed: u64) -> Vec<(usize, Cut)> {
    let writes = recorded.ops.iter().enumerate().filter(|(_, op)| op.is_write()).map(|(at, _)| at);
    let ends = writes.flat_map(|at| [at, at + 1]).chain([recorded.ops.len()]);
    let mut ends: Vec<usize> = ends.collect();
    ends.dedup();
    let all = ends.into_iter().flat_map(|end| {
        let torn = |block, salt| Cut::Torn { block, seed: seed ^ (end as u64) << 8 ^ salt };
        [Cut::Kept, Cut::Dropped, torn(512, 1), torn(4096, 2)].map(|cut| (end, cut))
    });
    all.collect()
}

/// Lays an image out as a data directory of its own.
fn laid_out(image: &Image, root: &Path) -> PathBuf {
    let _ = std::fs::remove_dir_all(root);
    image.lay_out(root).expect("laid out");
    root.to_owned()
}

/// Opens what a cut left, writes one more batch and closes; what the store held before and after.
fn recover(root: &Path, watch: &Watch) -> (String, String) {
    let store = SqliteStore::open(root).expect("a cut is never fatal");
    let acme = atlas_testkit::store_suite::scope("acme");
    let found = content(&store, &acme);
    watch.mark(1);
    let Step::Commit(more) = batch(vec![record("after the cut", 1, 500, true)]) else { unreachable!() };
    store.commit(&acme, more).expect("writes go on");
    watch.mark(2);
    let after = content(&store, &acme);
    drop(store);
    (found, after)
}

fn check_sound(root: &Path) {
    let connection = Connection::open(root.join(FILES[0])).expect("open");
    let verdict: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
    assert_eq!(verdict, "ok");
}

/// Cuts the power at one place of a recording, and once more while the store recovers.
fn check(recorded: &Recorded, end: usize, cut: Cut, scratch: &Path) {
    let ops = &recorded.ops[..end];
    let (acknowledged, begun) = promised(ops);
    let image = recorded.before.after(ops, cut);
    let root = laid_out(&image, &scratch.join("first"));
    let watch = Watch::begin(&root);
    let (found, after) = recover(&root, &watch);
    let batches = recorded.contents.iter().position(|content| *content == found);
    let batches = batches.expect("what is there is what some number of batches leaves");
    assert!(
        (acknowledged..=begun).contains(&batches),
        "{batches} batches are there; {acknowledged} were acknowledged, {begun} begun"
    );

    // The second cut falls anywhere between the opening and the end of the close.
    let recovery = watch.ops();
    drop(watch);
    let again = (end.wrapping_mul(0x9E37_79B9) >> 3) % (recovery.len() + 1);
    let (acknowledged, begun) = promised(&recovery[..again]);
    let image = image.after(&recovery[..again], Cut::Torn { block: 512, seed: end as u64 });
    let root = laid_out(&image, &scratch.join("second"));
    let store = SqliteStore::open(&root).expect("a second cut is never fatal");
    let twice = content(&store, &atlas_testkit::store_suite::scope("acme"));
    drop(store);
    let allowed = &[&found, &after][acknowledged..=begun];
    assert!(allowed.contains(&&twice), "the second cut at {again} of {} lost something", recovery.len());
    check_sound(&root);
}

/// In memory where there is such a place: thousands of directories are made and synced.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    scratch.expect("a temporary directory")
}

/// The test of the test: with the syncs taken out of the recording, a cut must be seen to lose
/// what was acknowledged.
#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let _turn = faulty_disk::install();
    let scratch = scratch();
    let (_, steps) = workloads().into_iter().next().expect("there are some");
    let mut recorded = run(&scratch.path().join("run"), steps);
    recorded.ops.retain(|op| !matches!(op, Op::Sync(_)));
    let end = recorded.ops.len() / 2;
    let outcome = std::panic::catch_unwind(|| check(&recorded, end, Cut::Dropped, scratch.path()));
    assert!(outcome.is_err(), "the loss went unseen");
}

#[test]
fn a_power_cut_at_any_write_leaves_a_prefix_that_holds_every_acknowledged_batch() {
    let _turn = faulty_disk::install();
    let all = std::env::var_os("ATLAS_CUTS").is_some_and(|cuts| cuts == "all");
    let scratch = scratch();
    let mut total = 0;
    for (number, (name, steps)) in workloads().into_iter().enumerate() {
        let recorded = run(&scratch.path().join(format!("run-{number}")), steps);
        let cuts = cuts(&recorded, number as u64);
        let step = if all { 1 } else { cuts.len().div_ceil(SAMPLE) };
        let n_writes = recorded.ops.iter().filter(|op| op.is_write()).count();
        let mut checked = 0;
        for (end, cut) in cuts.iter().skip(number % step).step_by(step) {
            let outcome = std::panic::catch_unwind(|| check(&recorded, *end, *cut, scratch.path()));
            assert!(outcome.is_ok(), "{name}: cut after operation {end} of {}, {cut:?}", recorded.ops.len());
            checked += 2;
        }
        eprintln!("{name}: {n_writes} writes, {checked} cuts");
        total += checked;
    }
    eprintln!("{total} cuts, 0 violations");
}
