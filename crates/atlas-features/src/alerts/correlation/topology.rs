//! The service graph: what lies next to what, and how far an effect travels.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::entity;

/// How far the neighbourhood of an entity reaches. On the graphs of microservice demos three
/// hops lead from a database to the front end.
const REACH: u8 = 3;

/// How far up a common cause is looked for.
const CAUSES: u8 = 4;

/// Most entities of a neighbourhood. A hub that everything calls is next to everything, which
/// tells nothing, and following it costs time.
const NEIGHBOURS: usize = 64;

/// Neighbourhoods kept.
const CACHED: usize = 4096;

/// Which entity affects which; names normalised.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    effects: Vec<Vec<u32>>,
    causes: Vec<Vec<u32>>,
    cache: RefCell<HashMap<u32, Arc<Neighbourhood>>>,
}

/// The entities around one, nearest first.
#[derive(Debug, Default)]
pub(super) struct Neighbourhood {
    pub(super) names: Vec<Arc<str>>,
    at: HashMap<Arc<str>, Distance>,
}

/// How one entity lies to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Distance {
    /// Edges in between, whichever way they point.
    pub(super) hops: u8,
    /// How many edges later an effect reaches the other, when both feel the same cause: along the
    /// way from one to the other, or from the nearest cause of both. Negative when the other is
    /// reached first.
    pub(super) lag: Option<i8>,
}

impl Distance {
    pub(super) fn reversed(self) -> Self {
        Self { lag: self.lag.map(|lag| -lag), ..self }
    }
}

impl Topology {
    /// From pairs of cause and effect: an outage of the first is felt by the second. For a call
    /// graph that is (callee, caller).
    pub fn from_edges<'a>(edges: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut topology = Self::default();
        for (cause, effect) in edges {
            let (cause, effect) = (topology.number(cause), topology.number(effect));
            if cause != effect && !topology.effects[cause as usize].contains(&effect) {
                topology.effects[cause as usize].push(effect);
                topology.causes[effect as usize].push(cause);
            }
        }
        topology
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn knows(&self, entity: &str) -> bool {
        self.numbers.contains_key(entity)
    }

    /// Entities that feel an outage of this one, within `reach` edges, by distance.
    pub(crate) fn downstream(&self, entity: &str, reach: u8) -> HashMap<Arc<str>, u8> {
        let Some(&from) = self.numbers.get(entity) else { return HashMap::new() };
        let steps = self.walk(from, reach, usize::MAX, |node| self.effects[node as usize].iter());
        steps.into_iter().skip(1).map(|(node, hops)| (self.names[node as usize].clone(), hops)).collect()
    }

    /// `None` for an entity that is not in the graph.
    pub(super) fn around(&self, entity: &str) -> Option<Arc<Neighbourhood>> {
        let from = *self.numbers.get(entity)?;
        if let Some(known) = self.cache.borrow().get(&from) {
            return Some(known.clone());
        }
        let near = self.walk(from, REACH, NEIGHBOURS, |node| {
            self.effects[node as usize].iter().chain(&self.causes[node as usize])
        });
        let lags = self.lags(from);
        let mut around = Neighbourhood::default();
        for (node, hops) in near {
            let name = self.names[node as usize].clone();
            around.names.push(name.clone());
            around.at.insert(name, Distance { hops, lag: lags.get(&node).map(|(_, lag)| *lag) });
        }
        let around = Arc::new(around);
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(from, around.clone());
        Some(around)
    }

    /// Of what shares a cause with `from`: the length of the way over the nearest one, and the lag.
    fn lags(&self, from: u32) -> HashMap<u32, (u8, i8)> {
        let mut lags = HashMap::new();
        for (cause, up) in self.walk(from, CAUSES, NEIGHBOURS, |node| self.causes[node as usize].iter()) {
            for (node, down) in
                self.walk(cause, CAUSES, NEIGHBOURS, |node| self.effects[node as usize].iter())
            {
                let way = (up + down, down as i8 - up as i8);
                let known = lags.entry(node).or_insert(way);
                if way.0 < known.0 {
                    *known = way;
                }
            }
        }
        lags
    }

    fn number(&mut self, name: &str) -> u32 {
        let name: Arc<str> = entity::normalised(name).into();
        let next = self.names.len() as u32;
        let number = *self.numbers.entry(name.clone()).or_insert(next);
        if number == next {
            self.names.push(name);
            self.effects.push(Vec::new());
            self.causes.push(Vec::new());
        }
        number
    }

    /// Breadth first, the start included.
    fn walk<'a, I: Iterator<Item = &'a u32>>(
        &'a self,
        from: u32,
        reach: u8,
        limit: usize,
        next: impl Fn(u32) -> I,
    ) -> Vec<(u32, u8)> {
        let mut seen = HashSet::from([from]);
        let mut queue = VecDeque::from([(from, 0)]);
        let mut found = Vec::new();
        while let Some((node, hops)) = queue.pop_front() {
            found.push((node, hops));
            if hops == reach {
                continue;
            }
            for &neighbour in next(node) {
                if seen.len() < limit && seen.insert(neighbour) {
                    queue.push_back((neighbour, hops + 1));
                }
            }
        }
        found
    }
}

impl Neighbourhood {
    pub(super) fn distance(&self, to: &str) -> Option<Distance> {
        self.at.get(to).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_travel_along_the_edges_and_nearness_goes_both_ways() {
        let graph = Topology::from_edges([("db", "cart"), ("cart-1", "web"), ("cart", "mail"), ("x", "y")]);
        let around = graph.around("cart").expect("known");
        let distance = |to| around.distance(to).map(|d| (d.hops, d.lag));
        assert_eq!(distance("cart"), Some((0, Some(0))));
        assert_eq!(distance("web"), Some((1, Some(1))));
        assert_eq!(distance("db"), Some((1, Some(-1))));
        assert_eq!(distance("x"), None);
        let from_mail = graph.around("mail").expect("known");
        assert_eq!(from_mail.distance("web"), Some(Distance { hops: 2, lag: Some(0) }));
        assert!(graph.around("unheard").is_none());
        assert_eq!(graph.downstream("db", 9).len(), 3);
    }

    #[test]
    fn the_neighbourhood_of_a_hub_is_cut() {
        let names: Vec<String> = (0..500).map(|n| format!("svc{n}")).collect();
        let graph = Topology::from_edges(names.iter().map(|name| ("hub", name.as_str())));
        assert_eq!(graph.around("hub").expect("known").names.len(), NEIGHBOURS);
    }
}
