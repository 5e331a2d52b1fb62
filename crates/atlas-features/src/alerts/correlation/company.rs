//! Which entities often have alerts together: a service graph learned from what happens.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::entity::hash;

/// Alerts this close count as together.
const TOGETHER_SECONDS: f64 = 120.0;

/// Entities that an arrival is counted with, the latest.
const COUNTED: usize = 16;

/// Times that two must have been together before it means something.
const LEAST: f32 = 5.0;

/// How much more often than by chance.
const LEAST_LIFT: f32 = 4.0;

/// Pairs counted. When there are more, counts are halved and what is below one goes: old company
/// fades, and memory stays at some 2 MB.
const MOST_PAIRS: usize = 1 << 16;

/// Counts of entities and pairs.
#[derive(Debug, Default)]
pub(super) struct Company {
    alone: HashMap<u64, f32>,
    together: HashMap<u64, f32>,
    arrivals: f32,
    last: VecDeque<(f64, Arc<str>)>,
}

impl Company {
    pub(super) fn observe(&mut self, entity: &Arc<str>, at: f64) {
        while self.last.front().is_some_and(|(seen, _)| *seen < at - TOGETHER_SECONDS)
            || self.last.len() > COUNTED
        {
            self.last.pop_front();
        }
        self.arrivals += 1.0;
        *self.alone.entry(hash(entity)).or_default() += 1.0;
        if self.last.iter().any(|(_, known)| known == entity) {
            return;
        }
        for (_, other) in &self.last {
            *self.together.entry(pair(entity, other)).or_default() += 1.0;
        }
        self.last.push_back((at, entity.clone()));
        if self.together.len() > MOST_PAIRS {
            self.arrivals /= 2.0;
            for counts in [&mut self.alone, &mut self.together] {
                counts.retain(|_, count| {
                    *count /= 2.0;
                    *count >= 1.0
                });
            }
        }
    }

    pub(super) fn are_often_together(&self, one: &str, other: &str) -> bool {
        let Some(&together) = self.together.get(&pair(one, other)) else { return false };
        let alone = |name: &str| self.alone.get(&hash(name)).copied().unwrap_or(1.0);
        together >= LEAST && together * self.arrivals >= LEAST_LIFT * alone(one) * alone(other)
    }
}

fn pair(one: &str, other: &str) -> u64 {
    if one <= other { hash((one, other)) } else { hash((other, one)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn company_is_learned_from_repetition_and_not_from_chance() {
        let mut company = Company::default();
        for hour in 0..40 {
            let at = f64::from(hour) * 3600.0;
            let other: Arc<str> = format!("svc{}", hour % 20).into();
            if hour % 4 == 0 {
                company.observe(&"db".into(), at);
                company.observe(&"cart".into(), at + 30.0);
            }
            company.observe(&other, at + 1800.0);
        }
        assert!(company.are_often_together("cart", "db") && company.are_often_together("db", "cart"));
        assert!(!company.are_often_together("cart", "svc3"));
    }
}
