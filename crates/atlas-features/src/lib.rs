//! What people use: log templates, alert grouping, incidents, runbooks, root cause analysis and
//! questions in plain words.
//!
//! Each folder is one feature on the two paths: it reads and writes through `atlas-retrieval`
//! and asks models through `atlas-inference`. Every function takes the tenant's scope first.
//!
//! Not here: HTTP, wire formats, settings. That is `atlas-server`.

mod alerts;
mod ask;
mod error;
mod eval;
mod ids;
mod incidents;
mod logs;
mod rca;
mod records;
mod runbooks;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use atlas_inference::Inference;
use atlas_retrieval::Retrieval;

pub use alerts::correlation;
pub use alerts::{Alerts, AlertsReport, Grouping, IncomingAlert};
pub use ask::{
    AnsweredBy, Ask, AskAnswer, AskPassage, AskProgress, AskRequest, Clock, Condition, Field, ModelPart,
    Question, Said, Sentence, Span, Term, TermKind, TimeRange, Understood, Vocabulary, Widening,
};
pub use error::FeatureError;
pub use eval::{
    AskReport, CorrelationOptions, CorrelationReport, JudgedQuestion, RcaReport, evaluate_ask,
    evaluate_correlation, evaluate_rca,
};
pub use incidents::{IncidentDraft, Incidents};
pub use logs::{
    GroupingReport, LogLine, LogReport, Logs, Surge, SurgeKind, SurgeReport, Window, evaluate_templates,
};
pub use rca::{
    Analyst, Citation, Confidence, Evidence, EvidenceKind, Hypothesis, Moment, NextStep, Omitted, Rca,
    RcaAnswer, RcaProgress, RcaRequest, Verdict,
};
pub use records::{Listed, Stored};
pub use runbooks::{Runbooks, from_markdown};

/// Every feature, on one search path and one inference path.
pub struct Features {
    logs: Logs,
    alerts: Alerts,
    incidents: Incidents,
    runbooks: Runbooks,
    rca: Rca,
    ask: Ask,
}

impl Features {
    /// The features with their usual settings.
    pub fn new(retrieval: Arc<Retrieval>, inference: Arc<Inference>) -> Self {
        Self::with_grouping(retrieval, inference, Grouping::default())
    }

    /// The features with settings for alert grouping.
    pub fn with_grouping(retrieval: Arc<Retrieval>, inference: Arc<Inference>, grouping: Grouping) -> Self {
        Self {
            logs: Logs::new(retrieval.clone()),
            alerts: Alerts::new(retrieval.clone(), grouping),
            incidents: Incidents::new(retrieval.clone()),
            runbooks: Runbooks::new(retrieval.clone()),
            rca: Rca::new(retrieval.clone(), inference.clone()),
            ask: Ask::new(retrieval, inference),
        }
    }

    /// Log lines and their templates.
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Alerts and their groups.
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// Incidents.
    pub fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// Runbooks.
    pub fn runbooks(&self) -> &Runbooks {
        &self.runbooks
    }

    /// Root cause analysis.
    pub fn rca(&self) -> &Rca {
        &self.rca
    }

    /// Questions in plain words.
    pub fn ask(&self) -> &Ask {
        &self.ask
    }
}
