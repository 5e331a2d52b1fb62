//! Making one ranking of several.
//!
//! Which leg knows the answer differs from query to query: one with an identifier belongs to the
//! words, one that paraphrases belongs to the meaning. Ranks cannot tell, and neither can scores
//! that are stretched between a leg's best and worst hit: both make a leg that merely guesses as
//! loud as one that knows. So scores keep their own distances here. Words count by their share of
//! the best match, cosines as they are: a leg whose hits are all alike moves nothing, and one that
//! has found what nobody else has decides.
//!
//! Two things are missing from a list of hits and are made up here. A record that a leg did not
//! list would have had some score up to the leg's worst, if the list was cut; see
//! [`RankedLeg::unlisted`]. And where words cannot tell records apart, small differences in meaning
//! come from the numbers in them and not from what they say; see [`level`].

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// One leg's answer.
#[derive(Debug, Clone)]
pub struct RankedLeg<K> {
    /// What a score of this leg is multiplied with; 0 leaves it out.
    pub weight: f32,
    /// The score of a record that is not listed.
    pub unlisted: f32,
    /// Keys with the leg's own scores, best first. Only the first of a repeated key counts.
    pub hits: Vec<(K, f32)>,
}

impl<K> RankedLeg<K> {
    /// A leg that was asked for `depth` hits. What it has not listed lies between nothing and the
    /// worst that it has when there was more to list, and is nothing when that was all.
    pub fn cut_at(depth: usize, weight: f32, hits: Vec<(K, f32)>) -> Self {
        let is_cut = hits.len() >= depth;
        let unlisted = if is_cut { worst(&hits) / 2.0 } else { 0.0 };
        Self { weight, unlisted, hits }
    }

    /// A leg that has an opinion of every record: whatever it has not listed is at most as good as
    /// the worst that it has.
    pub fn of_everything(weight: f32, hits: Vec<(K, f32)>) -> Self {
        Self { weight, unlisted: worst(&hits), hits }
    }
}

fn worst<K>(hits: &[(K, f32)]) -> f32 {
    let finite = hits.iter().map(|(_, score)| *score).filter(|score| score.is_finite());
    finite.reduce(f32::min).unwrap_or(0.0)
}

/// One key of the combined ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Fused<K> {
    /// Which.
    pub key: K,
    /// The sum of its parts.
    pub score: f32,
    /// What each leg gave to it, in the order of the legs.
    pub parts: Vec<f32>,
}

/// Combines legs into one ranking of at most `depth` keys, best first, ties by key. The same legs
/// always give the same answer.
pub fn fuse<K: Clone + Eq + Hash + Ord>(legs: &[RankedLeg<K>], depth: usize) -> Vec<Fused<K>> {
    let mut scores: HashMap<&K, Vec<Option<f32>>> = HashMap::new();
    for (number, leg) in legs.iter().enumerate().filter(|(_, leg)| leg.weight > 0.0) {
        for (key, score) in &leg.hits {
            let of_key = scores.entry(key).or_insert_with(|| vec![None; legs.len()]);
            // A score that is no number is no evidence.
            of_key[number].get_or_insert(if score.is_finite() { *score } else { leg.unlisted });
        }
    }
    let fused = |(key, scores): (&K, Vec<Option<f32>>)| {
        let part = |(leg, score): (&RankedLeg<K>, Option<f32>)| {
            if leg.weight > 0.0 { leg.weight * score.unwrap_or(leg.unlisted) } else { 0.0 }
        };
        let parts: Vec<f32> = legs.iter().zip(scores).map(part).collect();
        let score = parts.iter().map(|part| f64::from(*part)).sum::<f64>() as f32;
        Fused { key: key.clone(), score, parts }
    };
    let mut ranking: Vec<Fused<K>> = scores.into_iter().map(fused).collect();
    ranking.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.key.cmp(&b.key)));
    ranking.truncate(depth);
    ranking
}

