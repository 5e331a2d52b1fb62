//! What left, and for where.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::address::AddressClass;
use crate::origin::Origin;

/// Counts bytes per destination and purpose. Share one between all clients of a process.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Looked at once per request; the bytes of an answer go to the counts directly.
    entries: Mutex<BTreeMap<Origin, Purposes>>,
}

/// A few at most.
type Purposes = Vec<(&'static str, Arc<Counts>)>;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    /// Scheme, host and port.
    pub destination: String,
    /// The class the host promises; see [`AddressClass::of_host`].
    pub class: AddressClass,
    /// What the calls were for, such as `chat`.
    pub purpose: &'static str,
    /// How many requests were sent; of a stream, how many connections were opened.
    pub requests: u64,
    /// Bytes of request bodies, or sent on a stream.
    pub bytes_out: u64,
    /// Bytes of answer bodies, or received on a stream.
    pub bytes_in: u64,
    /// Milliseconds since 1970 of the last request or byte of an answer.
    pub last_used_unix_ms: u64,
}

/// The numbers of one line.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    requests: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
    last_used_unix_ms: AtomicU64,
}

impl Counts {
    pub(crate) fn sent(&self, n_bytes: usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes_out.fetch_add(n_bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    /// More bytes of what was begun already.
    pub(crate) fn wrote(&self, n_bytes: usize) {
        self.bytes_out.fetch_add(n_bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    pub(crate) fn received(&self, n_bytes: usize) {
        self.bytes_in.fetch_add(n_bytes as u64, Ordering::Relaxed);
        self.touch();
    }

    fn touch(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        self.last_used_unix_ms.store(now, Ordering::Relaxed);
    }
}

impl Ledger {
    /// An empty ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every destination that was called, by name.
    pub fn list(&self) -> Vec<LedgerEntry> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = entries.iter().flat_map(|(origin, purposes)| {
            purposes.iter().map(move |(purpose, counts)| LedgerEntry {
                destination: origin.to_string(),
                class: origin.class(),
                purpose,
                requests: counts.requests.load(Ordering::Relaxed),
                bytes_out: counts.bytes_out.load(Ordering::Relaxed),
                bytes_in: counts.bytes_in.load(Ordering::Relaxed),
                last_used_unix_ms: counts.last_used_unix_ms.load(Ordering::Relaxed),
            })
        });
        let mut lines: Vec<_> = lines.collect();
        lines.sort_by(|a, b| (&a.destination, a.purpose).cmp(&(&b.destination, b.purpose)));
        lines
    }

    /// The line for calls of this kind, made when it is the first.
    pub(crate) fn counts(&self, origin: &Origin, purpose: &'static str) -> Arc<Counts> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if !entries.contains_key(origin) {
            entries.insert(origin.clone(), Vec::new());
        }
        let purposes = entries.get_mut(origin).expect("it is there or was just put there");
        if let Some((_, counts)) = purposes.iter().find(|(known, _)| *known == purpose) {
            return Arc::clone(counts);
        }
        let counts = Arc::new(Counts::default());
        purposes.push((purpose, Arc::clone(&counts)));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_and_counted_by_destination_and_purpose() {
        let ledger = Ledger::new();
        let [a, b] = ["http://a.example", "https://b.example"]
            .map(|origin| origin.parse::<Origin>().expect("an origin"));
        ledger.counts(&b, "chat").sent(1);
        ledger.counts(&a, "embed").sent(2);
        ledger.counts(&a, "chat").sent(3);
        ledger.counts(&a, "chat").received(4);
        let list = ledger.list();
        let seen: Vec<_> = list
            .iter()
            .map(|line| (&*line.destination, line.purpose, line.requests, line.bytes_out, line.bytes_in))
            .collect();
        let expect = [
            ("http://a.example:80", "chat", 1, 3, 4),
            ("http://a.example:80", "embed", 1, 2, 0),
            ("https://b.example:443", "chat", 1, 1, 0),
        ];
        assert_eq!(seen, expect);
    }
}
