//! The embedded store keeps the contract, and what only a store on a disk owes.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use atlas_domain::{Corpus, Filter, TenantScope};
use atlas_store::{Batch, ListQuery, SqliteStore, Store, StoreError};
use atlas_testkit::store_suite::{self, chunk, commit, draft, key, put, space, tenant};
use tempfile::TempDir;

/// Names the data directory to the child of the crash test.
const CRASH_DIR: &str = "ATLAS_TEST_CRASH_DIR";

fn temp() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir).expect("open")
}

fn database(dir: &Path) -> std::path::PathBuf {
    dir.join("tenants/acme/atlas.db")
}

#[test]
fn the_embedded_store_keeps_the_contract() {
    let dir = temp();
    let made = Cell::new(0);
    store_suite::run(|| {
        made.set(made.get() + 1);
        Box::new(open(&dir.path().join(made.get().to_string())))
    });
}

#[test]
fn any_history_of_the_embedded_store_gives_what_a_map_would_hold() {
    let dir = temp();
    let made = Cell::new(0);
    store_suite::history::run(48, || {
        made.set(made.get() + 1);
        let place = dir.path().join(made.get().to_string());
        Box::new(move || Box::new(open(&place)))
    });
}

#[test]
fn everything_acknowledged_is_there_after_reopening() {
    let dir = temp();
    let store = open(dir.path());
    let acme = tenant(&store, "acme");
    let changes = vec![put(draft("a", 1, "text"), &[chunk("x", Some(&[0.1, f32::MIN_POSITIVE]))])];
    store.commit(&acme, Batch { space: Some(space("m")), changes }).expect("commit");
    let look = |store: &SqliteStore| {
        (
            store.tenants().expect("tenants"),
            store.get(&acme, &key("a")).expect("get"),
            store.chunks_of(&acme, &key("a")).expect("chunks"),
            store.vectors_of(&acme, &key("a"), &space("m")).expect("vectors"),
            store.last_seq(&acme).expect("seq"),
        )
    };
    let before = look(&store);
    drop(store);
    assert!(!dir.path().join("tenants/acme/atlas.db-wal").exists(), "a clean close leaves one file");
    let store = open(dir.path());
    assert_eq!(look(&store), before);
    store.close();
    assert_eq!(look(&store), before, "a closed tenant opens again");
    assert_eq!(store.data_dir(), dir.path());
}

#[test]
fn a_second_opener_is_told_who_has_the_directory() {
    let dir = temp();
    let first = open(dir.path());
    match SqliteStore::open(dir.path()) {
        Err(StoreError::InUse { holder, .. }) => assert_eq!(holder, std::process::id().to_string()),
        other => panic!("{other:?}"),
    }
    drop(first);
    open(dir.path());
}

#[cfg(unix)]
#[test]
fn the_data_directory_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = temp();
    let store = open(&dir.path().join("new/data"));
    tenant(&store, "acme");
    for path in ["new/data", "new/data/tenants", "new/data/tenants/acme"] {
        let mode = fs::metadata(dir.path().join(path)).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{path}");
    }
}

#[test]
fn a_path_that_is_no_directory_is_an_io_error() {
    let dir = temp();
    let file = dir.path().join("file");
    fs::write(&file, "").expect("write");
    assert!(matches!(SqliteStore::open(&file), Err(StoreError::Io { .. })));
}

#[test]
fn a_data_directory_that_vanished_fails_the_check() {
    let dir = temp();
    let root = dir.path().join("data");
    let store = open(&root);
    fs::remove_dir_all(&root).expect("remove");
    assert!(matches!(store.check(), Err(StoreError::Io { .. })));
}

#[test]
fn the_check_leaves_nothing_behind() {
    let dir = temp();
    let store = open(dir.path());
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).expect("dir").map(|e| e.expect("entry").file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    store.check().expect("check");
    assert_eq!(names(), before);
}