/// Makes scores of `meaning` equal where they differ by at most `noise` among records to which
/// `words` gives one score. Lines of a log that differ in their identifiers only are an example:
/// no word of the query tells one from the other, and what their vectors tell is the identifiers.
/// A record of `words` that `meaning` has cut off counts as its worst, so that the cut does not
/// tell such lines apart either.
pub fn level<K: Clone + Eq + Hash>(words: &[(K, f32)], meaning: &mut Vec<(K, f32)>, noise: f32) {
    let best = words.iter().map(|(_, score)| *score).fold(0.0, f32::max);
    if best <= 0.0 || meaning.is_empty() {
        return;
    }
    let worst = worst(meaning);
    // Sums of the same terms may differ in their last bits.
    let group = |score: f32| (f64::from(score / best) * 1e5).round() as i64;
    let mut unlisted: HashMap<&K, i64> = words.iter().map(|(key, score)| (key, group(*score))).collect();
    // `meaning` is sorted, so the first of a group is its best.
    let mut highest: BTreeMap<i64, f32> = BTreeMap::new();
    for (key, score) in meaning.iter_mut() {
        let Some(group) = unlisted.remove(key) else { continue };
        let top = highest.entry(group).or_insert(*score);
        if *top - *score <= noise {
            *score = *top;
        } else {
            *top = *score;
        }
    }
    for (key, _) in words {
        let top = unlisted.remove(key).and_then(|group| highest.get(&group));
        meaning.extend(top.filter(|top| **top - worst <= noise).map(|top| (key.clone(), *top)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leg(weight: f32, hits: &[(&'static str, f32)]) -> RankedLeg<&'static str> {
        RankedLeg { weight, unlisted: 0.0, hits: hits.to_vec() }
    }

    #[track_caller]
    fn check(legs: &[RankedLeg<&'static str>], expect: &[&str]) {
        let fused = fuse(legs, 10);
        assert_eq!(fused.iter().map(|hit| hit.key).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn what_two_legs_find_outranks_what_one_finds() {
        check(&[leg(1.0, &[("a", 0.9), ("b", 0.8)]), leg(1.0, &[("c", 0.9), ("b", 0.8)])], &["b", "a", "c"]);
    }

    #[test]
    fn a_leg_that_guesses_does_not_overrule_one_that_knows() {
        let words = leg(1.0, &[("known", 0.7), ("x", 0.1), ("y", 0.1)]);
        let meaning = leg(1.0, &[("y", 0.52), ("x", 0.51), ("known", 0.5)]);
        check(&[words, meaning], &["known", "y", "x"]);
    }

    #[test]
    fn ties_are_broken_by_key_whatever_the_order_of_legs() {
        let (one, two) = (leg(1.0, &[("b", 1.0)]), leg(1.0, &[("a", 1.0)]));
        check(&[one.clone(), two.clone()], &["a", "b"]);
        check(&[two, one], &["a", "b"]);
    }

    #[test]
    fn what_a_cut_list_leaves_out_is_worth_half_its_worst() {
        let cut = RankedLeg::cut_at(2, 1.0, vec![("a", 0.9), ("b", 0.6)]);
        let all = RankedLeg::cut_at(3, 1.0, vec![("a", 0.9), ("b", 0.6)]);
        let meaning = RankedLeg::of_everything(1.0, vec![("c", 0.9), ("d", 0.5)]);
        assert_eq!((cut.unlisted, all.unlisted, meaning.unlisted), (0.3, 0.0, 0.5));
        check(&[cut, meaning.clone()], &["a", "c", "b", "d"]);
        check(&[all, meaning], &["a", "b", "c", "d"]);
        assert_eq!(RankedLeg::<&str>::of_everything(1.0, vec![]).unlisted, 0.0);
    }

    #[test]
    fn parts_add_up() {
        let fused = fuse(&[leg(2.0, &[("a", 0.5)]), leg(0.0, &[("a", 9.0)]), leg(1.0, &[("a", 0.25)])], 1);
        assert_eq!(fused, [Fused { key: "a", score: 1.25, parts: vec![1.0, 0.0, 0.25] }]);
    }

    #[test]
    fn a_leg_without_weight_and_a_repeated_key_do_not_count() {
        check(&[leg(0.0, &[("a", 1.0)])], &[]);
        check(&[leg(1.0, &[("a", 3.0), ("b", 2.0), ("b", 9.0)])], &["a", "b"]);
    }

    #[test]
    fn scores_that_are_no_numbers_do_no_harm() {
        check(
            &[leg(1.0, &[("a", f32::NAN), ("b", 2.0), ("c", 1.0), ("d", f32::INFINITY)])],
            &["b", "c", "a", "d"],
        );
    }

    #[test]
    fn records_that_words_cannot_tell_apart_are_alike_in_meaning_up_to_noise() {
        let words = [("a", 2.0), ("b", 2.0), ("c", 2.0), ("d", 1.0)];
        let mut meaning = vec![("c", 0.6), ("d", 0.58), ("b", 0.55), ("x", 0.5), ("a", 0.3)];
        level(&words, &mut meaning, 0.1);
        assert_eq!(meaning, [("c", 0.6), ("d", 0.58), ("b", 0.6), ("x", 0.5), ("a", 0.3)]);
    }

    #[test]
    fn what_meaning_has_cut_off_is_as_near_as_what_words_call_the_same() {
        let words = [("a", 2.0), ("b", 2.0), ("c", 1.0), ("d", 1.0), ("e", 0.5)];
        let mut meaning = vec![("c", 0.9), ("b", 0.55), ("x", 0.5)];
        level(&words, &mut meaning, 0.1);
        // d may be far from c, and nothing is known of what is like e.
        assert_eq!(meaning, [("c", 0.9), ("b", 0.55), ("x", 0.5), ("a", 0.55)]);
    }

    proptest! {
        #[test]
        fn a_single_leg_keeps_its_order(count in 0usize..40, depth in 0usize..50) {
            let hits: Vec<(usize, f32)> = (0..count).map(|rank| (rank, 100.0 - rank as f32)).collect();
            let fused = fuse(&[RankedLeg::cut_at(40, 0.7, hits)], depth);
            let keys: Vec<usize> = fused.iter().map(|hit| hit.key).collect();
            prop_assert_eq!(keys, (0..count.min(depth)).collect::<Vec<_>>());
        }

        #[test]
        fn a_smaller_depth_is_a_prefix(
            a in prop::collection::vec((0u8..30, 0.0f32..1.0), 0..30),
            b in prop::collection::vec((0u8..30, 0.0f32..1.0), 0..30),
            depth in 0usize..30,
        ) {
            let legs = [RankedLeg::cut_at(20, 1.0, a), RankedLeg::of_everything(0.5, b)];
            let all = fuse(&legs, 100);
            prop_assert_eq!(&all[..depth.min(all.len())], &fuse(&legs, depth)[..]);
        }
    }
}
