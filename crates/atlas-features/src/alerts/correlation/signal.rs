//! What of an alert takes part in correlation.

use std::sync::Arc;

use atlas_domain::{Alert, RecordId, Timestamp};

use super::entity;

/// Labels that say where a system ends: nothing crosses from staging into production.
const BOUNDARY_LABELS: [&str; 4] = ["cluster", "environment", "env", "region"];

/// Words that most alert texts share: articles, and the vocabulary of monitoring itself.
const FILLER: [&str; 36] = [
    "above",
    "and",
    "are",
    "because",
    "been",
    "being",
    "below",
    "but",
    "due",
    "error",
    "errors",
    "for",
    "from",
    "has",
    "have",
    "into",
    "its",
    "namespace",
    "not",
    "off",
    "pod",
    "rate",
    "request",
    "requests",
    "service",
    "services",
    "than",
    "that",
    "the",
    "their",
    "this",
    "threshold",
    "was",
    "when",
    "which",
    "with",
];

/// An alert as the correlator compares it.
#[derive(Debug, Clone)]
pub struct Signal {
    pub(super) id: RecordId,
    pub(super) fingerprint: String,
    pub(super) name: Arc<str>,
    /// Normalised; see [`entity::normalised`].
    pub(super) entity: Option<Arc<str>>,
    /// Whether the text names the entity. Rules whose text is about their target say more than
    /// a fixed sentence does; it counts when many alerts compete.
    pub(super) names_its_entity: bool,
    /// Hashes of the distinct words of the text, ascending.
    words: Vec<u64>,
    boundaries: Vec<(&'static str, String)>,
    /// Of unit length.
    vector: Option<Arc<[f32]>>,
    /// Seconds since 1970.
    pub(super) at: f64,
}

impl Signal {
    /// The signal of an alert. `vector` is the embedding of its wording, of unit length.
    pub fn of(alert: &Alert, vector: Option<&[f32]>) -> Self {
        let text = format!("{}\n{}", alert.summary, alert.description);
        let tokens = entity::tokens(&text);
        let entity = alert.service.as_deref().map(entity::normalised).filter(|name| !name.is_empty());
        let mut words: Vec<u64> = tokens
            .iter()
            .filter(|word| word.len() > 2 && word.chars().all(char::is_alphabetic))
            .filter(|word| FILLER.binary_search(&word.as_str()).is_err())
            .map(entity::hash)
            .collect();
        words.sort_unstable();
        words.dedup();
        Self {
            id: alert.id.clone(),
            fingerprint: alert.fingerprint.clone(),
            name: alert.name.as_str().into(),
            names_its_entity: entity.as_deref().is_some_and(|name| entity::is_named_in(name, &tokens)),
            entity: entity.map(Into::into),
            words,
            boundaries: BOUNDARY_LABELS
                .iter()
                .filter_map(|label| Some((*label, alert.labels.get(*label)?.clone())))
                .collect(),
            vector: vector.map(Into::into),
            at: seconds(alert.starts_at),
        }
    }

    /// Share of common words, or how far the cosine exceeds that of unrelated sentences; 0 to 1.
    pub(super) fn similarity(&self, other: &Self) -> f32 {
        let shared = shared(&self.words, &other.words);
        let all = self.words.len() + other.words.len() - shared;
        let by_words = if all == 0 { 0.0 } else { shared as f32 / all as f32 };
        by_words.max(self.cosine(other).map_or(0.0, |cosine| (cosine - UNRELATED) / (1.0 - UNRELATED)))
    }

    /// Cosine of the wordings' vectors, where both have one.
    pub(super) fn cosine(&self, other: &Self) -> Option<f32> {
        let (one, other) = (self.vector.as_deref()?, other.vector.as_deref()?);
        (one.len() == other.len()).then(|| one.iter().zip(other).map(|(x, y)| x * y).sum())
    }

    /// Both say where they come from, and it is not the same place.
    pub(super) fn is_elsewhere(&self, other: &Self) -> bool {
        self.boundaries
            .iter()
            .any(|(label, value)| other.boundaries.iter().any(|(l, v)| l == label && v != value))
    }
}

/// Cosine that sentences about operations have with MiniLM without being about the same thing.
const UNRELATED: f32 = 0.5;

/// Seconds since 1970.
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}

fn shared(one: &[u64], other: &[u64]) -> usize {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while let (Some(x), Some(y)) = (one.get(i), other.get(j)) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, shared) = (i + 1, j + 1, shared + 1),
        }
    }
    shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filler_is_sorted() {
        assert!(FILLER.is_sorted());
    }

    #[test]
    fn common_elements_are_counted_once() {
        assert_eq!(shared(&[1, 3, 5], &[2, 3, 4, 5]), 2);
        assert_eq!(shared(&[], &[1]), 0);
    }
}
