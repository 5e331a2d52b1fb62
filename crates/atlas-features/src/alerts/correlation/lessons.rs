//! What people's merges and splits say about alerts to come.

use std::collections::HashMap;

use super::company::pair;
use super::signal::Signal;

/// As often as this counts: more would say no more, and could not be unlearned.
const MOST: f32 = 3.0;

/// Merges less splits, by what two alerts are about.
#[derive(Debug, Default)]
pub(super) struct Lessons(HashMap<u64, f32>);

impl Lessons {
    pub(super) fn learn(&mut self, one: &Signal, other: &Signal, are_together: bool) {
        let Some(about) = about(one, other) else { return };
        let balance = self.0.entry(about).or_default();
        *balance = (*balance + if are_together { 1.0 } else { -1.0 }).clamp(-MOST, MOST);
    }

    pub(super) fn of(&self, one: &Signal, other: &Signal) -> f32 {
        if self.0.is_empty() {
            return 0.0;
        }
        about(one, other).and_then(|about| self.0.get(&about)).copied().unwrap_or_default()
    }
}

/// Different entities, else different rules. Nothing is learned of two alerts that are alike.
fn about(one: &Signal, other: &Signal) -> Option<u64> {
    match (one.entity.as_deref(), other.entity.as_deref()) {
        (Some(one), Some(other)) if one != other => Some(pair(one, other)),
        _ if one.name != other.name => Some(pair(&one.name, &other.name)),
        _ => None,
    }
}
