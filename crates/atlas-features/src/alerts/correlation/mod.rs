//! Which alerts have one cause: decided on arrival, revised while the evidence comes in.
//!
//! An arriving alert is compared to a bounded number of recent ones, found by entity, by the
//! neighbours of its entity in the service graph, by rule and by time. Each comparison is an
//! edge: the log odds that both have one cause, with the reasons that made it ([`Reason`]). The
//! alert joins the group whose edges speak most for it, else it opens one. Then the alerts it is
//! compared to are asked again, for a later alert may show that an earlier one was put wrong:
//! that is how groups lose members, split and merge.
//!
//! Cost per alert: look-ups by hash, binary search by time, and a constant number of comparisons.
//! Nothing walks over the open alerts. No model is called; vectors are taken where given.
//!
//! Nothing here reads a clock, a store or the network, so a server and an evaluation run the same
//! code. Not here: what a group is called and where it is kept.

mod company;
mod entity;
mod groups;
mod recent;
mod score;
mod signal;
mod topology;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use atlas_domain::RecordId;

pub(crate) use entity::{kind, named, normalised, stem, tokens};
pub use groups::{Group, GroupId};
use recent::{Filed, Key, Recent};
pub use score::Reason;
use score::Relation;
#[cfg(test)]
pub(crate) use score::TERMS;
pub(crate) use score::{Observed, Weights};
pub use signal::Signal;
pub use topology::Topology;
use topology::{Distance, Neighbourhood};

use company::Company;

/// When alerts belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How long an alert is compared to new ones, and how long a group stays open after its last
    /// alert. Default 10 minutes: two evaluation intervals of slow rules and the `for` clauses
    /// between a cause and its symptoms.
    pub window: Duration,
    /// How long a group stays open after its first alert, however steadily alerts follow.
    /// Default 2 hours: else one flapping alert would collect a day.
    pub longest: Duration,
    /// Least alerts of a group that is an incident candidate. Default 2.
    pub minimum: usize,
    /// How long an effect takes over one edge of the service graph. Default 45 s: a scrape
    /// interval and an evaluation interval of half a minute each, on average.
    pub hop_lag: Duration,
    /// Log odds added to every edge: above 0, groups are larger. Default 0: on incidents that the
    /// weights were not fitted on, 0.4 and 0.8 gave no better pairwise F1 and a worse one in noise.
    pub leaning: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(10 * 60),
            longest: Duration::from_secs(2 * 60 * 60),
            minimum: 2,
            hop_lag: Duration::from_secs(45),
            leaning: 0.0,
        }
    }
}

/// The edge that spoke most for where an alert was put.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// The other alert.
    pub to: RecordId,
    /// Log odds that both have one cause.
    pub score: f32,
    /// What made the score, the strongest first; negative where it spoke against.
    pub reasons: Vec<(Reason, f32)>,
    /// Cosine of the wordings, where both have a vector.
    pub cosine: Option<f32>,
}

/// What an arrival changed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The alert is known; it was delivered once more.
    Repeated {
        /// Which.
        alert: RecordId,
    },
    /// An alert began a group.
    Opened {
        /// The new group.
        group: GroupId,
        /// Its only alert.
        alert: RecordId,
    },
    /// A new alert joined.
    Joined {
        /// Which group.
        group: GroupId,
        /// The alert.
        alert: RecordId,
        /// Why.
        why: Edge,
    },
    /// An alert left a group for another.
    Moved {
        /// The alert.
        alert: RecordId,
        /// Where it was.
        from: GroupId,
        /// Where it is, a group that is new when the alert is alone in it.
        to: GroupId,
        /// Why; `None` when nothing ties it any more.
        why: Option<Edge>,
    },
    /// All alerts of a group went into another.
    Merged {
        /// The group that is no more.
        from: GroupId,
        /// Where its alerts are.
        into: GroupId,
    },
    /// Nothing joins the group any more.
    Closed {
        /// The group as it was.
        group: Group,
    },
}

/// An alert that is compared to, or a member of an open group.
struct Entry {
    signal: Signal,
    group: GroupId,
    edges: Vec<(Key, f32)>,
    /// Where a person put it; it is not moved.
    is_pinned: bool,
    is_resolved: bool,
    crowd: (u32, u32),
}

/// Alerts that an arrival is compared to, by where they are looked for.
const LATEST: usize = 64;
const OF_ENTITY: usize = 16;
const OF_NEIGHBOUR: usize = 8;
const OF_NEIGHBOURS: usize = 96;
const OF_RULE: usize = 16;

/// Edges kept with an alert.
const EDGES: usize = 96;

/// How far back the crowd is counted.
const CROWD_SECONDS: f64 = 300.0;

/// Alerts and groups whose time is over that one arrival clears away: more than arrive, so that
/// they do not pile up, and few, so that the arrival after a storm is not late.
const CLEARED: usize = 64;