/// Writes a tenant with 200 records, lets `harm` at its closed database, and gives what using it
/// says then.
fn after(harm: impl FnOnce(&Path)) -> Vec<StoreError> {
    let dir = temp();
    let store = open(dir.path());
    let acme = tenant(&store, "acme");
    let text = "x".repeat(2000);
    let many = (0..200).map(|n| put(draft(&format!("r{n}"), n, &text), &[chunk(&text, None)])).collect();
    commit(&store, &acme, many).expect("commit");
    drop(store);
    harm(&database(dir.path()));
    let store = open(dir.path());
    let query = ListQuery { limit: 1000, ..ListQuery::default() };
    [
        store.list(&acme, Corpus::Runbooks, &query).err(),
        store.changes_after(&acme, Corpus::Runbooks, 0, 1000).err(),
        commit(&store, &acme, vec![put(draft("r5", 1, "new"), &[])]).err(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn a_damaged_database_is_reported_and_no_panic() {
    type Harm = fn(&Path);
    let cases: [(&str, Harm); 5] = [
        ("not a database", |path| fs::write(path, "nonsense".repeat(5000)).expect("write")),
        ("empty", |path| fs::write(path, "").expect("write")),
        ("missing", |path| fs::remove_file(path).expect("remove")),
        ("cut in half", |path| {
            let file = fs::OpenOptions::new().write(true).open(path).expect("open");
            file.set_len(file.metadata().expect("metadata").len() / 2 / 8192 * 8192).expect("cut");
        }),
        ("overwritten after the first page", |path| {
            let mut bytes = fs::read(path).expect("read");
            bytes[8192..].fill(0xa5);
            fs::write(path, bytes).expect("write");
        }),
    ];
    for (name, harm) in cases {
        let errors = after(harm);
        assert!(!errors.is_empty(), "{name}");
        for error in errors {
            assert!(matches!(error, StoreError::Damaged { .. }), "{name}: {error:?}");
        }
    }
}

#[test]
fn a_damaged_tenant_does_not_disturb_another() {
    let dir = temp();
    let store = open(dir.path());
    let (acme, other) = (tenant(&store, "acme"), tenant(&store, "other"));
    store.close();
    fs::write(database(dir.path()), "nonsense".repeat(5000)).expect("write");
    assert!(matches!(store.last_seq(&acme), Err(StoreError::Damaged { .. })));
    commit(&store, &other, vec![put(draft("a", 1, ""), &[])]).expect("commit");
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let dir = temp();
    let store = open(dir.path());
    let acme = tenant(&store, "acme");
    store.close();
    // The version stands at byte 60 of the file's header, big-endian.
    let mut bytes = fs::read(database(dir.path())).expect("read");
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes());
    fs::write(database(dir.path()), bytes).expect("write");
    assert!(matches!(store.last_seq(&acme), Err(StoreError::Newer { found: 99, .. })));
}

#[test]
fn a_tenant_that_was_half_made_is_made_anew() {
    let dir = temp();
    let store = open(dir.path());
    fs::create_dir(dir.path().join("tenants/.new-acme")).expect("mkdir");
    fs::write(dir.path().join("tenants/.new-acme/atlas.db"), "half").expect("write");
    assert!(store.tenants().expect("tenants").is_empty());
    assert_eq!(store.last_seq(&tenant(&store, "acme")).expect("seq"), 0);
}

#[test]
fn sixteen_thousand_lines_fit_in_one_batch() {
    let dir = temp();
    let store = open(dir.path());
    let acme = tenant(&store, "acme");
    let lines = |from: i64| {
        (from..from + 16_000).map(|n| put(draft(&format!("line-{n}"), n, "a log line"), &[])).collect()
    };
    commit(&store, &acme, lines(0)).expect("commit");
    let committed = commit(&store, &acme, lines(8_000)).expect("commit");
    assert_eq!(committed.seq, 24_000);
    assert_eq!(store.count(&acme, Corpus::Runbooks, &Filter::default()).expect("count"), 24_000);
}

/// Not a test of its own: the process that the crash test kills.
#[test]
fn crash_child() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else { return };
    let store = open(Path::new(&dir));
    let acme = tenant(&store, "acme");
    let mut n = store.last_seq(&acme).expect("seq") / 3;
    loop {
        n += 1;
        let pair = ["left", "right"].map(|side| {
            let text = format!("{side} {n} {}", "x".repeat(n as usize % 9000));
            put(draft(&format!("{side}-{n}"), 1, &text), &[chunk(&text, Some(&[n as f32, 1.0]))])
        });
        let counter = put(draft("counter", n as i64, ""), &[]);
        let changes = pair.into_iter().chain([counter]).collect();
        let committed = store.commit(&acme, Batch { space: Some(space("m")), changes }).expect("commit");
        // Fails when the parent is gone.
        if writeln!(std::io::stdout(), "ack {n} {}", committed.seq).is_err() {
            return;
        }
    }
}

/// What a killed process must leave: every acknowledged batch, and no half of any.
#[track_caller]
fn check_whole(store: &SqliteStore, acme: &TenantScope, acknowledged: u64) {
    let seq = store.last_seq(acme).expect("seq");
    let n_batches = seq / 3;
    assert!(n_batches >= acknowledged, "{acknowledged} batches were acknowledged, {n_batches} are there");
    assert_eq!(seq % 3, 0, "half a batch");
    let records = store.count(acme, Corpus::Runbooks, &Filter::default()).expect("count");
    assert_eq!(records, if n_batches == 0 { 0 } else { 2 * n_batches + 1 });
    let vectors = store.vectors_after(acme, Corpus::Runbooks, &space("m"), 0, usize::MAX).expect("vectors");
    assert_eq!(vectors.len() as u64, 2 * n_batches);
    if let Some(counter) = store.get(acme, &key("counter")).expect("get") {
        assert_eq!(counter.facets.at.as_second() as u64, n_batches);
    }
    for n in 1..=n_batches {
        for side in ["left", "right"] {
            assert!(store.get(acme, &key(&format!("{side}-{n}"))).expect("get").is_some(), "{side}-{n}");
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let dir = temp();
    let program = std::env::current_exe().expect("this program");
    let mut acknowledged = 0;
    for round in 0..20u64 {
        let mut child = Command::new(&program)
            .args(["--exact", "crash_child", "--nocapture", "--test-threads=1"])
            .env(CRASH_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the child");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        // A different number each round; the kill then falls anywhere in the commits that follow.
        let n_lines = 1 + (round * 7) as usize % 13;
        // libtest prints the test's name without a line end, so the first `ack` stands behind it.
        let acks = lines.map_while(Result::ok).filter_map(|line| {
            let rest = line.split("ack ").nth(1)?;
            rest.split(' ').next()?.parse::<u64>().ok()
        });
        acknowledged = acks.take(n_lines).last().unwrap_or(acknowledged).max(acknowledged);
        child.kill().expect("kill");
        child.wait().expect("wait");

        let store = open(dir.path());
        check_whole(&store, &tenant(&store, "acme"), acknowledged);
    }
    assert!(acknowledged >= 20, "the child never got to work: {acknowledged}");
}
