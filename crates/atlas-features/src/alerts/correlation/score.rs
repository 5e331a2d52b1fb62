//! How much speaks for two alerts having one cause: a sum of evidence in log odds.
//!
//! Each [`Reason`] adds to the sum or takes from it, so that an edge can be explained by what
//! made it. The weights are those of a logistic regression on pairs of alerts in simulated
//! streams of labelled incidents (`eval::fit`); what those streams do not hold (cosines, labels,
//! learned company) has weights by judgement, marked below.

use std::fmt;

use super::signal::Signal;
use super::topology::Distance;

/// What speaks for or against an edge between two alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// How close in time they fired.
    Time,
    /// How many others fired then: among many, closeness is chance.
    Crowd,
    /// The same rule for the same labels, while the first still fires: something began anew.
    Recurrence,
    /// The same rule for something else.
    Rule,
    /// Common words, or vectors that lie close.
    Wording,
    /// Their entities are close in the service graph, or far apart.
    Graph,
    /// They fired in the order and at the distance in which an effect travels the graph, or not.
    Lag,
    /// Their entities have often had alerts together.
    Company,
    /// Labels say that they come from different systems.
    Boundary,
    /// The same alert, again after it was resolved.
    Flap,
    /// A person put them together.
    Person,
}

impl Reason {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Crowd => "crowd",
            Self::Recurrence => "recurrence",
            Self::Rule => "name",
            Self::Wording => "similar",
            Self::Graph => "graph",
            Self::Lag => "lag",
            Self::Company => "company",
            Self::Boundary => "boundary",
            Self::Flap => "fingerprint",
            Self::Person => "person",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parts of the sum.
pub(crate) const TERMS: usize = 15;

/// Which reason a term is told as.
const REASONS: [Reason; TERMS] = [
    Reason::Time,
    Reason::Time,
    Reason::Time,
    Reason::Recurrence,
    Reason::Rule,
    Reason::Wording,
    Reason::Graph,
    Reason::Graph,
    Reason::Lag,
    Reason::Lag,
    Reason::Crowd,
    Reason::Crowd,
    Reason::Crowd,
    Reason::Company,
    Reason::Boundary,
];

/// What an observation weighs, term by term.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weights(pub(crate) [f32; TERMS]);

impl Default for Weights {
    fn default() -> Self {
        Self([
            2.47,  // constant
            -2.44, // minutes apart
            2.14,  // ln(1 + seconds apart / 20)
            -6.11, // recurrence
            -0.15, // the same rule
            4.36,  // similarity, 0 to 1
            1.07,  // near in the graph
            -5.69, // far in the graph
            -0.62, // minutes off the lag
            -3.32, // near without a lag to expect
            -0.88, // ln(1 + competing alerts)
            2.86,  // one of them does not name its entity
            -1.75, // and the crowd then
            1.0,   // learned company; by judgement
            -12.0, // different systems; by judgement, more than all else can give
        ])
    }
}

/// What was observed of two alerts, term by term.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Observed(pub(crate) [f32; TERMS]);

/// What two alerts are to each other, beyond what they say themselves.
pub(super) struct Relation {
    /// `None` where the graph does not know both; the distance is `None` where they are far apart.
    pub(super) graph: Option<Option<Distance>>,
    /// How long an effect takes over one edge, in seconds.
    pub(super) hop_lag: f64,
    /// Alerts of late that could as well belong.
    pub(super) crowd: u32,
    /// Those among them that name their entity.
    pub(super) named_crowd: u32,
    pub(super) recurs: bool,
    pub(super) often_together: bool,
}

/// Alerts that compete count up to here: beyond, a storm would leave nothing together.
const MOST_NAMED_CROWD: u32 = 60;
const MOST_CROWD: u32 = 200;

impl Observed {
    /// `earlier` arrived before `later`.
    pub(super) fn of(earlier: &Signal, later: &Signal, relation: &Relation) -> Self {
        let apart = later.at - earlier.at;
        let minutes = |seconds: f64, most: f64| (seconds.abs() / 60.0).min(most) as f32;
        let mut terms = [0.0; TERMS];
        terms[0] = 1.0;
        terms[1] = minutes(apart, 10.0);
        terms[2] = (apart.abs() / 20.0).ln_1p() as f32;
        terms[3] = f32::from(relation.recurs);
        terms[4] = f32::from(!relation.recurs && earlier.name == later.name);
        terms[5] = earlier.similarity(later);
        match relation.graph {
            None => {}
            Some(None) => terms[7] = 1.0,
            Some(Some(distance)) => {
                terms[6] = 1.0;
                match distance.lag {
                    Some(edges) => {
                        terms[8] = minutes(apart - relation.hop_lag * f64::from(edges), 5.0);
                    }
                    None => terms[9] = 1.0,
                }
            }
        }
        if earlier.names_its_entity && later.names_its_entity {
            terms[10] = (relation.named_crowd.min(MOST_NAMED_CROWD) as f32).ln_1p();
        } else {
            terms[10] = (relation.crowd.min(MOST_CROWD) as f32).ln_1p();
            terms[11] = 1.0;
            terms[12] = terms[10];
        }
        terms[13] = f32::from(relation.often_together);
        terms[14] = f32::from(earlier.is_elsewhere(later));
        Self(terms)
    }

    pub(crate) fn score(&self, weights: &Weights) -> f32 {
        self.0.iter().zip(&weights.0).map(|(observed, weight)| observed * weight).sum()
    }

    /// What each reason added, the strongest first.
    pub(super) fn reasons(&self, weights: &Weights) -> Vec<(Reason, f32)> {
        let mut reasons: Vec<(Reason, f32)> = Vec::new();
        for ((observed, weight), reason) in self.0.iter().zip(&weights.0).zip(REASONS) {
            let added = observed * weight;
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, sum)) => *sum += added,
                None if added != 0.0 => reasons.push((reason, added)),
                None => {}
            }
        }
        reasons.sort_by(|a, b| b.1.total_cmp(&a.1));
        reasons
    }
}
