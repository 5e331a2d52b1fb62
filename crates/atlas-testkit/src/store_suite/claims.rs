//! Claims about tenants, records, chunks and the change log that one example settles.

use std::collections::BTreeSet;

use atlas_domain::{Corpus, Filter, RecordId, TenantScope, Timestamp};
use atlas_store::{Batch, Change, Entry, ListQuery, Outcome, Store, StoreError};

use super::{chunk, commit, draft, key, put, scope, space, tenant};

pub(super) const ALL: &[fn(&dyn Store)] = &[
    tenants_are_created_once_and_listed_by_name,
    an_unknown_tenant_is_an_error_and_stays_unknown,
    a_record_comes_back_as_it_was_written,
    times_are_kept_to_the_microsecond,
    a_batch_that_fails_leaves_nothing,
    tenants_do_not_see_each_other,
    pages_lose_and_repeat_nothing_while_records_come_and_go,
    pages_are_bounded_and_cursors_checked,
    the_change_log_has_the_newest_state_of_each_record_in_order,
    a_removed_record_leaves_the_log_when_it_returns,
    an_unchanged_write_does_not_advance_the_log,
    a_changed_record_gets_new_chunks,
    many_are_given_in_the_order_asked,
    callers_that_write_at_once_all_get_their_own_number,
    readers_see_whole_batches,
    a_body_too_deep_to_be_read_back_is_refused,
    a_store_that_works_says_so,
];

fn tenants_are_created_once_and_listed_by_name(store: &dyn Store) {
    let ids = ["zoo", "acme"].map(|name| name.parse().expect("a tenant's name"));
    for id in &ids {
        assert!(!store.has_tenant(id).expect("has"));
        assert!(store.create_tenant(id).expect("create"));
        assert!(!store.create_tenant(id).expect("create again"));
        assert!(store.has_tenant(id).expect("has"));
    }
    let [zoo, acme] = ids;
    assert_eq!(store.tenants().expect("tenants"), [acme, zoo]);
}

fn an_unknown_tenant_is_an_error_and_stays_unknown(store: &dyn Store) {
    let nobody = scope("nobody");
    let answers = [
        commit(store, &nobody, vec![put(draft("a", 1, ""), &[])]).err(),
        store.get(&nobody, &key("a")).err(),
        store.list(&nobody, Corpus::Runbooks, &ListQuery::default()).err(),
        store.last_seq(&nobody).err(),
        store.put_vectors(&nobody, &space("m"), Vec::new()).err(),
    ];
    for answer in answers {
        assert!(matches!(answer, Some(StoreError::UnknownTenant { .. })), "{answer:?}");
    }
    assert!(store.tenants().expect("tenants").is_empty());
}

fn a_record_comes_back_as_it_was_written(store: &dyn Store) {
    let scope = tenant(store, "acme");
    for id in
        ["plain", "a/b?c=%20#d", "Ünïcode→🦀", "e\u{301}", "é", "'; DROP TABLE records; --", &"x".repeat(512)]
    {
        let mut draft = draft(id, -5, "NUL \0 and \u{10ffff}");
        draft.facets.service = Some(String::new());
        draft.facets.labels =
            [("k\0\"".to_owned(), "v\\\n".to_owned()), (String::new(), String::new())].into();
        draft.body = serde_json::json!({ "n": [1, -2, null, true, "\u{0}"], "": {} });
        commit(store, &scope, vec![put(draft.clone(), &[])]).expect("commit");
        let record = store.get(&scope, &draft.key).expect("get").expect("present");
        assert_eq!(
            (record.key, record.title, record.facets, record.text, record.body),
            (draft.key, draft.title, draft.facets, draft.text, draft.body)
        );
        assert_eq!(record.created, record.updated);
    }
    assert_eq!(store.count(&scope, Corpus::Runbooks, &Filter::default()).expect("count"), 7);
}

fn times_are_kept_to_the_microsecond(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let mut draft = draft("a", 0, "");
    draft.facets.at = Timestamp::from_nanosecond(1_999).expect("in range");
    commit(store, &scope, vec![put(draft.clone(), &[])]).expect("commit");
    let record = store.get(&scope, &draft.key).expect("get").expect("present");
    assert_eq!(record.facets.at, Timestamp::from_microsecond(1).expect("in range"));
    let again = commit(store, &scope, vec![put(draft, &[])]).expect("commit");
    assert_eq!(again.outcomes, [Outcome::Unchanged]);
}

