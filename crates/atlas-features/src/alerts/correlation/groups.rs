//! Groups of alerts: opened, joined, left, merged, split and closed.

use std::collections::{HashMap, HashSet};

use atlas_domain::RecordId;

use super::recent::Key;
use super::{CLEARED, Change, Correlator, Entry};

/// Names a group for as long as the correlator lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(u64);

impl GroupId {
    pub(super) const NONE: Self = Self(0);
    pub(super) const FIRST: Self = Self(1);
}

/// Alerts that have one cause.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Its name.
    pub id: GroupId,
    /// The alerts, in the order in which they joined.
    pub alerts: Vec<RecordId>,
    /// When the first one fired, in seconds since 1970.
    pub first_at: f64,
    /// When the last one arrived.
    pub last_at: f64,
    members: Vec<Key>,
    /// Groups that a person split from this one; evidence does not merge them again.
    apart: HashSet<GroupId>,
}

/// Alerts that are asked again after an arrival, the latest of those it was compared to.
const RECONSIDERED: usize = 12;

/// Rounds of asking; a second one settles what the first set off.
const ROUNDS: usize = 2;

/// Largest group that evidence still merges into another. What is larger has been looked at.
const MERGED: usize = 64;

impl Correlator {
    /// The groups with at least the minimum of alerts: the incident candidates.
    pub fn candidates(&self) -> impl Iterator<Item = &Group> {
        self.groups.values().filter(|group| group.members.len() >= self.settings.minimum)
    }

    /// The group that an alert is in.
    pub fn group_of(&self, alert: &RecordId) -> Option<GroupId> {
        Some(self.entries.get(self.keys.get(alert)?)?.group)
    }

    /// An open group.
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// A person's merge: the alerts of `from` are of `into`, and stay there. `false` when one of
    /// the groups is not open.
    pub fn merge(&mut self, into: GroupId, from: GroupId) -> bool {
        if into == from || !self.groups.contains_key(&into) || !self.groups.contains_key(&from) {
            return false;
        }
        for id in [into, from] {
            self.pin(id);
        }
        self.unite(into, from);
        if let Some(group) = self.groups.get_mut(&into) {
            group.apart.remove(&from);
            group.apart.remove(&into);
        }
        true
    }

    /// A person's split: these alerts leave the group for one of their own, and neither side goes
    /// back by itself. `None` when none of them is in the group.
    pub fn split(&mut self, from: GroupId, alerts: &[RecordId], now: f64) -> Option<GroupId> {
        let leaving: Vec<Key> = alerts
            .iter()
            .filter_map(|alert| self.keys.get(alert).copied())
            .filter(|key| self.entries.get(key).is_some_and(|entry| entry.group == from))
            .collect();
        let (&first, others) = leaving.split_first()?;
        self.pin(from);
        let at = |key: &Key| self.entries.get(key).map_or(now, |entry| entry.signal.at);
        let times: Vec<f64> = leaving.iter().map(at).collect();
        self.take_out(first);
        let to = self.open(first, times[0], now);
        for (key, at) in others.iter().zip(&times[1..]) {
            self.take_out(*key);
            self.put(*key, to, *at, now);
        }
        for (one, other) in [(from, to), (to, from)] {
            if let Some(group) = self.groups.get_mut(&one) {
                group.apart.insert(other);
            }
        }
        Some(to)
    }