/// The open alerts of one tenant and their groups.
pub struct Correlator {
    settings: Settings,
    weights: Weights,
    topology: Topology,
    company: Company,
    entries: HashMap<Key, Entry>,
    keys: HashMap<RecordId, Key>,
    by_fingerprint: HashMap<String, Key>,
    recent: Recent,
    groups: HashMap<GroupId, Group>,
    deadlines: BTreeSet<(u64, GroupId)>,
    next_key: Key,
    next_group: GroupId,
}

impl Correlator {
    /// Without alerts. An empty topology is one that is not known.
    pub fn new(settings: Settings, topology: Topology) -> Self {
        Self::with_weights(settings, topology, Weights::default())
    }

    pub(crate) fn with_weights(settings: Settings, topology: Topology, weights: Weights) -> Self {
        Self {
            settings,
            weights,
            topology,
            company: Company::default(),
            entries: HashMap::new(),
            keys: HashMap::new(),
            by_fingerprint: HashMap::new(),
            recent: Recent::default(),
            groups: HashMap::new(),
            deadlines: BTreeSet::new(),
            next_key: 0,
            next_group: GroupId::FIRST,
        }
    }

    /// Takes an alert in that fires. `now` is when it arrived, in seconds since 1970, and does not
    /// go back.
    pub fn arrive(&mut self, signal: Signal, now: f64) -> Vec<Change> {
        let mut changes = self.clear(now);
        if let Some(key) = self.keys.get(&signal.id) {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.is_resolved = false;
            }
            changes.push(Change::Repeated { alert: signal.id });
            return changes;
        }
        let flaps = self.by_fingerprint.get(&signal.fingerprint).copied().filter(|known| {
            self.entries.get(known).is_some_and(|entry| entry.is_resolved && self.is_open(entry.group, now))
        });
        let crowd = self.crowd(&signal, now);
        let compared = self.compare(&signal, crowd, now);
        let key = self.next_key;
        self.next_key += 1;

