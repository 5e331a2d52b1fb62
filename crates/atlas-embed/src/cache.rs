//! An embedder that remembers.
//!
//! Alert texts and log templates repeat: the second time they cost a hash. One space, so the key
//! is the hash of the text and the purpose; a byte budget, oldest half dropped when it is full.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atlas_domain::{Check, Destination, EmbeddingSpace, TextHash};
use atlas_guard::Cleared;
use futures_util::future::BoxFuture;

use crate::contract::{EmbedError, Embedder, Priority, Purpose, TokenCounter};
use crate::stats::{CacheStats, EmbedStats};

/// Wraps an embedder with a cache of its vectors.
pub struct CachedEmbedder {
    inner: Arc<dyn Embedder>,
    memory: Arc<Memory>,
}

/// What outlives an embedder that is replaced by another of the same space.
struct Memory {
    generations: Mutex<Generations>,
    per_generation: usize,
    entry_bytes: usize,
    hits: AtomicU64,
    misses: AtomicU64,
}

type Key = (TextHash, Purpose);

/// Two generations instead of a linked list: a hit in the old one moves the entry to the young
/// one; when the young one is full the old one is dropped whole. Close to LRU, without pointers.
#[derive(Default)]
struct Generations {
    young: HashMap<Key, Arc<[f32]>>,
    old: HashMap<Key, Arc<[f32]>>,
}

impl CachedEmbedder {
    /// A cache of at most about `budget_bytes` of vectors in front of `inner`.
    pub fn new(inner: Arc<dyn Embedder>, budget_bytes: usize) -> Self {
        // 96 bytes: the key, the Arc header and the map's share per entry.
        let entry_bytes = inner.space().dimension * size_of::<f32>() + 96;
        let memory = Memory {
            generations: Mutex::default(),
            per_generation: (budget_bytes / 2 / entry_bytes).max(1),
            entry_bytes,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        Self { inner, memory: Arc::new(memory) }
    }

    /// The same memory in front of another embedder of the same space, such as one with a new
    /// key. `None` when the space is another: its vectors must not be taken for these.
    pub fn in_front_of(&self, inner: Arc<dyn Embedder>) -> Option<Self> {
        let same = inner.space() == self.inner.space();
        same.then(|| Self { inner, memory: self.memory.clone() })
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recall(&self, key: &Key) -> Option<Arc<[f32]>> {
        let mut generations = self.lock();
        if let Some(vector) = generations.young.get(key) {
            return Some(vector.clone());
        }
        let vector = generations.old.remove(key)?;
        self.keep(generations, *key, vector.clone());
        Some(vector)
    }

    fn remember(&self, key: Key, vector: &[f32]) {
        self.keep(self.lock(), key, vector.into());
    }

    fn keep(&self, mut generations: MutexGuard<'_, Generations>, key: Key, vector: Arc<[f32]>) {
        if generations.young.len() >= self.per_generation {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key, vector);
    }

    fn stats(&self) -> CacheStats {
        let generations = self.lock();
        let entries = generations.young.len() + generations.old.len();
        CacheStats {
            hits: self.hits.load(Relaxed),
            misses: self.misses.load(Relaxed),
            entries,
            used_bytes: entries * self.entry_bytes,
            budget_bytes: 2 * self.per_generation * self.entry_bytes,
        }
    }
}

impl Embedder for CachedEmbedder {
    fn space(&self) -> &EmbeddingSpace {
        self.inner.space()
    }

    fn destination(&self) -> &Destination {
        self.inner.destination()
    }

    fn tokens(&self) -> &dyn TokenCounter {
        self.inner.tokens()
    }

    fn embed(
        &self,
        texts: Cleared<Vec<String>>,
        purpose: Purpose,
        priority: Priority,
    ) -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        Box::pin(async move {
            let keys: Vec<Key> = texts.value().iter().map(|text| (TextHash::of(text), purpose)).collect();
            let mut vectors: Vec<Option<Vec<f32>>> =
                keys.iter().map(|key| self.memory.recall(key).map(|vector| vector.to_vec())).collect();

            // Each missing text once, however often the batch repeats it.
            let mut wanted: HashMap<Key, usize> = HashMap::new();
            let mut first_of = Vec::new();
            for (position, key) in keys.iter().enumerate() {
                if vectors[position].is_none() && !wanted.contains_key(key) {
                    wanted.insert(*key, first_of.len());
                    first_of.push(position);
                }
            }
            self.memory.misses.fetch_add(first_of.len() as u64, Relaxed);
            self.memory.hits.fetch_add((keys.len() - first_of.len()) as u64, Relaxed);
            if !first_of.is_empty() {
                let mut positions = first_of.iter().copied().peekable();
                let missing = texts.retain(|position| positions.next_if_eq(&position).is_some());
                let fresh = self.inner.embed(missing, purpose, priority).await?;
                for (position, vector) in first_of.iter().zip(&fresh) {
                    self.memory.remember(keys[*position], vector);
                }
                for (slot, key) in vectors.iter_mut().zip(&keys) {
                    if slot.is_none() {
                        *slot = Some(fresh[wanted[key]].clone());
                    }
                }
            }
            Ok(vectors.into_iter().map(|vector| vector.expect("cached or just embedded")).collect())
        })
    }

    /// A memory would make every engine deterministic.
    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        self.inner.check()
    }

