//! Claims about a store's own vector search, where it has one.

use std::collections::HashMap;

use atlas_domain::{Corpus, Filter, RecordId};
use atlas_store::{Batch, Change, Near, NearQuery, Store};
use proptest::prelude::*;

use super::model::{facets, filter, record, runner};
use super::{chunk, space, tenant};

/// Few and coarse, so that equal distances occur and ids decide.
fn vector() -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-2i8..=2, 3)
        .prop_filter("a direction", |v| v.iter().any(|c| *c != 0))
        .prop_map(|v| v.into_iter().map(f32::from).collect())
}

pub(super) fn its_own_vector_search_is_a_comparison_of_all_that_match(make: &impl Fn() -> Box<dyn Store>) {
    let store = make();
    let Some(search) = store.vector_search() else { return };
    let (scope, other) = (tenant(&*store, "acme"), tenant(&*store, "other"));
    let (m, n) = (space("m"), space("n"));
    let drafts = prop::collection::vec((facets(), prop::collection::vec(vector(), 0..4)), 80);
    runner(1)
        .run(&drafts, |drafts| {
            let mut changes = Vec::new();
            for (number, (facets, vectors)) in drafts.into_iter().enumerate() {
                let text = |place: usize| format!("{number} {place}");
                let chunks =
                    vectors.iter().enumerate().map(|(place, v)| chunk(&text(place), Some(v))).collect();
                changes.push(Change::Put { record: record(&format!("r{number}"), facets), chunks });
            }
            for (scope, space) in [(&scope, &m), (&other, &m)] {
                let batch = Batch { space: Some(space.clone()), changes: changes.clone() };
                store.commit(scope, batch).expect("commit");
            }
            Ok(())
        })
        .expect("written");
    // What is of another space, another tenant or removed must not be found.
    let removed = ["r3", "r40"].map(|id| Change::Delete(record(id, atlas_domain::Facets::at(at())).key));
    store.commit(&scope, Batch { space: None, changes: removed.into() }).expect("commit");
    let rows = store.vectors_after(&scope, Corpus::Alerts, &m, 0, usize::MAX).expect("vectors");
    let longer = rows.iter().take(20).map(|row| (row.chunk, vec![1.0; 5])).collect();
    store.put_vectors(&scope, &n, longer).expect("vectors of another space");

    runner(150)
        .run(&(filter(), vector(), 1usize..12), |(filter, query, limit)| {
            let found = search
                .nearest(
                    &scope,
                    Corpus::Alerts,
                    NearQuery { space: &m, vector: &query, filter: &filter, limit },
                )
                .expect("found");
            let mut best: HashMap<RecordId, f32> = HashMap::new();
            for row in rows.iter().filter(|row| filter.matches(&row.facets)) {
                let score = cosine(&query, &row.vector);
                best.entry(row.id.clone()).and_modify(|old| *old = old.max(score)).or_insert(score);
            }
            let mut expect: Vec<_> = best.into_iter().collect();
            // The same numbers to the precision of both computations; ids decide between equals.
            let rounded = |score: f32| (score * 1e5).round() as i64;
            expect.sort_by(|a, b| rounded(b.1).cmp(&rounded(a.1)).then_with(|| a.0.cmp(&b.0)));
            expect.truncate(limit);
            let of = |near: &Near| (near.id.clone(), rounded(near.score));
            let expect: Vec<_> = expect.into_iter().map(|(id, score)| (id, rounded(score))).collect();
            prop_assert_eq!(found.iter().map(of).collect::<Vec<_>>(), expect);
            let belongs = |near: &Near| rows.iter().any(|row| (row.chunk, &row.id) == (near.chunk, &near.id));
            prop_assert!(found.iter().all(belongs));
            Ok(())
        })
        .expect("every question agrees");
    let everything = Filter::default();
    let nothing = NearQuery { space: &space("absent"), vector: &[1.0; 3], filter: &everything, limit: 5 };
    assert_eq!(search.nearest(&scope, Corpus::Alerts, nothing).expect("found"), []);
    assert_eq!(
        search.nearest(&scope, Corpus::Runbooks, NearQuery { space: &m, ..nothing }).expect("found"),
        []
    );
}

fn at() -> atlas_domain::Timestamp {
    atlas_domain::Timestamp::UNIX_EPOCH
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    (dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())) as f32
}
