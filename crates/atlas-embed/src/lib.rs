//! Contract: what an embedding engine is.