fn a_batch_that_fails_leaves_nothing(store: &dyn Store) {
    let scope = tenant(store, "acme");
    commit(store, &scope, vec![put(draft("old", 1, "kept"), &[])]).expect("commit");
    let bad = Batch {
        space: Some(space("m")),
        changes: vec![
            put(draft("new", 2, ""), &[chunk("c", Some(&[1.0, 0.0]))]),
            Change::Delete(key("old")),
            put(draft("bad", 3, ""), &[chunk("d", Some(&[f32::NAN, 0.0]))]),
        ],
    };
    assert!(matches!(store.commit(&scope, bad), Err(StoreError::Vector { .. })));
    assert!(store.get(&scope, &key("new")).expect("get").is_none());
    assert!(store.get(&scope, &key("old")).expect("get").is_some());
    assert_eq!(store.last_seq(&scope).expect("seq"), 1);
}

fn tenants_do_not_see_each_other(store: &dyn Store) {
    let (left, right) = (tenant(store, "left"), tenant(store, "right"));
    let write = |scope: &TenantScope, text: &str| {
        let changes = vec![put(draft("same", 1, text), &[chunk(text, Some(&[1.0, 0.0]))])];
        store.commit(scope, Batch { space: Some(space("m")), changes }).expect("commit")
    };
    write(&left, "left");
    write(&right, "right");
    for (scope, text) in [(&left, "left"), (&right, "right")] {
        assert_eq!(store.get(scope, &key("same")).expect("get").expect("present").text, text);
        assert_eq!(store.chunks_of(scope, &key("same")).expect("chunks")[0].text, text);
    }
    commit(store, &left, vec![Change::Delete(key("same"))]).expect("delete");
    assert_eq!(store.last_seq(&right).expect("seq"), 1);
    assert_eq!(store.count(&right, Corpus::Runbooks, &Filter::default()).expect("count"), 1);
    assert_eq!(store.vectors_after(&right, Corpus::Runbooks, &space("m"), 0, 9).expect("vectors").len(), 1);
    assert!(store.vectors_after(&left, Corpus::Runbooks, &space("m"), 0, 9).expect("vectors").is_empty());
}

