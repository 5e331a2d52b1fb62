//! Claims about moving a tenant into another store.

use atlas_domain::{Corpus, Filter, Timestamp};
use atlas_store::{Batch, Change, Chunk, CopyError, SqliteStore, Store, copy_tenant};

use super::{chunk, commit, draft, key, put, space, tenant};

fn hash(chunk: &Chunk) -> atlas_domain::TextHash {
    atlas_domain::TextHash::of(&chunk.text)
}

/// From the store into an embedded one and back under another name is too much to ask of one
/// claim: here it is filled from an embedded store, and read back into another.
pub(super) fn a_tenant_is_the_same_after_a_copy(make: &impl Fn() -> Box<dyn Store>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = SqliteStore::open(&dir.path().join("source")).expect("open");
    let scope = tenant(&source, "acme");
    let chunks = |n: i64| [chunk(&format!("x{n}"), Some(&[n as f32, 1.0])), chunk("same", None)];
    let many = (0..1_100).map(|n| put(draft(&format!("r{n}"), n, "a\0b"), &chunks(n))).collect();
    source.commit(&scope, Batch { space: Some(space("m")), changes: many }).expect("commit");
    let ids: Vec<_> = source.chunks_of(&scope, &key("r7")).expect("chunks").iter().map(|c| c.id).collect();
    source.put_vectors(&scope, &space("n"), vec![(ids[1], vec![0.5; 3])]).expect("vectors");
    let old = Timestamp::from_second(1_000).expect("in range");
    source.restore_times(&scope, &[(key("r5"), old, old)]).expect("times");
    assert_eq!(source.spaces(&scope).expect("spaces").len(), 2);

    let store = make();
    let copied = copy_tenant(&source, &*store, &scope, hash, |_| {}).expect("copied");
    assert_eq!((copied.records, copied.written, copied.chunks, copied.vectors), (1_100, 1_100, 2_200, 1_101));
    assert_eq!(store.get(&scope, &key("r5")).expect("get").map(|record| record.created), Some(old));
    assert_eq!(store.spaces(&scope).expect("spaces"), source.spaces(&scope).expect("spaces"));
    // Taken up again there is nothing to write, and a record that is lost is written.
    let seq = store.last_seq(&scope).expect("seq");
    let again = copy_tenant(&source, &*store, &scope, hash, |_| {}).expect("copied");
    assert_eq!((again.written, store.last_seq(&scope).expect("seq")), (0, seq));
    commit(&*store, &scope, vec![Change::Delete(key("r9"))]).expect("delete");
    assert_eq!(copy_tenant(&source, &*store, &scope, hash, |_| {}).expect("copied").written, 1);

    let back = SqliteStore::open(&dir.path().join("back")).expect("open");
    let copied = copy_tenant(&*store, &back, &scope, hash, |_| {}).expect("copied");
    assert_eq!((copied.written, copied.vectors), (1_100, 1_101));
    let everything = Filter::default();
    assert_eq!(back.count(&scope, Corpus::Runbooks, &everything).expect("count"), 1_100);
    assert_eq!(
        back.get(&scope, &key("r5")).expect("get").map(|record| (record.text, record.updated)),
        source.get(&scope, &key("r5")).expect("get").map(|record| (record.text, record.updated))
    );

    commit(&*store, &scope, vec![put(draft("foreign", 1, ""), &[])]).expect("commit");
    let foreign = copy_tenant(&source, &*store, &scope, hash, |_| {});
    assert!(matches!(foreign, Err(CopyError::Foreign { extra: 1, .. })), "{foreign:?}");
}
