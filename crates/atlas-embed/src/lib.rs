//! Contract: what an embedding engine is.
//!
//! An [`Engine`] is a kind (`local`, `fallback`, `openai`, ...); loading it gives an
//! [`Embedding`]: either an [`Embedder`] with its one [`EmbeddingSpace`], or keywords only.
//! The search path knows this crate and no engine.
//!
//! Not here: chunking, storage, and what to do when an engine is down. That is
//! `atlas-retrieval`.

mod cache;
mod check;
mod contract;
mod stats;
#[cfg(test)]
mod testing;

pub use atlas_domain::{EmbeddingSpace, SpaceId, TextHash};
pub use cache::CachedEmbedder;
pub use check::check_vectors;
pub use contract::{EmbedError, Embedder, Embedding, Engine, Priority, Purpose, TokenCounter};
pub use stats::{CacheStats, EmbedStats, EngineStats};
