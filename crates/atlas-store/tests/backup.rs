//! Backups are taken and restored while the store is in use, and a bad one changes nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use atlas_domain::{Corpus, Filter, TenantScope};
use atlas_store::{BackupName, Batch, SqliteStore, Store, StoreError};
use atlas_testkit::store_suite::{chunk, commit, draft, key, put, scope, space, tenant};
use tempfile::TempDir;

fn name(text: &str) -> BackupName {
    text.parse().expect("a name")
}

fn temp() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir).expect("open")
}

fn write(store: &SqliteStore, scope: &TenantScope, id: &str, text: &str) {
    let changes = vec![put(draft(id, 1, text), &[chunk(text, Some(&[1.0, 2.0]))])];
    store.commit(scope, Batch { space: Some(space("m")), changes }).expect("commit");
}

fn content(store: &SqliteStore, scope: &TenantScope) -> String {
    let changes = store.changes_after(scope, Corpus::Runbooks, 0, usize::MAX).expect("changes");
    let vectors = store.vectors_after(scope, Corpus::Runbooks, &space("m"), 0, usize::MAX).expect("vectors");
    format!("{:?}", (store.last_seq(scope).expect("seq"), changes, vectors))
}

fn restore(store: &SqliteStore, backup: &str, scope: &TenantScope) -> Result<(), StoreError> {
    store.prepare_restore(&name(backup), scope).and_then(|prepared| store.swap_in(prepared)).map(|_| ())
}

/// A store with two tenants and a backup of both.
fn backed_up(dir: &Path) -> (SqliteStore, TenantScope, TenantScope) {
    let store = open(dir);
    let (acme, other) = (tenant(&store, "acme"), tenant(&store, "other"));
    write(&store, &acme, "a", "the first text");
    write(&store, &other, "b", "another");
    store.back_up(&name("one"), &[acme.clone(), other.clone()]).expect("backed up");
    (store, acme, other)
}

#[test]
fn a_tenant_goes_back_to_exactly_what_it_was_and_goes_on_from_there() {
    let dir = temp();
    let (store, acme, other) = backed_up(dir.path());
    let before = content(&store, &acme);
    write(&store, &acme, "a", "a later text");
    write(&store, &acme, "c", "new");
    write(&store, &other, "d", "stays");
    let others = content(&store, &other);
    restore(&store, "one", &acme).expect("restored");
    assert_eq!(content(&store, &acme), before);
    assert_eq!(content(&store, &other), others, "another tenant is not touched");
    write(&store, &acme, "e", "after the restore");
    drop(store);
    let store = open(dir.path());
    assert!(store.get(&acme, &key("e")).expect("get").is_some());
    assert_eq!(store.last_seq(&acme).expect("seq"), 2);
}

#[test]
fn a_tenant_that_is_gone_comes_back() {
    let dir = temp();
    let (store, acme, _) = backed_up(dir.path());
    let before = content(&store, &acme);
    drop(store);
    fs::remove_dir_all(dir.path().join("tenants/acme")).expect("removed");
    let store = open(dir.path());
    assert!(!store.has_tenant(acme.tenant()).expect("asked"));
    restore(&store, "one", &acme).expect("restored");
    assert_eq!(content(&store, &acme), before);
}

#[test]
fn a_backup_taken_under_load_is_one_moment_of_each_tenant() {
    let dir = temp();
    let store = open(dir.path());
    let acme = tenant(&store, "acme");
    let over = AtomicBool::new(false);
    let pair = |n: i64| ["left", "right"].map(|side| put(draft(side, n, &"x".repeat(20_000)), &[])).to_vec();
    commit(&store, &acme, pair(0)).expect("commit");
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut n = 1;
            while !over.load(Ordering::Acquire) {
                commit(&store, &acme, pair(n)).expect("commit");
                n += 1;
            }
        });
        for n in 0..10 {
            let manifest =
                store.back_up(&name(&format!("b{n}")), std::slice::from_ref(&acme)).expect("backed up");
            assert_eq!(manifest.tenants[0].seq % 2, 0, "half a batch");
        }
        over.store(true, Ordering::Release);
    });
    for manifest in store.backups().expect("listed") {
        restore(&store, manifest.name.as_str(), &acme).expect("restored");
        assert_eq!(store.last_seq(&acme).expect("seq"), manifest.tenants[0].seq);
        let at = |id| store.get(&acme, &key(id)).expect("get").expect("there").facets.at;
        assert_eq!(at("left"), at("right"));
    }
}

