//! Ids that we make.
//!
//! Derived ids are hashes of what makes a thing the same thing, so that a repeated delivery is
//! recognised without asking anybody. Fresh ids sort by time of making, so that a list by id is
//! a list by age.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use atlas_domain::{RecordId, Timestamp};
use sha2::{Digest, Sha256};

/// An id from the parts that make up identity. The lengths are hashed too: `("ab", "c")` is not
/// `("a", "bc")`.
pub(crate) fn derived(prefix: &str, parts: &[&[u8]]) -> RecordId {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    RecordId::new(format!("{prefix}{}", hex(&hasher.finalize()[..12]))).expect("short, and printable")
}

/// An id of something that happened: its microsecond, then a hash of what it is. What happened
/// together stands together in the store, and the hash has to tell apart one microsecond only.
pub(crate) fn of_moment(prefix: &str, at: Timestamp, parts: &[&[u8]]) -> RecordId {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let id = format!("{prefix}{:016}-{}", at.as_microsecond(), hex(&hasher.finalize()[..8]));
    RecordId::new(id).expect("short, and printable")
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| DIGITS[usize::from(nibble)] as char)
        .collect()
}

/// A new id: milliseconds, a counter of this process, then random digits against a second replica
/// that made one in the same millisecond. Digits of fixed width, for record ids order as people
/// count and the store's lists order as text, and these agree on nothing else.
pub(crate) fn fresh(prefix: &str) -> RecordId {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed) % 10_000;
    let millis = Timestamp::now().as_millisecond();
    let id = format!("{prefix}{millis:013}-{made:04}-{:05}", random() % 100_000);
    RecordId::new(id).expect("short, and printable")
}

/// Random bits without a dependency: std keys its hash maps from the system's random source.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_are_distinct_and_sort_by_age() {
        let made: Vec<RecordId> = (0..500).map(|_| fresh("inc-")).collect();
        assert!(
            made.windows(2).all(|pair| pair[0] < pair[1] && pair[0].as_str() < pair[1].as_str()),
            "{made:?}"
        );
        assert!(made[0].as_str().starts_with("inc-"));
    }

    #[test]
    fn the_border_between_parts_is_part_of_a_derived_id() {
        assert_ne!(derived("", &[b"ab", b"c"]), derived("", &[b"a", b"bc"]));
        assert_eq!(derived("x-", &[b"ab"]), derived("x-", &[b"ab"]));
    }
}
