//! The product's nouns and small values. No IO, no async.
