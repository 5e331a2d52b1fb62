//! The durable truth: records, chunks and vectors.