fn pages_lose_and_repeat_nothing_while_records_come_and_go(store: &dyn Store) {
    let scope = tenant(store, "acme");
    // Three records share each second, so pages end inside a tie.
    let first = (0..30).map(|n| put(draft(&format!("r{n:02}"), n / 3, ""), &[])).collect();
    commit(store, &scope, first).expect("commit");
    let mut query = ListQuery { limit: 4, ..ListQuery::default() };
    let (mut seen, mut n_page) = (Vec::new(), 0);
    loop {
        let page = store.list(&scope, Corpus::Runbooks, &query).expect("page");
        assert!(page.records.len() <= 4);
        if let Some(last) = page.records.last() {
            // The record the cursor names goes, another comes at its time and one at the top.
            let second = last.facets.at.as_second();
            let changes = vec![
                Change::Delete(last.key.clone()),
                put(draft(&format!("a-new-{n_page}"), second, ""), &[]),
                put(draft(&format!("top-{n_page}"), 100, ""), &[]),
            ];
            commit(store, &scope, changes).expect("commit");
        }
        seen.extend(page.records.into_iter().map(|record| (record.facets.at, record.key.id)));
        n_page += 1;
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    let old: Vec<_> = seen.iter().filter(|(_, id)| id.as_str().starts_with('r')).collect();
    let distinct: BTreeSet<_> = old.iter().collect();
    assert_eq!((old.len(), distinct.len()), (30, 30));
    assert!(
        seen.windows(2)
            .all(|pair| pair[0].0 > pair[1].0 || (pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1))
    );
}

fn pages_are_bounded_and_cursors_checked(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let many = (0..1005).map(|n| put(draft(&format!("r{n}"), n, ""), &[])).collect();
    commit(store, &scope, many).expect("commit");
    let page = |limit, cursor: Option<String>| {
        store.list(&scope, Corpus::Runbooks, &ListQuery { filter: Filter::default(), limit, cursor })
    };
    assert_eq!(page(0, None).expect("page").records.len(), 1);
    let capped = page(usize::MAX, None).expect("page");
    assert_eq!(capped.records.len(), 1000);
    let rest = page(5, capped.next).expect("page");
    assert_eq!((rest.records.len(), rest.next), (5, None));
    for garbled in ["", "0", "zz", "00", "ff00ff00ff00ff00ff00ff00", "ä", "🦀🦀"] {
        assert!(matches!(page(1, Some(garbled.into())), Err(StoreError::Cursor)), "{garbled:?}");
    }
}

fn the_change_log_has_the_newest_state_of_each_record_in_order(store: &dyn Store) {
    let scope = tenant(store, "acme");
    commit(store, &scope, ["a", "b", "c"].map(|id| put(draft(id, 1, "one"), &[])).into()).expect("commit");
    commit(store, &scope, vec![put(draft("a", 1, "two"), &[]), Change::Delete(key("b"))]).expect("commit");
    let read = |seq, limit| {
        let entries = store.changes_after(&scope, Corpus::Runbooks, seq, limit).expect("changes");
        entries
            .into_iter()
            .map(|entry| {
                let text = match entry.entry {
                    Entry::Present(record) => {
                        assert_eq!((&record.key, record.seq), (&entry.key, entry.seq));
                        record.text
                    }
                    Entry::Removed => "-".into(),
                };
                (entry.seq, entry.key.id.as_str().to_owned(), text)
            })
            .collect::<Vec<_>>()
    };
    let all = [(3, "c", "one"), (4, "a", "two"), (5, "b", "-")]
        .map(|(seq, id, text)| (seq, id.into(), text.into()));
    assert_eq!(read(0, 10), all);
    assert_eq!(read(3, 10), all[1..]);
    assert_eq!(read(0, 2), all[..2]);
    assert_eq!(read(0, 0), []);
    assert_eq!(read(5, 10), []);
    assert_eq!(read(u64::MAX, usize::MAX), []);
    assert!(store.changes_after(&scope, Corpus::Logs, 0, 10).expect("changes").is_empty());
}

fn a_removed_record_leaves_the_log_when_it_returns(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let changes = vec![put(draft("a", 1, ""), &[]), Change::Delete(key("a")), put(draft("a", 1, ""), &[])];
    let committed = commit(store, &scope, changes).expect("commit");
    assert_eq!(committed.outcomes, [Outcome::Created, Outcome::Deleted, Outcome::Created]);
    let log = store.changes_after(&scope, Corpus::Runbooks, 0, 10).expect("changes");
    assert_eq!(log.len(), 1);
    assert!(log[0].seq == 3 && matches!(log[0].entry, Entry::Present(_)));
}

fn an_unchanged_write_does_not_advance_the_log(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let same = || vec![put(draft("a", 1, "t"), &[chunk("c", None)]), Change::Delete(key("missing"))];
    assert_eq!(commit(store, &scope, same()).expect("commit").outcomes, [Outcome::Created, Outcome::Missing]);
    let before = store.get(&scope, &key("a")).expect("get");
    let chunks = store.chunks_of(&scope, &key("a")).expect("chunks");
    let again = commit(store, &scope, same()).expect("commit");
    assert_eq!((again.seq, again.outcomes), (1, vec![Outcome::Unchanged, Outcome::Missing]));
    assert_eq!(store.get(&scope, &key("a")).expect("get"), before);
    assert_eq!(store.chunks_of(&scope, &key("a")).expect("chunks"), chunks);
    // Another chunk list is another content, and the time of creation stays.
    let changed = commit(store, &scope, vec![put(draft("a", 1, "t"), &[])]).expect("commit");
    assert_eq!((changed.seq, changed.outcomes), (2, vec![Outcome::Updated]));
    let after = store.get(&scope, &key("a")).expect("get").expect("present");
    assert_eq!(Some(after.created), before.map(|record| record.created));
}

fn a_changed_record_gets_new_chunks(store: &dyn Store) {
    let scope = tenant(store, "acme");
    commit(store, &scope, vec![put(draft("a", 1, "1"), &[chunk("x", None), chunk("y", None)])])
        .expect("commit");
    let old: Vec<_> =
        store.chunks_of(&scope, &key("a")).expect("chunks").iter().map(|chunk| chunk.id).collect();
    commit(store, &scope, vec![put(draft("a", 1, "2"), &[chunk("y", None)])]).expect("commit");
    let new = store.chunks_of(&scope, &key("a")).expect("chunks");
    assert_eq!((new.len(), new[0].ordinal, new[0].text.as_str()), (1, 0, "y"));
    assert!(old.iter().all(|id| *id < new[0].id));
    assert!(store.chunks(&scope, &old).expect("chunks").is_empty());
    commit(store, &scope, vec![Change::Delete(key("a"))]).expect("delete");
    commit(store, &scope, vec![put(draft("a", 1, "3"), &[chunk("z", None)])]).expect("commit");
    let last = store.chunks_of(&scope, &key("a")).expect("chunks");
    assert!(last[0].id > new[0].id, "a chunk number was used again");
}

fn many_are_given_in_the_order_asked(store: &dyn Store) {
    let scope = tenant(store, "acme");
    commit(store, &scope, ["a", "b", "c"].map(|id| put(draft(id, 1, ""), &[chunk(id, None)])).into())
        .expect("commit");
    let ids = ["c", "nothing", "a"].map(|id| RecordId::new(id).expect("an id"));
    let records = store.get_many(&scope, Corpus::Runbooks, &ids).expect("many");
    assert_eq!(records.iter().map(|record| record.key.id.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    let id = |of: &str| store.chunks_of(&scope, &key(of)).expect("chunks")[0].id;
    let chunks = store.chunks(&scope, &[id("b"), u64::MAX, id("a")]).expect("chunks");
    assert_eq!(chunks.iter().map(|chunk| chunk.text.as_str()).collect::<Vec<_>>(), ["b", "a"]);
}

fn callers_that_write_at_once_all_get_their_own_number(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let mut seqs: Vec<u64> = std::thread::scope(|threads| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let scope = &scope;
                threads.spawn(move || {
                    (0..5)
                        .map(|n| {
                            let id = format!("{writer}-{n}");
                            let seq =
                                commit(store, scope, vec![put(draft(&id, n, ""), &[])]).expect("commit").seq;
                            // What was acknowledged is visible to whoever was told.
                            assert_eq!(
                                store.get(scope, &key(&id)).expect("get").map(|record| record.seq),
                                Some(seq)
                            );
                            seq
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().expect("writer")).collect()
    });
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=40).collect::<Vec<_>>());
}

fn readers_see_whole_batches(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let both = |n: i64| ["a", "b"].map(|id| put(draft(id, n, ""), &[])).to_vec();
    commit(store, &scope, both(0)).expect("commit");
    std::thread::scope(|threads| {
        let writer =
            threads.spawn(|| (1..60).for_each(|n| drop(commit(store, &scope, both(n)).expect("commit"))));
        while !writer.is_finished() {
            let page = store.list(&scope, Corpus::Runbooks, &ListQuery { limit: 9, ..Default::default() });
            let records = page.expect("page").records;
            assert_eq!(records.len(), 2);
            assert_eq!(records[0].facets.at, records[1].facets.at, "half a batch was visible");
        }
    });
}

fn a_body_too_deep_to_be_read_back_is_refused(store: &dyn Store) {
    let scope = tenant(store, "acme");
    let nested = |levels| {
        let mut draft = draft("deep", 1, "");
        draft.body = (0..levels).fold(serde_json::Value::Null, |inner, _| serde_json::json!([inner]));
        vec![put(draft, &[])]
    };
    assert!(matches!(commit(store, &scope, nested(101)), Err(StoreError::Limit { .. })));
    commit(store, &scope, nested(100)).expect("commit");
    assert!(store.get(&scope, &key("deep")).expect("get").is_some());
}

fn a_store_that_works_says_so(store: &dyn Store) {
    store.check().expect("check");
    store.check().expect("check again");
}
