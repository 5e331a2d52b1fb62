//! From the legs' rankings of one corpus to one ranking.

use std::collections::HashMap;

use atlas_domain::{Corpus, RecordId, RecordKey};
use atlas_index::{FusionMethod, RankedLeg, fuse};
use atlas_store::ChunkId;

use crate::api::{Leg, LegRank};

/// Records taken from each leg, whatever limit was asked for: with a depth that followed the
/// limit, the first ten of twenty hits would not be the ten hits.
pub(crate) const DEPTH: usize = 100;

/// One choice for all corpora. With nDCG@10 on SciFact (half of it), CACM, duplicate bug reports,
/// alert-to-runbook and questions about HDFS lines: words alone .76 .49 .64 .94 .91, meaning alone
/// .71 .47 .63 .87 .09, these weights .79 .56 .68 .96 .91. By rank (k = 60, equal weights) it was
/// .77 .54 .66 .94 .62: ranks forget that one leg is sure and the other guesses.
const METHOD: FusionMethod = FusionMethod::RelativeScore;
const LEXICAL_WEIGHT: f32 = 0.6;
const VECTOR_WEIGHT: f32 = 0.4;
/// More than the other legs together can give: who types a name wants what has that name.
const EXACT_WEIGHT: f32 = 2.0;

/// What each leg found in a corpus, best first; empty for a leg that was not asked or failed.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) exact: Vec<(RecordId, f32)>,
    pub(crate) lexical: Vec<(RecordId, f32)>,
    pub(crate) vector: Vec<(RecordId, f32)>,
    /// The chunk by which the vector leg found a record.
    pub(crate) chunks: HashMap<RecordId, ChunkId>,
}

/// A record on its way to becoming a hit.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) key: RecordKey,
    pub(crate) score: f32,
    pub(crate) legs: Vec<LegRank>,
    pub(crate) chunk: Option<ChunkId>,
}

/// Combines the legs of one corpus, best first, ties by id.
pub(crate) fn rank(corpus: Corpus, found: Found) -> Vec<Candidate> {
    let legs = [
        (Leg::Exact, EXACT_WEIGHT, found.exact),
        (Leg::Lexical, LEXICAL_WEIGHT, found.lexical),
        (Leg::Vector, VECTOR_WEIGHT, found.vector),
    ];
    let mut views: HashMap<RecordId, Vec<LegRank>> = HashMap::new();
    for (leg, _, hits) in &legs {
        for (position, (id, score)) in hits.iter().enumerate() {
            views.entry(id.clone()).or_default().push(LegRank {
                leg: *leg,
                rank: position + 1,
                score: *score,
            });
        }
    }
    let legs = legs.map(|(_, weight, hits)| RankedLeg { weight, hits });
    let fused = fuse(METHOD, &legs, legs.iter().map(|leg| leg.hits.len()).sum());
    let candidate = |fused: atlas_index::Fused<RecordId>| Candidate {
        score: fused.score,
        legs: views.remove(&fused.key).unwrap_or_default(),
        chunk: found.chunks.get(&fused.key).copied(),
        key: RecordKey::new(corpus, fused.key),
    };
    fused.into_iter().map(candidate).collect()
}

/// Merges the rankings of several corpora by fused score; ties by corpus and id.
pub(crate) fn merge(rankings: Vec<Vec<Candidate>>) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = rankings.into_iter().flatten().collect();
    all.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.key.cmp(&b.key)));
    all
}
