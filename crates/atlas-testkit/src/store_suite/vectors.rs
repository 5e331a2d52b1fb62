//! Claims about vectors that one example settles.

use atlas_domain::{Corpus, Filter};
use atlas_store::{Batch, Outcome, Store, StoreError};

use super::{chunk, commit, draft, key, put, space, tenant};

pub(super) const ALL: &[fn(&dyn Store)] = &[
    text_that_moved_keeps_its_vectors,
    spaces_are_separate,
    a_space_is_dropped_in_slices_and_nobody_hears_of_it,
    vectors_added_later_are_noticed,
    an_unchanged_write_completes_missing_vectors,
    vectors_that_cannot_be_compared_are_refused,
    one_callers_mistake_fails_no_other,
];

fn text_that_moved_keeps_its_vectors(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let m = space("m");
    let first =
        vec![put(draft("a", 1, "1"), &[chunk("x", Some(&[1.0, 2.0])), chunk("y", Some(&[3.0, 4.0]))])];
    store.commit(&scope, Batch { space: Some(m.clone()), changes: first }).expect("commit");
    let moved = [chunk("new", None), chunk("y", None), chunk("x", None)];
    commit(store, &scope, vec![put(draft("a", 1, "2"), &moved)]).expect("commit");
    let vectors = store.vectors_of(&scope, &key("a"), &m).expect("vectors");
    assert_eq!(vectors.iter().map(|row| row.vector.clone()).collect::<Vec<_>>(), [[3.0, 4.0], [1.0, 2.0]]);
    let missing = store.chunks_without_vector(&scope, &m, 10).expect("missing");
    assert_eq!(missing.iter().map(|chunk| chunk.text.as_str()).collect::<Vec<_>>(), ["new"]);
}

fn spaces_are_separate(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let (m, n) = (space("m"), space("n"));
    let changes = vec![put(draft("a", 1, ""), &[chunk("x", Some(&[1.0, 2.0])), chunk("y", None)])];
    store.commit(&scope, Batch { space: Some(m.clone()), changes }).expect("commit");
    let ids: Vec<_> =
        store.chunks_of(&scope, &key("a")).expect("chunks").iter().map(|chunk| chunk.id).collect();
    store.put_vectors(&scope, &n, vec![(ids[0], vec![9.0; 3])]).expect("put vectors");
    let read = |space| store.vectors_of(&scope, &key("a"), space).expect("vectors");
    assert_eq!((read(&m)[0].vector.as_slice(), read(&m).len()), (&[1.0, 2.0][..], 1));
    assert_eq!((read(&n)[0].vector.as_slice(), read(&n).len()), (&[9.0; 3][..], 1));
    for (space, expect) in [(&m, 1), (&n, 1), (&space("other"), 2)] {
        assert_eq!(store.chunks_without_vector(&scope, space, 10).expect("missing").len(), expect);
    }
}

fn a_space_is_dropped_in_slices_and_nobody_hears_of_it(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let (m, n) = (space("m"), space("n"));
    assert_eq!(store.spaces(&scope).expect("spaces"), []);
    let write = |of: &atlas_domain::SpaceId, id: &str| {
        let changes =
            vec![put(draft(id, 1, ""), &["x", "y", "z"].map(|text| chunk(text, Some(&[1.0, 2.0]))))];
        store.commit(&scope, Batch { space: Some(of.clone()), changes }).expect("commit");
    };
    write(&m, "a");
    write(&n, "b");
    assert_eq!(store.spaces(&scope).expect("spaces").len(), 2);
    let count = store.vector_count(&scope, &m).expect("count");
    assert_eq!((count.chunks, count.vectors), (6, 3));
    let dropped = [2, 2, 2].map(|limit| store.drop_vectors(&scope, &m, limit).expect("drop"));
    assert_eq!(dropped, [2, 1, 0]);
    assert_eq!(store.spaces(&scope).expect("spaces"), std::slice::from_ref(&n));
    assert_eq!(store.vectors_of(&scope, &key("b"), &n).expect("vectors").len(), 3);
    assert_eq!(store.last_seq(&scope).expect("seq"), 2);
}

