//! Any text is a query: it is answered, by records that exist, and never more of them than were
//! asked for.

#![no_main]

use std::sync::OnceLock;

use atlas_domain::{Facets, Filter, RecordId, Timestamp};
use atlas_index::{LexicalChange, LexicalIndex};
use libfuzzer_sys::fuzz_target;

/// A small index, made once.
fn index() -> &'static LexicalIndex {
    static INDEX: OnceLock<LexicalIndex> = OnceLock::new();
    INDEX.get_or_init(|| {
        let index = LexicalIndex::open(None).expect("in memory").index;
        let put = |number: i64| LexicalChange::Put {
            id: RecordId::new(format!("pod-{number}")).expect("an id"),
            title: format!("KubePodCrashLooping {number}"),
            text: format!("the pod node-{number}.example:8080 restarts with ECONNREFUSED (code {number})"),
            facets: Facets {
                service: Some("checkout".into()),
                ..Facets::at(Timestamp::from_second(number).expect("in range"))
            },
            exact: vec![format!("alert{number}")],
        };
        index.apply(&(0..20).map(put).collect::<Vec<_>>(), 1).expect("applied");
        index
    })
}

fuzz_target!(|text: &str| {
    for hits in [
        index().search(text, &Filter::default(), 5).expect("any text is a query"),
        index().exact(text, &Filter::default(), 5).expect("any text is a query"),
    ] {
        assert!(hits.len() <= 5);
        assert!(hits.iter().all(|hit| hit.id.as_str().starts_with("pod-") && hit.score.is_finite()));
    }
});
