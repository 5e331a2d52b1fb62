//! Where the weights of an edge come from, and what they are worth on incidents unseen.
//!
//! `cargo xtask measure` runs it.

use std::collections::HashMap;
use std::path::Path;

use super::correlation::{CorrelationOptions, Tally, source, topology};
use super::folder::{self, LabelledIncident};
use super::random::Random;
use super::stream::Fired;
use crate::alerts::correlation::{Correlator, Observed, Settings, Signal, TERMS, Topology, Weights};
use crate::testing;

/// Terms that the streams show; the others keep their weights.
const FITTED: usize = 13;

fn streams(
    incidents: &[LabelledIncident],
    corpora: &Path,
    noise: f64,
    count: usize,
    seed: u64,
) -> Vec<Vec<Fired>> {
    let options = CorrelationOptions {
        topology: true,
        gap: 300.0,
        streams: count,
        seed,
        noise,
        rules: Some(corpora.join("alerts-awesome-prometheus/rules.jsonl")),
    };
    let source = source(incidents, &options).expect("a source");
    let mut random = Random::new(seed);
    (0..count).map(|_| source.draw(&mut random).expect("a stream")).collect()
}

/// Pairs of alerts as the correlator compares them, and whether they have one cause.
fn examples(streams: &[Vec<Fired>], topology: &Topology) -> Vec<(Observed, bool)> {
    let mut examples = Vec::new();
    for stream in streams {
        let mut correlator = Correlator::new(Settings::default(), topology.clone());
        let mut truth = HashMap::new();
        for fired in stream {
            let (signal, now) =
                (Signal::of(&fired.alert, None), fired.alert.starts_at.as_microsecond() as f64 / 1e6);
            let compared = correlator.observe(&signal, now);
            examples.extend(compared.into_iter().map(|(other, seen)| (seen, truth[&other] == fired.truth)));
            truth.insert(fired.alert.id.clone(), fired.truth);
            correlator.arrive(signal, now);
        }
    }
    examples
}

/// Logistic regression by stochastic gradient descent.
fn fit(mut examples: Vec<(Observed, bool)>) -> Weights {
    let mut weights = Weights::default();
    weights.0[..FITTED].fill(0.0);
    let mut random = Random::new(1);
    for round in 1..=4 {
        for position in (1..examples.len()).rev() {
            examples.swap(position, random.below(position + 1));
        }
        for (seen, is_one) in &examples {
            let expected = 1.0 / (1.0 + (-seen.score(&weights)).exp());
            let step = 0.03 / round as f32 * (f32::from(*is_one) - expected);
            for term in 0..FITTED.min(TERMS) {
                weights.0[term] += step * seen.0[term];
            }
        }
    }
    weights
}

/// Half of the examples are without a service graph; streams with noise are few, being long.
fn fit_on(incidents: &[LabelledIncident], graph: &Topology, corpora: &Path, seed: u64) -> Weights {
    let mut shown = Vec::new();
    for known in [graph, &Topology::default()] {
        shown.extend(examples(&streams(incidents, corpora, 0.0, 250, seed), known));
        shown.extend(examples(&streams(incidents, corpora, 0.9, 10, seed + 1), known));
    }
    fit(shown)
}

#[test]
#[ignore = "half a minute in a release build; `cargo xtask measure` runs it"]
fn weights_can_be_derived_again_and_hold_on_unseen_incidents() {
    let Some(corpora) = testing::corpora("") else { return };
    let incidents = folder::read(&corpora.join("itbench-dev")).expect("a folder");
    let graph = topology(&incidents);
    let with_alerts: Vec<LabelledIncident> =
        incidents.iter().filter(|incident| !incident.alerts.is_empty()).cloned().collect();
    let leanings = [-0.4, 0.0, 0.4];
    let mut tallies: HashMap<(bool, bool, usize), Tally> = HashMap::new();
    for seed in 1..=3 {
        let mixed: Vec<LabelledIncident> =
            Random::new(seed).sample(&with_alerts, with_alerts.len()).into_iter().cloned().collect();
        let (one, other) = mixed.split_at(mixed.len() / 2);
        for (shown, unseen) in [(one, other), (other, one)] {
            let weights = fit_on(shown, &graph, &corpora, seed * 100);
            for (noise, count) in [(0.0, 100), (0.9, 10)] {
                let streams = streams(unseen, &corpora, noise, count, seed * 100 + 50);
                for known in [true, false] {
                    let graph = if known { graph.clone() } else { Topology::default() };
                    for (position, leaning) in leanings.into_iter().enumerate() {
                        let settings = Settings { leaning, ..Settings::default() };
                        let tally = tallies.entry((known, noise > 0.0, position)).or_default();
                        streams.iter().for_each(|stream| tally.add(stream, &settings, &graph, weights));
                    }
                }
            }
        }
    }
    let mut tallies: Vec<_> = tallies.into_iter().collect();
    tallies.sort_by_key(|(key, _)| *key);
    for ((known, noise, position), tally) in tallies {
        let report = tally.report();
        eprintln!("unseen: topology {known}, noise {noise}, leaning {}: {report:?}", leanings[position]);
        if position == 1 && !noise {
            assert!(report.pairwise_f1 > if known { 0.85 } else { 0.82 }, "{report:?}");
        }
    }
    let weights = fit_on(&with_alerts, &graph, &corpora, 1000);
    eprintln!("all incidents: {:.2?}", weights.0);
}