fn vectors_added_later_are_noticed(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let m = space("m");
    let changes = ["a", "b"].map(|id| put(draft(id, 1, ""), &[chunk(id, None), chunk("same", None)]));
    commit(store, &scope, changes.into()).expect("commit");
    let missing = store.chunks_without_vector(&scope, &m, 3).expect("missing");
    assert_eq!(missing.len(), 3);
    assert!(missing.is_sorted_by_key(|chunk| chunk.id));
    let vectors: Vec<_> = missing.iter().map(|chunk| (chunk.id, vec![0.5, chunk.id as f32])).collect();
    let gone = (u64::MAX, vec![0.0, 0.0]);
    let seq = store.put_vectors(&scope, &m, [vectors.clone(), vec![gone]].concat()).expect("put vectors");
    assert_eq!((seq, store.last_seq(&scope).expect("seq")), (4, 4));
    assert_eq!(store.changes_after(&scope, Corpus::Runbooks, 2, 9).expect("changes").len(), 2);
    let stored = store.vectors_after(&scope, Corpus::Runbooks, &m, 0, 9).expect("vectors");
    assert_eq!(stored.into_iter().map(|row| (row.chunk, row.vector)).collect::<Vec<_>>(), vectors);
    let later = store.vectors_after(&scope, Corpus::Runbooks, &m, vectors[0].0, 1).expect("vectors");
    assert_eq!((later.len(), later[0].chunk, later[0].id.as_str()), (1, vectors[1].0, "a"));
    assert_eq!(store.put_vectors(&scope, &m, vectors).expect("the same again"), 4);
}

fn an_unchanged_write_completes_missing_vectors(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let m = space("m");
    let write = |vector: Option<&[f32]>| {
        let changes = vec![put(draft("a", 1, ""), &[chunk("x", vector)])];
        store.commit(&scope, Batch { space: Some(m.clone()), changes }).expect("commit")
    };
    write(None);
    let completed = write(Some(&[1.0, 2.0]));
    assert_eq!((completed.seq, completed.outcomes), (2, vec![Outcome::Unchanged]));
    assert_eq!(store.vectors_of(&scope, &key("a"), &m).expect("vectors").len(), 1);
    assert_eq!(write(Some(&[1.0, 2.0])).seq, 2);
}

fn vectors_that_cannot_be_compared_are_refused(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let m = space("m");
    let good: &[f32] = &[1.0, 2.0];
    let write = |space, vectors: &[&[f32]]| {
        let chunks: Vec<_> = vectors.iter().map(|vector| chunk("x", Some(vector))).collect();
        store.commit(&scope, Batch { space, changes: vec![put(draft("a", 1, ""), &chunks)] })
    };
    let refused = [
        write(None, &[good]).err(),
        write(Some(m.clone()), &[good, &[1.0]]).err(),
        write(Some(m.clone()), &[&[]]).err(),
        write(Some(m.clone()), &[&[f32::INFINITY, 0.0]]).err(),
        store.put_vectors(&scope, &m, vec![(1, vec![f32::NAN])]).err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(StoreError::Vector { .. })), "{error:?}");
    }
    assert_eq!(store.last_seq(&scope).expect("seq"), 0);
    write(Some(m.clone()), &[good]).expect("commit");
    let longer = write(Some(m), &[&[1.0, 2.0, 3.0]]);
    assert!(matches!(longer, Err(StoreError::Vector { .. })), "{longer:?}");
}

fn one_callers_mistake_fails_no_other(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let write = |id: &str, vector: &[f32]| {
        let changes = vec![put(draft(id, 1, ""), &[chunk(id, Some(vector))])];
        store.commit(&scope, Batch { space: Some(space("m")), changes })
    };
    write("first", &[1.0, 2.0]).expect("commit");
    std::thread::scope(|threads| {
        for writer in 0..8 {
            let write = &write;
            threads.spawn(move || {
                for n in 0..5 {
                    let id = format!("{writer}-{n}");
                    // The wrong length is noticed only beside what the space holds already.
                    if writer % 2 == 0 {
                        write(&id, &[1.0, 2.0]).expect("commit");
                    } else {
                        assert!(matches!(write(&id, &[1.0]), Err(StoreError::Vector { .. })));
                    }
                }
            });
        }
    });
    assert_eq!(store.last_seq(&scope).expect("seq"), 21);
    assert_eq!(store.count(&scope, Corpus::Runbooks, &Filter::default()).expect("count"), 21);
}
