//! A batch in parts that can each be written as a set.

use std::collections::HashSet;

use atlas_domain::RecordKey;

use crate::Change;

/// Parts of a batch in which no record occurs twice, so that each part can be written as a set.
pub(super) fn segments(changes: &[Change]) -> Vec<&[Change]> {
    let mut segments = Vec::new();
    let (mut seen, mut begin) = (HashSet::new(), 0);
    for (place, change) in changes.iter().enumerate() {
        if !seen.insert(key(change)) {
            segments.push(&changes[begin..place]);
            begin = place;
            seen = HashSet::from([key(change)]);
        }
    }
    segments.push(&changes[begin..]);
    segments
}

/// The record that a change is about.
pub(super) fn key(change: &Change) -> &RecordKey {
    match change {
        Change::Put { record, .. } => &record.key,
        Change::Delete(key) => key,
    }
}

#[cfg(test)]
mod tests {
    use atlas_domain::{Corpus, RecordId};

    use super::*;

    #[track_caller]
    fn check(ids: &str, expect: &[&str]) {
        let delete =
            |id: char| Change::Delete(RecordKey::new(Corpus::Logs, RecordId::new(id).expect("an id")));
        let changes: Vec<Change> = ids.chars().map(delete).collect();
        let parts: Vec<String> = segments(&changes)
            .into_iter()
            .map(|part| part.iter().map(|change| key(change).id.as_str()).collect())
            .collect();
        assert_eq!(parts, expect);
    }

    #[test]
    fn a_batch_is_cut_before_a_record_comes_again() {
        check("", &[""]);
        check("abc", &["abc"]);
        check("abab", &["ab", "ab"]);
        check("aabcb", &["a", "abc", "b"]);
    }
}