    fn stats(&self) -> EmbedStats {
        EmbedStats { cache: Some(self.memory.stats()), ..self.inner.stats() }
    }
}

#[cfg(test)]
mod tests {
    use atlas_guard::Guard;

    use super::*;
    use crate::testing::MadeUp;

    /// Embeds a text as its length.
    fn lengths(model: &str) -> Arc<MadeUp> {
        let lengths = |_, texts: &[String]| Ok(texts.iter().map(|text| vec![text.len() as f32]).collect());
        Arc::new(MadeUp::new(model, 1, lengths))
    }

    fn cached(budget_bytes: usize) -> (Arc<MadeUp>, CachedEmbedder) {
        let inner = lengths("m");
        (inner.clone(), CachedEmbedder::new(inner, budget_bytes))
    }

    async fn embed(embedder: &CachedEmbedder, texts: &[&str]) -> Vec<f32> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let cleared = Guard::new().clear(texts, embedder.destination()).expect("in process");
        let vectors = embedder.embed(cleared, Purpose::Passage, Priority::Bulk).await.expect("cannot fail");
        vectors.into_iter().map(|vector| vector[0]).collect()
    }

    #[tokio::test]
    async fn a_text_is_embedded_once_and_answers_keep_their_order() {
        let (inner, embedder) = cached(1 << 20);
        assert_eq!(embed(&embedder, &["aa", "b", "aa", "ccc"]).await, [2.0, 1.0, 2.0, 3.0]);
        assert_eq!(inner.n_texts(), 3);
        assert_eq!(embed(&embedder, &["ccc", "dddd", "b"]).await, [3.0, 4.0, 1.0]);
        assert_eq!(inner.n_texts(), 4);
    }

    #[tokio::test]
    async fn the_memory_goes_over_to_an_embedder_of_the_same_space_only() {
        let (_, embedder) = cached(1 << 20);
        embed(&embedder, &["aa"]).await;
        let (next, _) = cached(1 << 20);
        let embedder = embedder.in_front_of(next.clone()).expect("the same space");
        assert_eq!(embed(&embedder, &["aa", "b"]).await, [2.0, 1.0]);
        assert_eq!(next.n_texts(), 1);

        assert!(embedder.in_front_of(lengths("n")).is_none());
    }

    #[tokio::test]
    async fn the_cache_stays_within_its_budget() {
        let (_, embedder) = cached(10_000);
        for n in 0..1_000 {
            embed(&embedder, &[&format!("text {n}")]).await;
        }
        let stats = embedder.stats().cache.expect("a cache");
        assert!(stats.used_bytes <= stats.budget_bytes && stats.budget_bytes <= 10_000, "{stats:?}");
        assert_eq!((stats.hits, stats.misses), (0, 1_000));
    }

    #[tokio::test]
    async fn what_is_asked_for_again_outlives_what_is_not() {
        let (inner, embedder) = cached(10_000);
        for n in 0..1_000 {
            embed(&embedder, &["often", &format!("text {n}")]).await;
        }
        assert_eq!(inner.n_texts(), 1_001);
        let stats = embedder.stats().cache.expect("a cache");
        assert_eq!((stats.hits, stats.misses), (999, 1_001));
        assert!(stats.used_bytes <= stats.budget_bytes, "{stats:?}");
    }
}
