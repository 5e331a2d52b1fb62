//! What the tenant plane keeps.
//!
//! These types are the JSON bodies of records and of the API. A field that an importer may leave
//! out is optional; one that the product needs is not. Unknown fields are refused at the edge,
//! where the error can name them, not here, where an older server reads a newer body.

mod alert;
mod incident;
mod log;
mod runbook;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::record::{Corpus, Facets, Record, RecordDraft, RecordId, RecordKey};

pub use alert::{Alert, AlertGroup, AlertStatus, GroupMember};
pub use incident::{Incident, IncidentStatus};
pub use log::{LogRecord, LogTemplate};
pub use runbook::Runbook;

/// Something a record's body holds.
pub trait Noun: Serialize + DeserializeOwned {
    /// Where it is kept.
    const CORPUS: Corpus;

    /// Its name in the corpus.
    fn id(&self) -> &RecordId;

    /// One line for people.
    fn title(&self) -> String;

    /// What it is filtered by.
    fn facets(&self) -> Facets;

    /// What is searched besides the title. Empty: not searched.
    fn text(&self) -> String;

    /// What a sentence model compares: the text, without identifiers of one occurrence.
    fn meaning(&self) -> String {
        self.text()
    }

    /// The record that keeps it.
    fn draft(&self) -> RecordDraft {
        RecordDraft {
            key: RecordKey::new(Self::CORPUS, self.id().clone()),
            title: self.title(),
            facets: self.facets(),
            text: self.text(),
            body: serde_json::to_value(self).expect("nouns have string keys only"),
        }
    }

    /// The noun that a record keeps.
    fn from_record(record: &Record) -> Result<Self, serde_json::Error> {
        Self::deserialize(&record.body)
    }
}
