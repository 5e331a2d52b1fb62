//! The search path: chunk, clear, embed, store; retrieve, fuse, rank, degrade.
//!
//! [`Retrieval`] keeps the lexical and the vector leg of every tenant in step with the store's
//! change log. A write is chunked, cleared for the engine, embedded, committed, acknowledged; the
//! legs follow within milliseconds and can always be rebuilt. A search asks the exact, lexical and
//! vector leg, fuses them by rank and says which leg was missing.
//!
//! Not here: how an engine or a store works, and what a feature does with the hits.

mod api;
mod asked;
mod backlog;
mod chunk;
mod confidence;
mod document;
mod engine;
pub mod eval;
mod legs;
mod memory;
mod names;
mod near;
mod others;
mod passages;
mod progress;
mod question;
mod ranking;
mod rebuild;
mod rest;
mod retrieval;
mod search;
mod signal;
mod spaces;
mod tenant;
#[cfg(test)]
mod tests;
mod texts;
mod vector_leg;
mod write;

pub use api::{
    Document, EmbeddingState, Explanation, Hit, Leg, LegRank, Legs, Matches, Note, Options, Passage,
    Passages, PutReport, ReadAs, RetrievalError, ScorePart, SearchAnswer, SearchRequest, Syntax, Write,
};
pub use atlas_index::VectorKind;
pub use atlas_store::{ListQuery, Outcome, Page, Store, StoreError};
pub use chunk::{chunk_hash, passages};
pub use progress::{CorpusProgress, IndexProgress, VectorProgress};
pub use retrieval::Retrieval;
pub use texts::EmbeddedTexts;
