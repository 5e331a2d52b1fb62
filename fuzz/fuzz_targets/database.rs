//! A tenant's database in which bytes were changed: an error or an answer, and never a panic. The
//! cursor of a list is the other thing that callers hand to the store as they like.

#![no_main]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use atlas_domain::Corpus;
use atlas_store::{Batch, ListQuery, SqliteStore, Store};
use atlas_testkit::store_suite::{chunk, draft, key, put, scope, space, tenant};
use libfuzzer_sys::fuzz_target;

const DATABASE: &str = "tenants/acme/atlas.db";

fn database() -> &'static [u8] {
    static DATABASE_BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    DATABASE_BYTES.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = SqliteStore::open(dir.path()).expect("open");
        let acme = tenant(&store, "acme");
        let changes = (0..12)
            .map(|n| put(draft(&format!("r{n}"), n, "text"), &[chunk("x", Some(&[1.0, 2.0]))]))
            .collect();
        store.commit(&acme, Batch { space: Some(space("m")), changes }).expect("commit");
        drop(store);
        fs::read(dir.path().join(DATABASE)).expect("read")
    })
}

fuzz_target!(|damage: (Vec<(u32, u8)>, Option<u32>, String)| {
    let (flips, length, cursor) = damage;
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let mut bytes = database().to_vec();
    for (at, byte) in flips {
        let at = at as usize % bytes.len();
        bytes[at] = byte;
    }
    if let Some(length) = length {
        bytes.truncate(length as usize % (bytes.len() + 1));
    }
    let path: &Path = &dir.path().join(DATABASE);
    fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    fs::write(path, bytes).expect("written");
    let store = SqliteStore::open(dir.path()).expect("a damaged tenant is not the store's end");
    let acme = scope("acme");
    let query = ListQuery { limit: 100, cursor: Some(cursor), ..ListQuery::default() };
    let _ = store.list(&acme, Corpus::Runbooks, &query);
    let _ = store.list(&acme, Corpus::Runbooks, &ListQuery { limit: 100, ..ListQuery::default() });
    let _ = store.changes_after(&acme, Corpus::Runbooks, 0, 100);
    let _ = store.vectors_after(&acme, Corpus::Runbooks, &space("m"), 0, 100);
    let _ = store.chunks_of(&acme, &key("r3"));
    let _ = store.spaces(&acme);
    let changes = vec![put(draft("r3", 9, "another"), &[chunk("y", Some(&[1.0, 3.0]))])];
    let _ = store.commit(&acme, Batch { space: Some(space("m")), changes });
});
