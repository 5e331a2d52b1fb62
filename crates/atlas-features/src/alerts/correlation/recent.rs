//! Alerts of the last minutes, by time: for everything, for each entity, and for each rule.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A number that names an alert for as long as the correlator lives.
pub(super) type Key = u64;

#[derive(Debug, Clone, Copy)]
struct Seen {
    at: f64,
    key: Key,
    /// Of those before it that named their entity.
    named_before: u64,
}

/// Arrivals in order.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    seen: VecDeque<Seen>,
    named: u64,
}

impl Timeline {
    fn push(&mut self, at: f64, key: Key, names_its_entity: bool) {
        self.seen.push_back(Seen { at, key, named_before: self.named });
        self.named += u64::from(names_its_entity);
    }

    /// The latest first, back to `since`.
    pub(super) fn latest(&self, since: f64) -> impl Iterator<Item = Key> {
        self.seen.iter().rev().take_while(move |seen| seen.at >= since).map(|seen| seen.key)
    }

    /// How many arrived since, and how many of them named their entity.
    pub(super) fn count(&self, since: f64) -> (u32, u32) {
        let from = self.seen.partition_point(|seen| seen.at < since);
        let named = self.seen.get(from).map_or(0, |first| self.named - first.named_before);
        ((self.seen.len() - from) as u32, named as u32)
    }
}

/// The indexes. All of them hold the same alerts, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Recent {
    pub(super) all: Timeline,
    filed: VecDeque<Filed>,
    by_entity: HashMap<Arc<str>, Timeline>,
    by_rule: HashMap<Arc<str>, Timeline>,
}

/// What an alert is found under.
#[derive(Debug)]
pub(super) struct Filed {
    pub(super) entity: Option<Arc<str>>,
    pub(super) rule: Arc<str>,
    pub(super) names_its_entity: bool,
}

impl Recent {
    pub(super) fn push(&mut self, at: f64, key: Key, filed: Filed) {
        let names = filed.names_its_entity;
        self.all.push(at, key, names);
        self.by_rule.entry(filed.rule.clone()).or_default().push(at, key, names);
        if let Some(entity) = &filed.entity {
            self.by_entity.entry(entity.clone()).or_default().push(at, key, names);
        }
        self.filed.push_back(filed);
    }

    pub(super) fn of_entity(&self, entity: &str) -> Option<&Timeline> {
        self.by_entity.get(entity)
    }

    pub(super) fn of_rule(&self, rule: &str) -> Option<&Timeline> {
        self.by_rule.get(rule)
    }

    /// Takes the oldest alert out of every index, if it arrived before `until`.
    pub(super) fn forget_oldest(&mut self, until: f64) -> Option<Key> {
        let key = self.all.seen.front().filter(|seen| seen.at < until)?.key;
        self.all.seen.pop_front();
        let filed = self.filed.pop_front()?;
        forget_first(&mut self.by_rule, &filed.rule);
        if let Some(entity) = &filed.entity {
            forget_first(&mut self.by_entity, entity);
        }
        Some(key)
    }
}

fn forget_first(index: &mut HashMap<Arc<str>, Timeline>, name: &Arc<str>) {
    if let Some(timeline) = index.get_mut(name) {
        timeline.seen.pop_front();
        if timeline.seen.is_empty() {
            index.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_of_what_arrived_since() {
        let mut timeline = Timeline::default();
        for n in 0..10 {
            timeline.push(f64::from(n), n as Key, n % 2 == 0);
        }
        timeline.seen.pop_front();
        assert_eq!(timeline.count(0.0), (9, 4));
        assert_eq!(timeline.count(6.0), (4, 2));
        assert_eq!(timeline.count(10.0), (0, 0));
        assert_eq!(timeline.latest(8.0).collect::<Vec<_>>(), [9, 8]);
    }

    #[test]
    fn an_index_that_is_empty_is_gone() {
        let mut recent = Recent::default();
        let filed = Filed { entity: Some("cart".into()), rule: "Slow".into(), names_its_entity: true };
        recent.push(1.0, 7, filed);
        assert_eq!(recent.forget_oldest(1.0), None);
        assert_eq!(recent.forget_oldest(2.0), Some(7));
        assert!(recent.of_entity("cart").is_none() && recent.of_rule("Slow").is_none());
    }
}
