//! Correlation on simulated streams of labelled incidents.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::time::Instant;

use atlas_domain::RecordId;
use serde::Serialize;

use super::folder::{self, LabelledIncident};
use super::random::Random;
use super::stream::{Fired, Source};
use crate::alerts::correlation::{Change, Correlator, GroupId, Settings, Signal, Topology, Weights};
use crate::error::FeatureError;

/// What streams are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct CorrelationOptions {
    /// Whether the correlator is given the service graph.
    pub topology: bool,
    /// Mean seconds between the starts of the incidents of a stream.
    pub gap: f64,
    /// How many streams.
    pub streams: usize,
    /// Of the random numbers.
    pub seed: u64,
    /// Share of noise among all alerts, from 0 to below 1.
    pub noise: f64,
    /// JSON lines with `name` and `description` of rules that make the noise.
    pub rules: Option<PathBuf>,
}

/// What the streams measured. Pairs are of alerts of one stream; noise alerts belong with nothing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CorrelationReport {
    /// Pairs put together that belong together, of those put together.
    pub pairwise_precision: f64,
    /// Of those that belong together.
    pub pairwise_recall: f64,
    /// Harmonic mean of the two.
    pub pairwise_f1: f64,
    /// Adjusted Rand index, the mean of the streams'.
    pub ari: f64,
    /// Groups in all streams, those of one alert included.
    pub groups: usize,
    /// Time that the slowest of a hundred alerts took, in milliseconds.
    pub p99_ms: f64,
}

/// Runs the correlator over streams drawn from a folder of labelled incidents.
pub fn evaluate_correlation(
    dir: &Path,
    options: &CorrelationOptions,
) -> Result<CorrelationReport, FeatureError> {
    let incidents = folder::read(dir)?;
    let source = source(&incidents, options)?;
    let mut random = Random::new(options.seed);
    let topology = if options.topology { topology(&incidents) } else { Topology::default() };
    let mut tally = Tally::default();
    for _ in 0..options.streams {
        let stream = source.draw(&mut random)?;
        tally.add(&stream, &Settings::default(), &topology, Weights::default());
    }
    Ok(tally.report())
}

pub(super) fn topology(incidents: &[LabelledIncident]) -> Topology {
    let edges = incidents.iter().flat_map(|incident| &incident.edges);
    Topology::from_edges(edges.map(|(cause, effect)| (cause.as_str(), effect.as_str())))
}

pub(super) fn source<'a>(
    incidents: &'a [LabelledIncident],
    options: &CorrelationOptions,
) -> Result<Source<'a>, FeatureError> {
    if !(0.0..1.0).contains(&options.noise) {
        return Err(FeatureError::invalid("noise", "it is not a share", "give 0 to below 1"));
    }
    let rules = match &options.rules {
        Some(file) if options.noise > 0.0 => folder::rules(file)?,
        _ => Vec::new(),
    };
    if options.noise > 0.0 && rules.is_empty() {
        return Err(FeatureError::invalid("rules", "there are none for noise", "name a file of rules"));
    }
    let alerting = incidents.iter().flat_map(|incident| &incident.alerts);
    let alerting = alerting.filter_map(|alert| alert.normalised_entity());
    let in_chains = incidents.iter().flat_map(|incident| &incident.edges);
    let in_chains = in_chains.flat_map(|(cause, effect)| [cause.clone(), effect.clone()]);
    let entities: BTreeSet<String> = alerting.chain(in_chains).collect();
    let with_alerts: Vec<_> = incidents.iter().filter(|incident| !incident.alerts.is_empty()).collect();
    if with_alerts.len() < 2 {
        return Err(FeatureError::invalid(
            "alerts.jsonl",
            "fewer than two incidents have alerts",
            "see --help",
        ));
    }
    Ok(Source {
        incidents: with_alerts,
        entities: entities.into_iter().collect(),
        rules,
        gap: options.gap,
        noise: options.noise,
    })
}

/// Sums over streams.
#[derive(Default)]
pub(super) struct Tally {
    both: u64,
    found: u64,
    true_pairs: u64,
    ari: Vec<f64>,
    groups: usize,
    took_ms: Vec<f64>,
}

impl Tally {
    pub(super) fn add(
        &mut self,
        stream: &[Fired],
        settings: &Settings,
        topology: &Topology,
        weights: Weights,
    ) {
        let mut correlator = Correlator::with_weights(settings.clone(), topology.clone(), weights);
        let mut closed: HashMap<RecordId, GroupId> = HashMap::new();
        for fired in stream {
            let began = Instant::now();
            let now = fired.alert.starts_at.as_microsecond() as f64 / 1e6;
            let changes = correlator.arrive(Signal::of(&fired.alert, None), now);
            self.took_ms.push(began.elapsed().as_secs_f64() * 1e3);
            for change in changes {
                if let Change::Closed { group } = change {
                    closed.extend(group.alerts.into_iter().map(|alert| (alert, group.id)));
                }
            }
        }
        let group_of = |id| correlator.group_of(id).or_else(|| closed.get(id).copied());
        let labels: Vec<_> = stream.iter().map(|fired| group_of(&fired.alert.id)).collect();
        let found = pairs(labels.iter());
        let truth = pairs(stream.iter().map(|fired| fired.truth));
        let both = pairs(labels.iter().zip(stream).map(|(label, fired)| (label, fired.truth)));
        let all = choose_two(stream.len() as u64) as f64;
        let expected = found as f64 * truth as f64 / all.max(1.0);
        let most = (found + truth) as f64 / 2.0;
        self.ari.push(if most == expected { 1.0 } else { (both as f64 - expected) / (most - expected) });
        self.both += both;
        self.found += found;
        self.true_pairs += truth;
        self.groups += labels.iter().collect::<HashSet<_>>().len();
    }

    pub(super) fn report(mut self) -> CorrelationReport {
        let precision = self.both as f64 / self.found.max(1) as f64;
        let recall = self.both as f64 / self.true_pairs.max(1) as f64;
        self.took_ms.sort_by(f64::total_cmp);
        CorrelationReport {
            pairwise_precision: precision,
            pairwise_recall: recall,
            pairwise_f1: 2.0 * precision * recall / (precision + recall).max(f64::MIN_POSITIVE),
            ari: self.ari.iter().sum::<f64>() / self.ari.len().max(1) as f64,
            groups: self.groups,
            p99_ms: self.took_ms.get(self.took_ms.len() * 99 / 100).copied().unwrap_or(0.0),
        }
    }
}

fn choose_two(count: u64) -> u64 {
    count * count.saturating_sub(1) / 2
}

fn pairs<L: Hash + Eq>(labels: impl Iterator<Item = L>) -> u64 {
    let mut sizes: HashMap<L, u64> = HashMap::new();
    for label in labels {
        *sizes.entry(label).or_default() += 1;
    }
    sizes.into_values().map(choose_two).sum()
}