        let mut edges: Vec<(Key, f32)> = Vec::with_capacity(compared.len());
        edges.extend(compared.iter().map(|(other, seen)| (*other, self.score(seen))));
        if let Some(known) = flaps {
            edges.retain(|(other, _)| *other != known);
            edges.push((known, FLAP));
        }
        self.keep_telling(&mut edges);
        for (other, score) in &edges {
            if let Some(entry) = self.entries.get_mut(other)
                && entry.edges.len() < EDGES
            {
                entry.edges.push((key, *score));
            }
        }
        let entity = signal.entity.clone();
        let filed = Filed {
            entity: entity.clone(),
            rule: signal.name.clone(),
            names_its_entity: signal.names_its_entity,
        };
        self.recent.push(now, key, filed);
        if self.topology.is_empty()
            && let Some(entity) = &entity
        {
            self.company.observe(entity, now);
        }
        self.keys.insert(signal.id.clone(), key);
        self.by_fingerprint.insert(signal.fingerprint.clone(), key);
        let (alert, at) = (signal.id.clone(), signal.at);
        let nowhere = GroupId::NONE;
        self.entries.insert(
            key,
            Entry { signal, group: nowhere, edges, is_pinned: false, is_resolved: false, crowd },
        );
        let change = match self.place_for(key, now) {
            Some((group, score)) if score > 0.0 => {
                self.put(key, group, at, now);
                let why = self.why(key, group);
                why.map_or(Change::Opened { group, alert: alert.clone() }, |why| Change::Joined {
                    group,
                    alert: alert.clone(),
                    why,
                })
            }
            _ => Change::Opened { group: self.open(key, at, now), alert },
        };
        changes.push(change);
        self.reconsider(key, now, &mut changes);
        self.merge_by_evidence(key, now, &mut changes);
        changes
    }

    /// Notes that an alert ended. When it comes again it flaps, and joins where it was.
    pub fn resolve(&mut self, alert: &RecordId) {
        if let Some(entry) = self.keys.get(alert).and_then(|key| self.entries.get_mut(key)) {
            entry.is_resolved = true;
        }
    }

    /// Alerts in open groups.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no group is open.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is observed of an alert that would arrive now, and of each it would be compared to.
    #[cfg(test)]
    pub(crate) fn observe(&self, signal: &Signal, now: f64) -> Vec<(RecordId, Observed)> {
        let crowd = self.crowd(signal, now);
        let compared = self.compare(signal, crowd, now);
        compared.into_iter().map(|(key, seen)| (self.entries[&key].signal.id.clone(), seen)).collect()
    }

    fn score(&self, seen: &Observed) -> f32 {
        seen.score(&self.weights) + self.settings.leaning
    }

    /// Alerts of late that compete for being the reason: all of them, and those that name their
    /// entity. Of these only the ones around the entity count where the graph knows it; an alert
    /// whose text is not about its entity may as well belong anywhere.
    fn crowd(&self, signal: &Signal, now: f64) -> (u32, u32) {
        let since = now - CROWD_SECONDS;
        let (all, named) = self.recent.all.count(since);
        let around = signal.entity.as_deref().and_then(|entity| self.topology.around(entity));
        let Some(around) = around else { return (all, named) };
        let near = around.names.iter().filter_map(|name| self.recent.of_entity(name));
        (all, near.map(|timeline| timeline.count(since).1).sum())
    }

    fn compare(&self, signal: &Signal, crowd: (u32, u32), now: f64) -> Vec<(Key, Observed)> {
        let since = now - self.settings.window.as_secs_f64();
        let around = signal.entity.as_deref().and_then(|entity| self.topology.around(entity));
        let mut found: Vec<Key> = Vec::with_capacity(LATEST + OF_ENTITY + OF_NEIGHBOURS + OF_RULE);
        found.extend(self.recent.all.latest(since).take(LATEST));
        if let Some(timeline) = signal.entity.as_deref().and_then(|entity| self.recent.of_entity(entity)) {
            found.extend(timeline.latest(since).take(OF_ENTITY));
        }
        if let Some(timeline) = self.recent.of_rule(&signal.name) {
            found.extend(timeline.latest(since).take(OF_RULE));
        }
        let neighbours = around.iter().flat_map(|around| around.names.iter().skip(1));
        let neighbours = neighbours.filter_map(|name| self.recent.of_entity(name));
        found.extend(
            neighbours.flat_map(|timeline| timeline.latest(since).take(OF_NEIGHBOUR)).take(OF_NEIGHBOURS),
        );
        let mut seen = HashSet::with_capacity(found.len());
        found.retain(|key| seen.insert(*key));
        let compared = found.into_iter().filter_map(|key| {
            let other = self.entries.get(&key)?;
            Some((key, self.observed(other, signal, around.as_deref(), crowd)))
        });
        compared.collect()
    }

    /// `around` is the neighbourhood of the later one.
    fn observed(
        &self,
        earlier: &Entry,
        later: &Signal,
        around: Option<&Neighbourhood>,
        crowd: (u32, u32),
    ) -> Observed {
        let was_resolved = earlier.is_resolved;
        let earlier = &earlier.signal;
        let both = earlier.entity.as_deref().zip(later.entity.as_deref());
        let graph = both.zip(around).filter(|((earlier, _), _)| self.topology.knows(earlier));
        // Seen from the later one, so the lag is the other way round.
        let graph = graph.map(|((earlier, _), around)| around.distance(earlier).map(Distance::reversed));
        let often_together = graph.is_none()
            && both.is_some_and(|(one, other)| one != other && self.company.are_often_together(one, other));
        let relation = Relation {
            graph,
            hop_lag: self.settings.hop_lag.as_secs_f64(),
            crowd: crowd.0,
            named_crowd: crowd.1,
            recurs: earlier.fingerprint == later.fingerprint && !was_resolved,
            often_together,
        };
        Observed::of(earlier, later, &relation)
    }

    /// Keeps the edges to groups that something speaks for, the most telling ones.
    fn keep_telling(&self, edges: &mut Vec<(Key, f32)>) {
        let group = |key: &Key| self.entries.get(key).map(|entry| entry.group);
        let tied: HashSet<GroupId> =
            edges.iter().filter(|(_, score)| *score > 0.0).filter_map(|(key, _)| group(key)).collect();
        edges.retain(|(key, _)| group(key).is_some_and(|group| tied.contains(&group)));
        edges.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
        edges.truncate(EDGES);
    }

    /// The strongest edge of an alert into a group.
    fn why(&self, key: Key, group: GroupId) -> Option<Edge> {
        let entry = self.entries.get(&key)?;
        let into = entry
            .edges
            .iter()
            .filter(|(other, _)| self.entries.get(other).is_some_and(|other| other.group == group));
        let (other, score) = into.max_by(|a, b| a.1.total_cmp(&b.1))?;
        let to = self.entries.get(other)?;
        let reasons = match *score == FLAP {
            true => vec![(Reason::Flap, FLAP)],
            false => {
                let (earlier, later) = if *other < key { (to, entry) } else { (entry, to) };
                let around = later.signal.entity.as_deref();
                let around = around.and_then(|entity| self.topology.around(entity));
                self.observed(earlier, &later.signal, around.as_deref(), later.crowd).reasons(&self.weights)
            }
        };
        Some(Edge {
            to: to.signal.id.clone(),
            score: *score,
            reasons,
            cosine: entry.signal.cosine(&to.signal),
        })
    }
}

/// The edge from an alert to the same alert before it was resolved. It outweighs whatever else
/// can be observed.
const FLAP: f32 = 50.0;
