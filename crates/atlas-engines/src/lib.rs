//! One folder per embedding engine.
