//! Search structures derived from the store: lexical, flat, graph, fusion.
//!
//! Pure and synchronous. Everything here can be thrown away and built again from the store, and
//! nothing here is asked what the truth is: a lexical directory and the file of a vector index say
//! which change they cover, and what came later is replayed.
//!
//! Promises kept here, because nobody above can repair them: filters are applied before or inside
//! a search, never after it, so that k matches give k answers; what was removed is never
//! returned; vectors of different spaces never meet; equal questions give equal answers.
//!
//! Not here: chunking, embedding, which legs to ask, and when to write.

mod error;
mod fusion;
mod lexical;
mod vector;

pub use error::IndexError;
pub use fusion::{Fused, RankedLeg, fuse, level};
pub use lexical::{
    Correction, Demands, LexicalAnswer, LexicalChange, LexicalHit, LexicalIndex, LexicalQuery, Opened,
    matched_words,
};
pub use vector::{
    SpaceVector, VectorBuild, VectorBuilt, VectorHit, VectorIndex, VectorKind, VectorLeg, VectorLoaded,
    VectorSaved, VectorSnapshot,
};