    fn pin(&mut self, group: GroupId) {
        for key in self.groups.get(&group).map(|group| group.members.clone()).unwrap_or_default() {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.is_pinned = true;
            }
        }
    }

    pub(super) fn is_open(&self, group: GroupId, now: f64) -> bool {
        let window = self.settings.window.as_secs_f64();
        self.groups.get(&group).is_some_and(|group| {
            now <= group.last_at + window && now <= group.first_at + self.settings.longest.as_secs_f64()
        })
    }

    pub(super) fn open(&mut self, key: Key, at: f64, now: f64) -> GroupId {
        let id = self.next_group;
        self.next_group = GroupId(id.0 + 1);
        let group = Group {
            id,
            alerts: Vec::new(),
            first_at: at,
            last_at: now,
            members: Vec::new(),
            apart: HashSet::new(),
        };
        self.groups.insert(id, group);
        self.put(key, id, at, now);
        self.deadlines.insert((millis(now + self.settings.window.as_secs_f64()), id));
        id
    }

    pub(super) fn put(&mut self, key: Key, id: GroupId, at: f64, now: f64) {
        let (Some(entry), Some(group)) = (self.entries.get_mut(&key), self.groups.get_mut(&id)) else {
            return;
        };
        entry.group = id;
        group.members.push(key);
        group.alerts.push(entry.signal.id.clone());
        group.first_at = group.first_at.min(at);
        group.last_at = group.last_at.max(now);
    }

    /// Takes an alert out of its group, and the group away when it was the last.
    fn take_out(&mut self, key: Key) -> Option<GroupId> {
        let id = self.entries.get(&key)?.group;
        let group = self.groups.get_mut(&id)?;
        // From the end: it is late arrivals that move.
        let position = group.members.iter().rposition(|member| *member == key)?;
        group.members.remove(position);
        group.alerts.remove(position);
        if group.members.is_empty() {
            self.groups.remove(&id);
        }
        Some(id)
    }

    /// Where the edges of an alert speak for it most, and how much. Sums grow with a group, so
    /// they are divided by the root of the number of edges, as a sum of independent errors grows.
    pub(super) fn place_for(&self, key: Key, now: f64) -> Option<(GroupId, f32)> {
        let entry = self.entries.get(&key)?;
        let mut sums: HashMap<GroupId, (f32, u32)> = HashMap::new();
        for (other, score) in &entry.edges {
            let Some(other) = self.entries.get(other) else { continue };
            let (sum, count) = sums.entry(other.group).or_default();
            *sum += score;
            *count += 1;
        }
        sums.into_iter()
            .filter(|(group, _)| self.is_open(*group, now))
            .map(|(group, (sum, count))| (group, sum / (count as f32).sqrt()))
            // Equal ones go to the older group.
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    }

    /// Asks those that the new alert is compared to whether they are still where they belong.
    pub(super) fn reconsider(&mut self, key: Key, now: f64, changes: &mut Vec<Change>) {
        let Some(entry) = self.entries.get(&key) else { return };
        let mut asked: Vec<Key> = entry.edges.iter().map(|(other, _)| *other).collect();
        asked.sort_unstable_by(|a, b| b.cmp(a));
        asked.truncate(RECONSIDERED);
        asked.reverse();
        asked.push(key);
        for _ in 0..ROUNDS {
            let mut has_moved = false;
            for &key in &asked {
                has_moved |= self.move_to_best(key, now, changes);
            }
            if !has_moved {
                break;
            }
        }
    }

    fn move_to_best(&mut self, key: Key, now: f64, changes: &mut Vec<Change>) -> bool {
        let Some(Entry { group: from, is_pinned: false, signal, edges, .. }) = self.entries.get(&key) else {
            return false;
        };
        let (from, at, alert) = (*from, signal.at, signal.id.clone());
        if edges.is_empty() || !self.is_open(from, now) {
            return false;
        }
        let is_alone = self.groups.get(&from).is_some_and(|group| group.members.len() == 1);
        match self.place_for(key, now) {
            Some((to, score)) if score > 0.0 => {
                if to == from {
                    return false;
                }
                self.take_out(key);
                self.put(key, to, at, now);
                changes.push(Change::Moved { alert, from, to, why: self.why(key, to) });
                if is_alone {
                    changes.push(Change::Merged { from, into: to });
                }
                true
            }
            _ if is_alone => false,
            _ => {
                self.take_out(key);
                let to = self.open(key, at, now);
                changes.push(Change::Moved { alert, from, to, why: None });
                true
            }
        }
    }

    /// Merges the group of an alert with the one that its members' edges speak for together.
    pub(super) fn merge_by_evidence(&mut self, key: Key, now: f64, changes: &mut Vec<Change>) {
        let Some(own) = self.entries.get(&key).map(|entry| entry.group) else { return };
        let Some(group) = self.groups.get(&own).filter(|group| group.members.len() <= MERGED) else {
            return;
        };
        let mut sums: HashMap<GroupId, f32> = HashMap::new();
        for entry in group.members.iter().filter_map(|member| self.entries.get(member)) {
            for (other, score) in &entry.edges {
                let other = self.entries.get(other).map(|other| other.group);
                if let Some(other) = other.filter(|other| *other != own) {
                    *sums.entry(other).or_default() += score;
                }
            }
        }
        let best = sums
            .into_iter()
            .filter(|(other, sum)| *sum > 0.0 && self.is_open(*other, now) && !group.apart.contains(other))
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let Some((other, _)) = best else { return };
        let sizes = |id: GroupId| self.groups.get(&id).map_or(0, |group| group.members.len());
        let (into, from) = match sizes(other).cmp(&sizes(own)) {
            std::cmp::Ordering::Greater => (other, own),
            std::cmp::Ordering::Less => (own, other),
            std::cmp::Ordering::Equal => (own.min(other), own.max(other)),
        };
        self.unite(into, from);
        changes.push(Change::Merged { from, into });
    }

    fn unite(&mut self, into: GroupId, from: GroupId) {
        let Some(gone) = self.groups.remove(&from) else { return };
        for key in &gone.members {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.group = into;
            }
        }
        for other in &gone.apart {
            if let Some(other) = self.groups.get_mut(other) {
                other.apart.insert(into);
            }
        }
        if let Some(group) = self.groups.get_mut(&into) {
            group.members.extend(gone.members);
            group.alerts.extend(gone.alerts);
            group.first_at = group.first_at.min(gone.first_at);
            group.last_at = group.last_at.max(gone.last_at);
            group.apart.extend(gone.apart);
        }
    }

    /// Clears away what is over: alerts that are not compared any more, and groups that close.
    pub(super) fn clear(&mut self, now: f64) -> Vec<Change> {
        let until = now - self.settings.window.as_secs_f64();
        for _ in 0..CLEARED {
            let Some(key) = self.recent.forget_oldest(until) else { break };
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.edges = Vec::new();
            }
        }
        let mut changes = Vec::new();
        for _ in 0..CLEARED {
            let Some(&(deadline, id)) = self.deadlines.first().filter(|(at, _)| *at < millis(now)) else {
                break;
            };
            self.deadlines.remove(&(deadline, id));
            let Some(group) = self.groups.get(&id) else { continue };
            let closes = (group.last_at + self.settings.window.as_secs_f64())
                .min(group.first_at + self.settings.longest.as_secs_f64());
            if closes >= now {
                self.deadlines.insert((millis(closes) + 1, id));
                continue;
            }
            if let Some(group) = self.close(id) {
                changes.push(Change::Closed { group });
            }
        }
        changes
    }

    fn close(&mut self, id: GroupId) -> Option<Group> {
        let group = self.groups.remove(&id)?;
        for key in &group.members {
            let Some(entry) = self.entries.remove(key) else { continue };
            self.keys.remove(&entry.signal.id);
            if self.by_fingerprint.get(&entry.signal.fingerprint) == Some(key) {
                self.by_fingerprint.remove(&entry.signal.fingerprint);
            }
        }
        Some(group)
    }
}

fn millis(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}
