//! How good the features are on labelled incidents: a folder of past ones, or a public corpus.

mod ask;
mod correlation;
mod folder;
mod logql;
mod random;
mod rca;
mod stream;

#[cfg(test)]
mod fit;

pub use ask::{AskReport, JudgedQuestion, evaluate_ask};
pub use correlation::{CorrelationOptions, CorrelationReport, evaluate_correlation};
pub use rca::{RcaReport, evaluate_rca};
