//! The search path: chunk, clear, embed, store; retrieve, fuse, rank, degrade.
