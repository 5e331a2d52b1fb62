//! From the legs' rankings of one corpus to one ranking.

use std::collections::HashMap;

use atlas_domain::{Corpus, RecordId, RecordKey};
use atlas_index::{Fused, RankedLeg, fuse, level};
use atlas_store::ChunkId;

use crate::api::{Leg, LegRank};

/// Records taken from each leg, whatever limit was asked for: with a depth that followed the
/// limit, the first ten of twenty hits would not be the ten hits.
pub(crate) const DEPTH: usize = 100;
/// Records beyond the limit where the words alone rank and their order is the answer's: for those
/// that were removed a moment ago.
pub(crate) const SPARE: usize = 16;

/// What a cosine is worth beside the share that a record has of the best match of the words.
/// Chosen for all corpora at once; crates/README.md has the figures and those of the alternatives.
const VECTOR_WEIGHT: f32 = 1.5;
/// Cosines of lines that differ in their numbers only are up to this far apart.
const VECTOR_NOISE: f32 = 0.1;
/// More than the other legs together can give: who types a name wants what has that name.
const EXACT_WEIGHT: f32 = 4.0;

/// What each leg found in a corpus, best first; empty for a leg that was not asked or failed.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) exact: Vec<(RecordId, f32)>,
    pub(crate) lexical: Vec<(RecordId, f32)>,
    /// What the words of the query could score at most.
    pub(crate) best_possible: f32,
    pub(crate) vector: Vec<(RecordId, f32)>,
    /// The chunk by which the vector leg found a record.
    pub(crate) chunks: HashMap<RecordId, ChunkId>,
}

impl Found {
    /// What a score of the words is of a perfect match.
    fn share(&self, score: f32) -> f32 {
        if self.best_possible > 0.0 { score / self.best_possible } else { score }
    }

    /// The largest share that a record has.
    pub(crate) fn best_share(&self) -> f32 {
        self.lexical.first().map_or(0.0, |(_, score)| self.share(*score))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.lexical.is_empty() && self.vector.is_empty()
    }
}

/// A record on its way to becoming a hit.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) key: RecordKey,
    pub(crate) score: f32,
    pub(crate) legs: Vec<LegRank>,
    /// What its words are of a perfect match.
    pub(crate) share: f32,
    /// What each leg gave to the score.
    pub(crate) parts: Vec<(Leg, f32)>,
    pub(crate) chunk: Option<ChunkId>,
}

/// Combines the legs of one corpus, best first, ties by id. `best_share` is that of all corpora
/// that are searched together, so that their scores can be compared.
pub(crate) fn rank(corpus: Corpus, mut found: Found, best_share: f32) -> Vec<Candidate> {
    let mut views: HashMap<RecordId, Vec<LegRank>> = HashMap::new();
    let legs = [(Leg::Exact, &found.exact), (Leg::Lexical, &found.lexical), (Leg::Vector, &found.vector)];
    for (leg, hits) in legs {
        for (position, (id, score)) in hits.iter().enumerate() {
            let view = LegRank { leg, rank: position + 1, score: *score };
            views.entry(id.clone()).or_default().push(view);
        }
    }
    level(&found.lexical, &mut found.vector, VECTOR_NOISE);
    let shares: HashMap<RecordId, f32> =
        found.lexical.iter().map(|(id, score)| (id.clone(), found.share(*score))).collect();
    let of_best = if best_share > 0.0 { found.share(1.0) / best_share } else { 1.0 };
    let legs = [
        RankedLeg { weight: EXACT_WEIGHT, unlisted: 0.0, hits: found.exact },
        RankedLeg::cut_at(DEPTH, of_best, found.lexical),
        RankedLeg::of_everything(VECTOR_WEIGHT, found.vector),
    ];
    let fused = fuse(&legs, legs.iter().map(|leg| leg.hits.len()).sum());
    let candidate = |Fused { key, score, parts }: Fused<RecordId>| Candidate {
        score,
        share: shares.get(&key).copied().unwrap_or(0.0),
        legs: views.remove(&key).unwrap_or_default(),
        parts: [Leg::Exact, Leg::Lexical, Leg::Vector].into_iter().zip(parts).collect(),
        chunk: found.chunks.get(&key).copied(),
        key: RecordKey::new(corpus, key),
    };
    fused.into_iter().map(candidate).collect()
}

/// Merges the rankings of several corpora by score; ties by corpus and id.
pub(crate) fn merge(rankings: Vec<Vec<Candidate>>) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = rankings.into_iter().flatten().collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.key.cmp(&b.key)));
    all
}
