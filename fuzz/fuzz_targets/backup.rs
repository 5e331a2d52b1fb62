//! A backup with another manifest, or another database: refused, or restored to what it says.

#![no_main]

use std::fs;

use atlas_store::{BackupName, SqliteStore, Store};
use atlas_testkit::store_suite::{commit, draft, put, tenant};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|damage: (Option<Vec<u8>>, Vec<(u16, u8)>, String)| {
    let (manifest, flips, name) = damage;
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let store = SqliteStore::open(dir.path()).expect("open");
    let acme = tenant(&store, "acme");
    commit(&store, &acme, vec![put(draft("a", 1, "text"), &[])]).expect("commit");
    let one: BackupName = "one".parse().expect("a name");
    store.back_up(&one, &[acme.clone()]).expect("backed up");
    commit(&store, &acme, vec![put(draft("b", 1, "text"), &[])]).expect("commit");
    let path = dir.path().join("backups/one/manifest.json");
    let whole = fs::read(&path).expect("read");
    let mut bytes = manifest.unwrap_or_else(|| whole.clone());
    for (at, byte) in flips {
        if let Some(len) = std::num::NonZeroUsize::new(bytes.len()) {
            bytes[usize::from(at) % len] = byte;
        }
    }
    fs::write(&path, &bytes).expect("written");
    let _ = store.backups();
    let _ = name.parse::<BackupName>();
    match store.prepare_restore(&one, &acme) {
        // White space may differ; what it says may not.
        Ok(prepared) => {
            store.swap_in(prepared).expect("swapped");
            assert_eq!(store.last_seq(&acme).expect("seq"), 1);
        }
        Err(_) => assert_eq!(store.last_seq(&acme).expect("seq"), 2),
    }
});
