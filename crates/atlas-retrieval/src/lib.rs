//! The search path: chunk, clear, embed, store; retrieve, fuse, rank, degrade.
//!
//! [`Retrieval`] keeps the lexical and the vector leg of every tenant in step with the store's
//! change log. A write is chunked, cleared for the engine, embedded, committed, acknowledged; the
//! legs follow within milliseconds and can always be rebuilt. A search asks the exact, lexical and
//! vector leg, fuses them by rank and says which leg was missing.
//!
//! Not here: how an engine or a store works, and what a feature does with the hits.

mod api;

pub use api::{
    Document, EmbeddingState, Hit, Leg, LegRank, Legs, Options, Passage, Passages, PutReport, Retrieval,
    RetrievalError, SearchAnswer, SearchRequest, Write,
};
pub use atlas_store::{ListQuery, Outcome, Page, Store, StoreError};
