//! What left, and for where.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::address::AddressClass;
use crate::policy::Origin;

/// Counts bytes per destination and purpose. Share one between all clients of a process.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<BTreeMap<(String, &'static str), Counts>>,
}

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    /// Scheme, host and port.
    pub destination: String,
    /// The class the host promises; see [`AddressClass::of_host`].
    pub class: AddressClass,
    /// What the calls were for, such as `chat`.
    pub purpose: &'static str,
    /// How many requests were sent.
    pub requests: u64,
    /// Bytes of request bodies.
    pub bytes_out: u64,
    /// Bytes of answer bodies.
    pub bytes_in: u64,
    /// Milliseconds since 1970 of the last request or byte of an answer.
    pub last_used_unix_ms: u64,
}

#[derive(Debug)]
struct Counts {
    class: AddressClass,
    requests: u64,
    bytes_out: u64,
    bytes_in: u64,
    last_used_unix_ms: u64,
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every destination that was called, by name.
    pub fn list(&self) -> Vec<LedgerEntry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .iter()
            .map(|((destination, purpose), counts)| LedgerEntry {
                destination: destination.clone(),
                class: counts.class,
                purpose,
                requests: counts.requests,
                bytes_out: counts.bytes_out,
                bytes_in: counts.bytes_in,
                last_used_unix_ms: counts.last_used_unix_ms,
            })
            .collect()
    }

    pub(crate) fn sent(&self, origin: &Origin, purpose: &'static str, n_bytes: usize) {
        self.update(origin, purpose, |counts| {
            counts.requests += 1;
            counts.bytes_out += n_bytes as u64;
        });
    }

    pub(crate) fn received(&self, origin: &Origin, purpose: &'static str, n_bytes: usize) {
        self.update(origin, purpose, |counts| counts.bytes_in += n_bytes as u64);
    }

    fn update(&self, origin: &Origin, purpose: &'static str, change: impl FnOnce(&mut Counts)) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = entries.entry((origin.to_string(), purpose)).or_insert_with(|| Counts {
            class: origin.class(),
            requests: 0,
            bytes_out: 0,
            bytes_in: 0,
            last_used_unix_ms: 0,
        });
        counts.last_used_unix_ms = now;
        change(counts);
    }
}
