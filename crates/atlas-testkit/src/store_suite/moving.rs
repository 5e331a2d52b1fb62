//! Claims about moving a tenant into another store.

use atlas_domain::{Corpus, Filter, LogRecord, Noun, RecordId, RecordKey, Timestamp};
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

/// Lines may be kept many in one piece, and still each has a time of its own.
pub(super) fn lines_keep_their_times(make: &impl Fn() -> Box<dyn Store>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let source = SqliteStore::open(&dir.path().join("source")).expect("open");
    let scope = tenant(&source, "acme");
    let key = |n: i64| RecordKey::new(Corpus::Logs, RecordId::new(format!("log-{n:03}")).expect("an id"));
    let line = |n: i64| {
        let line = LogRecord {
            id: key(n).id,
            at: Timestamp::from_second(n).expect("in range"),
            message: format!("took {n} ms"),
            level: None,
            service: None,
            source: None,
            template_id: RecordId::new("tpl-1").expect("an id"),
            attributes: Default::default(),
        };
        put(line.draft(), &[])
    };
    let time = |second: i64| Timestamp::from_second(second).expect("in range");
    let written = |store: &dyn Store, n: i64| {
        store.get(&scope, &key(n)).expect("get").map(|record| (record.created, record.updated))
    };
    commit(&source, &scope, (0..20).map(line).collect()).expect("commit");
    commit(&source, &scope, (20..40).map(line).collect()).expect("commit");
    let seq = source.last_seq(&scope).expect("seq");
    // All of one commit, some of the other, and one that was changed later.
    let mut times: Vec<_> = (0..20).map(|n| (key(n), time(1_000), time(1_000))).collect();
    times.extend((20..25).map(|n| (key(n), time(2_000), time(2_000))));
    times.push((key(30), time(3_000), time(3_001)));
    source.restore_times(&scope, &times).expect("times");
    assert_eq!(source.last_seq(&scope).expect("seq"), seq);

    let store = make();
    copy_tenant(&source, &*store, &scope, hash, |_| {}).expect("copied");
    let back = SqliteStore::open(&dir.path().join("back")).expect("open");
    copy_tenant(&*store, &back, &scope, hash, |_| {}).expect("copied");
    for store in [&source as &dyn Store, &*store, &back] {
        assert_eq!(store.count(&scope, Corpus::Logs, &Filter::default()).expect("count"), 40);
        assert_eq!(written(store, 7), Some((time(1_000), time(1_000))));
        assert_eq!(written(store, 22), Some((time(2_000), time(2_000))));
        assert_eq!(written(store, 30), Some((time(3_000), time(3_001))));
        assert_eq!(written(store, 35), written(&source, 35));
    }
    let changes = source.changes_after(&scope, Corpus::Logs, 0, 100).expect("changes");
    assert_eq!(changes.iter().map(|change| change.seq).collect::<Vec<_>>(), (1..=40).collect::<Vec<_>>());
}
