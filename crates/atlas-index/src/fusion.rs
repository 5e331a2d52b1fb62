//! Making one ranking of several.
//!
//! Legs disagree in what a score means, so the default looks at ranks only. Where one leg is much
//! better than the other, ranks throw away how sure it was; [`FusionMethod::RelativeScore`] keeps
//! that. Which is better is a question for an evaluation of the corpus, not for this module.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps the first ranks from deciding alone; the value of the paper that named the method.
const RECIPROCAL_RANK_K: f64 = 60.0;

/// How legs are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FusionMethod {
    /// Weight over (60 + rank), summed.
    ReciprocalRank,
    /// Weight times the score's place between the leg's worst and best hit, summed. Give every
    /// leg the same fixed depth, or the scale depends on the limit that somebody asked for.
    RelativeScore,
}

/// One leg's answer.
#[derive(Debug, Clone)]
pub struct RankedLeg<K> {
    /// How much it counts; 0 leaves it out.
    pub weight: f32,
    /// Keys with the leg's own scores, best first. Only the first of a repeated key counts.
    pub hits: Vec<(K, f32)>,
}

/// One key of the combined ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused<K> {
    /// Which.
    pub key: K,
    /// Comparable inside one answer only.
    pub score: f32,
}

/// Combines legs into one ranking of at most `depth` keys, best first, ties by key. The same legs
/// always give the same answer.
pub fn fuse<K: Clone + Eq + Hash + Ord>(
    method: FusionMethod,
    legs: &[RankedLeg<K>],
    depth: usize,
) -> Vec<Fused<K>> {
    let mut totals: HashMap<&K, (usize, f64)> = HashMap::new();
    for (number, leg) in legs.iter().enumerate().filter(|(_, leg)| leg.weight > 0.0) {
        let worth = Worth::of(method, leg);
        let mut rank = 0;
        for (key, score) in &leg.hits {
            // The leg that added last is kept beside the sum, so a repeated key is seen cheaply.
            let (seen_in, total) = totals.entry(key).or_insert((usize::MAX, 0.0));
            if *seen_in != number {
                rank += 1;
                *seen_in = number;
                *total += f64::from(leg.weight) * worth.of_hit(rank, *score);
            }
        }
    }
    let mut ranking: Vec<(&K, f64)> = totals.into_iter().map(|(key, (_, total))| (key, total)).collect();
    ranking.sort_by(|(a_key, a), (b_key, b)| b.total_cmp(a).then_with(|| a_key.cmp(b_key)));
    ranking
        .into_iter()
        .take(depth)
        .map(|(key, total)| Fused { key: key.clone(), score: total as f32 })
        .collect()
}

/// What one hit of a leg is worth, between 0 and 1.
enum Worth {
    Rank,
    Score { worst: f64, range: f64 },
}

impl Worth {
    fn of<K>(method: FusionMethod, leg: &RankedLeg<K>) -> Self {
        let finite = || leg.hits.iter().map(|(_, score)| f64::from(*score)).filter(|score| score.is_finite());
        match method {
            FusionMethod::ReciprocalRank => Self::Rank,
            FusionMethod::RelativeScore => {
                let worst = finite().fold(f64::INFINITY, f64::min);
                Self::Score { worst, range: finite().fold(f64::NEG_INFINITY, f64::max) - worst }
            }
        }
    }

    fn of_hit(&self, rank: usize, score: f32) -> f64 {
        match *self {
            Self::Rank => 1.0 / (RECIPROCAL_RANK_K + rank as f64),
            // A score that is no number is no evidence.
            Self::Score { .. } if !score.is_finite() => 0.0,
            // All hits alike (an exact leg, a single hit): each is as good as the best.
            Self::Score { range, .. } if range <= 0.0 => 1.0,
            Self::Score { worst, range } => (f64::from(score) - worst) / range,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leg(weight: f32, hits: &[(&'static str, f32)]) -> RankedLeg<&'static str> {
        RankedLeg { weight, hits: hits.to_vec() }
    }

    #[track_caller]
    fn check(method: FusionMethod, legs: &[RankedLeg<&'static str>], expect: &[&str]) {
        let fused = fuse(method, legs, 10);
        assert_eq!(fused.iter().map(|hit| hit.key).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn what_two_legs_find_outranks_what_one_finds() {
        let legs = [leg(1.0, &[("a", 9.0), ("b", 8.0)]), leg(1.0, &[("c", 0.9), ("b", 0.8)])];
        check(FusionMethod::ReciprocalRank, &legs, &["b", "a", "c"]);
    }

    #[test]
    fn ties_are_broken_by_key_whatever_the_order_of_legs() {
        let (one, two) = (leg(1.0, &[("b", 1.0)]), leg(1.0, &[("a", 1.0)]));
        for method in [FusionMethod::ReciprocalRank, FusionMethod::RelativeScore] {
            check(method, &[one.clone(), two.clone()], &["a", "b"]);
            check(method, &[two.clone(), one.clone()], &["a", "b"]);
        }
    }

    #[test]
    fn relative_scores_keep_how_sure_a_leg_was() {
        let legs =
            [leg(1.0, &[("sure", 10.0), ("x", 1.0), ("y", 0.0)]), leg(1.0, &[("x", 0.51), ("y", 0.5)])];
        check(FusionMethod::RelativeScore, &legs, &["x", "sure", "y"]);
        check(FusionMethod::ReciprocalRank, &legs, &["x", "y", "sure"]);
    }

    #[test]
    fn a_leg_without_weight_and_a_repeated_key_do_not_count() {
        check(FusionMethod::ReciprocalRank, &[leg(0.0, &[("a", 1.0)])], &[]);
        let legs = [leg(1.0, &[("a", 3.0), ("b", 2.0), ("b", 1.0)])];
        check(FusionMethod::ReciprocalRank, &legs, &["a", "b"]);
    }

    #[test]
    fn scores_that_are_no_numbers_do_no_harm() {
        let legs = [leg(1.0, &[("a", f32::NAN), ("b", 2.0), ("c", 1.0), ("d", f32::INFINITY)])];
        check(FusionMethod::RelativeScore, &legs, &["b", "a", "c", "d"]);
    }

    proptest! {
        #[test]
        fn a_single_leg_keeps_its_order(count in 0usize..40, depth in 0usize..50) {
            let hits: Vec<(usize, f32)> = (0..count).map(|rank| (rank, 100.0 - rank as f32)).collect();
            for method in [FusionMethod::ReciprocalRank, FusionMethod::RelativeScore] {
                let fused = fuse(method, &[RankedLeg { weight: 0.7, hits: hits.clone() }], depth);
                let keys: Vec<usize> = fused.iter().map(|hit| hit.key).collect();
                prop_assert_eq!(keys, (0..count.min(depth)).collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_smaller_depth_is_a_prefix(
            a in prop::collection::vec((0u8..30, 0.0f32..1.0), 0..30),
            b in prop::collection::vec((0u8..30, 0.0f32..1.0), 0..30),
            depth in 0usize..30,
        ) {
            let legs = [RankedLeg { weight: 1.0, hits: a }, RankedLeg { weight: 0.5, hits: b }];
            for method in [FusionMethod::ReciprocalRank, FusionMethod::RelativeScore] {
                let all = fuse(method, &legs, 100);
                prop_assert_eq!(&all[..depth.min(all.len())], &fuse(method, &legs, depth)[..]);
            }
        }
    }
}
