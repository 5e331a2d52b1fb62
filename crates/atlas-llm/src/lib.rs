//! Contract: what a chat model is.
