//! How good the features are on labelled incidents: a folder of past ones, or a public corpus.

mod correlation;
mod folder;
mod random;
mod rca;
mod stream;

#[cfg(test)]
mod fit;

pub use correlation::{CorrelationOptions, CorrelationReport, evaluate_correlation};
pub use rca::{RcaReport, evaluate_rca};
