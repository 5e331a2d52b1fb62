//! A disk that is full, fails or may not be written: a clear error, nothing half-written, reading
//! goes on, and writing works again when the disk does.

#![cfg(unix)]

use std::path::Path;

use atlas_domain::{Corpus, TenantScope};
use atlas_store::{SqliteStore, Store, StoreError};
use atlas_testkit::faulty_disk::{self, Fault, Watch};
use atlas_testkit::store_suite::{chunk, commit, draft, put, tenant};

fn content(store: &SqliteStore, acme: &TenantScope) -> String {
    let changes = store.changes_after(acme, Corpus::Runbooks, 0, usize::MAX).expect("reading goes on");
    format!("{:?}", (store.last_seq(acme).expect("seq"), changes))
}

fn write(store: &SqliteStore, acme: &TenantScope, id: &str, length: usize) -> Result<(), StoreError> {
    let text = "x".repeat(length);
    commit(store, acme, vec![put(draft(id, 1, &text), &[chunk(&text, None)])]).map(|_| ())
}

/// Lets the disk fail at every write of a commit, and works on afterwards.
fn check(dir: &Path, fault: Fault, expected: fn(&StoreError) -> bool) {
    let store = SqliteStore::open(dir).expect("open");
    let acme = tenant(&store, "acme");
    let watch = Watch::begin(dir);
    // The tenant is opened below the watch.
    store.close();
    write(&store, &acme, "before", 100).expect("commit");
    let (mut failed, mut after) = (0, 0);
    loop {
        let before = content(&store, &acme);
        watch.fail(Some(fault), after);
        let outcome = write(&store, &acme, &format!("during-{after}"), 30_000);
        watch.fail(None, 0);
        match outcome {
            // The commit has fewer writes than that.
            Ok(()) => break,
            Err(error) => {
                assert!(expected(&error), "{fault:?} at write {after}: {error:?}");
                assert_eq!(content(&store, &acme), before, "{fault:?} at write {after}");
                failed += 1;
            }
        }
        write(&store, &acme, &format!("after-{after}"), 3_000).expect("writing works again");
        after += 1;
    }
    let whole = content(&store, &acme);
    drop(store);
    let store = SqliteStore::open(dir).expect("open");
    assert_eq!(content(&store, &acme), whole, "{fault:?}: after opening again");
    eprintln!("{fault:?}: {failed} places of failure");
    assert!(failed > 0, "{fault:?} was never met");
}

#[test]
fn a_failure_at_any_write_of_a_commit_is_clear_harmless_and_over_when_the_disk_works() {
    let _turn = faulty_disk::install();
    let is_full: fn(&StoreError) -> bool = |error| matches!(error, StoreError::Full { .. });
    let is_io: fn(&StoreError) -> bool = |error| matches!(error, StoreError::Io { .. });
    let cases = [(Fault::Full, is_full), (Fault::Io, is_io), (Fault::Sync, is_io), (Fault::ReadOnly, is_io)];
    for (fault, expected) in cases {
        let dir = tempfile::tempdir().expect("a temporary directory");
        check(dir.path(), fault, expected);
    }
}
