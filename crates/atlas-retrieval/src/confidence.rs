//! Whether the best hit answers the query: so that "nothing matches" can be an answer.
//!
//! Scores have the same size for every query, so one curve over them tells how often a best hit of
//! that score was about the query. It was fitted (logistic regression, every pair of sets with the
//! same weight) on the questions of four evaluation sets, each asked of its own collection and of
//! the other three; crates/README.md has the error rates.

use crate::api::{Leg, Matches};
use crate::ranking::Candidate;

/// The curve with both legs: share of a perfect match of the words, and cosine.
const BOTH: Curve = Curve { at_zero: -9.35, per_share: 8.65, per_cosine: 20.26 };
/// With words alone.
const WORDS: Curve = Curve { at_zero: -3.77, per_share: 18.22, per_cosine: 0.0 };
/// Below this nothing matches.
const WEAK: f32 = 0.25;
/// From this on it is likely an answer.
const GOOD: f32 = 0.6;

/// A logistic curve.
struct Curve {
    at_zero: f32,
    per_share: f32,
    per_cosine: f32,
}

/// How likely the best candidate is about the query, between 0 and 1.
pub(crate) fn of(best: Option<&Candidate>) -> f32 {
    let Some(best) = best else { return 0.0 };
    let own = |leg| best.legs.iter().find(|view| view.leg == leg).map(|view| view.score);
    if own(Leg::Exact).is_some() {
        return 1.0;
    }
    let (curve, cosine) = match own(Leg::Vector) {
        Some(cosine) => (BOTH, cosine),
        None => (WORDS, 0.0),
    };
    let evidence = curve.at_zero + curve.per_share * best.share + curve.per_cosine * cosine;
    1.0 / (1.0 + (-evidence).exp())
}

/// The word for it.
pub(crate) fn judge(is_empty: bool, confidence: f32) -> (Matches, f32) {
    if is_empty || confidence < WEAK {
        (Matches::None, if is_empty { 0.0 } else { confidence })
    } else if confidence < GOOD {
        (Matches::Weak, confidence)
    } else {
        (Matches::Good, confidence)
    }
}
