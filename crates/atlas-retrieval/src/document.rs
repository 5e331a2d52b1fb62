//! What of a record is embedded, and how it is cut.

use atlas_domain::{Corpus, Noun};

use crate::api::{Document, Passages};

impl Document {
    /// The document of a noun. Runbooks and incidents are cut as Markdown, alerts are embedded by
    /// their wording, log templates by their shape; log lines and alert groups have no passages.
    pub fn of<N: Noun>(noun: &N) -> Self {
        let passages = match N::CORPUS {
            Corpus::Runbooks | Corpus::Incidents => Passages::Markdown(noun.meaning()),
            Corpus::Alerts | Corpus::LogTemplates => Passages::Whole(noun.meaning()),
            Corpus::Logs | Corpus::AlertGroups => Passages::None,
        };
        Self { record: noun.draft(), passages }
    }
}