#[test]
fn a_restore_under_load_loses_no_write_that_is_acknowledged_after_it() {
    let dir = temp();
    let (store, acme, _) = backed_up(dir.path());
    let restored = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for writer in 0..4 {
            let (store, acme, restored) = (&store, &acme, &restored);
            threads.spawn(move || {
                let mut after = 0;
                let mut n = 0;
                while after < 5 {
                    n += 1;
                    let is_after = restored.load(Ordering::Acquire);
                    let id = format!("w{writer}-{n}");
                    match commit(store, acme, vec![put(draft(&id, 1, "x"), &[])]) {
                        Ok(_) if is_after => {
                            assert!(store.get(acme, &key(&id)).expect("get").is_some(), "{id}");
                            after += 1;
                        }
                        // Refused at the moment of the swap: nothing was written.
                        Ok(_) | Err(StoreError::Io { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            });
        }
        restore(&store, "one", &acme).expect("restored");
        restored.store(true, Ordering::Release);
    });
    drop(store);
    let store = open(dir.path());
    // Each writer's five, and whatever it wrote between the swap and the flag.
    assert!(store.count(&acme, Corpus::Runbooks, &Filter::default()).expect("count") > 20);
}

#[test]
fn names_that_are_taken_unknown_or_elsewhere_are_refused() {
    let dir = temp();
    let (store, acme, _) = backed_up(dir.path());
    let taken = store.back_up(&name("one"), std::slice::from_ref(&acme));
    assert!(matches!(taken, Err(StoreError::BackupExists { .. })), "{taken:?}");
    assert!(matches!(restore(&store, "two", &acme), Err(StoreError::UnknownBackup { .. })));
    let stranger = tenant(&store, "stranger");
    assert!(matches!(restore(&store, "one", &stranger), Err(StoreError::NotInBackup { .. })));
    let missing = store.back_up(&name("two"), &[acme, scope("nobody")]);
    assert!(matches!(missing, Err(StoreError::UnknownTenant { .. })), "{missing:?}");
    let names: Vec<_> = store.backups().expect("listed").into_iter().map(|m| m.name.to_string()).collect();
    assert_eq!(names, ["one"], "what failed left nothing behind");
    store.forget_backup(&name("one")).expect("removed");
    assert!(matches!(store.forget_backup(&name("one")), Err(StoreError::UnknownBackup { .. })));
    assert!(store.backups().expect("listed").is_empty());
    assert_eq!(fs::read_dir(dir.path().join("backups")).expect("a folder").count(), 0);
}

/// Harms the backup and expects that restoring is refused and the tenant is as it was.
#[track_caller]
fn check_refused(what: &str, harm: impl FnOnce(PathBuf)) -> StoreError {
    let dir = temp();
    let (store, acme, _) = backed_up(dir.path());
    write(&store, &acme, "c", "later");
    let before = content(&store, &acme);
    harm(dir.path().join("backups/one"));
    let refused = restore(&store, "one", &acme).expect_err(what);
    assert_eq!(content(&store, &acme), before, "{what}");
    assert!(!dir.path().join("tenants/.new-acme").exists(), "{what}: a draft is left");
    refused
}

#[test]
fn every_flipped_byte_and_every_cut_of_a_backup_is_refused() {
    for n in 0..60usize {
        for file in ["acme.db", "manifest.json"] {
            let refused = check_refused(&format!("{file}, {n}"), |backup| {
                let path = backup.join(file);
                let mut bytes = fs::read(&path).expect("read");
                let place = n * 977 % bytes.len();
                if n % 3 == 0 {
                    bytes.truncate(place);
                } else {
                    bytes[place] ^= 1 << (n % 8);
                }
                fs::write(&path, bytes).expect("written");
            });
            // A flip in the manifest's form number may read as a newer form.
            let expected = matches!(refused, StoreError::BackupDamaged { .. } | StoreError::Newer { .. });
            assert!(expected, "{file}, {n}: {refused:?}");
        }
    }
}

#[test]
fn a_missing_file_and_another_backups_manifest_are_refused() {
    let refused =
        check_refused("missing", |backup| fs::remove_file(backup.join("acme.db")).expect("removed"));
    assert!(matches!(refused, StoreError::BackupDamaged { .. }), "{refused:?}");
    let dir = temp();
    let (store, acme, other) = backed_up(dir.path());
    store.back_up(&name("two"), &[other]).expect("backed up");
    let manifest = |backup: &str| dir.path().join("backups").join(backup).join("manifest.json");
    fs::copy(manifest("one"), manifest("two")).expect("copied");
    assert!(matches!(restore(&store, "two", &acme), Err(StoreError::BackupDamaged { .. })));
}

#[test]
fn a_backup_of_a_newer_program_is_refused() {
    let refused = check_refused("newer form", |backup| {
        let path = backup.join("manifest.json");
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, text.replace("\"format\": 1", "\"format\": 2")).expect("written");
    });
    assert!(matches!(refused, StoreError::Newer { found: 2, known: 1 }), "{refused:?}");
}

#[test]
fn a_swap_that_a_power_cut_interrupted_is_finished_at_the_next_start() {
    let dir = temp();
    let (store, acme, _) = backed_up(dir.path());
    let before = content(&store, &acme);
    drop(store);
    let tenants = dir.path().join("tenants");
    // Between the two renames: the old one goes back.
    fs::rename(tenants.join("acme"), tenants.join(".old-acme")).expect("renamed");
    let store = open(dir.path());
    assert_eq!(content(&store, &acme), before);
    drop(store);
    // After them: the old one is removed.
    fs::create_dir(tenants.join(".old-acme")).expect("made");
    let store = open(dir.path());
    assert_eq!(content(&store, &acme), before);
    assert!(!tenants.join(".old-acme").exists());
}

#[test]
fn a_backup_that_was_half_made_is_none() {
    let dir = temp();
    let (store, acme, _) = backed_up(dir.path());
    fs::create_dir_all(dir.path().join("backups/.new-two")).expect("made");
    fs::create_dir_all(dir.path().join("backups/three")).expect("made");
    assert_eq!(store.backups().expect("listed").len(), 1);
    store.back_up(&name("two"), std::slice::from_ref(&acme)).expect("made anew");
    restore(&store, "two", &acme).expect("restored");
}
