//! Log lines and the shapes they share.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Noun;
use crate::record::{Corpus, Facets, RecordId};

/// One log line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Derived from time, origin and text, so that a resent batch is the same lines.
    pub id: RecordId,
    /// When the line was written.
    pub at: Timestamp,
    /// The line.
    pub message: String,
    /// Level, lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The service that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// File, stream or sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The template of the line.
    pub template_id: RecordId,
    /// Further attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// The masked shape that many log lines share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogTemplate {
    /// Derived from its first shape; stays when the shape widens.
    pub id: RecordId,
    /// The shape, variable parts as `<num>`, `<ip>` and so on, `<*>` where kinds differ.
    pub shape: String,
    /// Templates that turned out to be this one. Lines stored before that name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absorbed: Vec<RecordId>,
    /// One line as it was.
    pub exemplar: String,
    /// Lines seen.
    pub count: u64,
    /// First line.
    pub first_at: Timestamp,
    /// Last line.
    pub last_at: Timestamp,
    /// The service that wrote it first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The highest level seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
}

impl LogTemplate {
    /// What lines of this template may name it by.
    pub fn ids(&self) -> Vec<String> {
        [&self.id].into_iter().chain(&self.absorbed).map(|id| id.as_str().to_owned()).collect()
    }
}

impl Noun for LogRecord {
    const CORPUS: Corpus = Corpus::Logs;

    fn id(&self) -> &RecordId {
        &self.id
    }

    fn title(&self) -> String {
        String::new()
    }

    fn facets(&self) -> Facets {
        Facets {
            service: self.service.clone(),
            severity: self.level.clone(),
            source: self.source.clone(),
            link: Some(self.template_id.as_str().to_owned()),
            labels: self.attributes.clone(),
            ..Facets::at(self.at)
        }
    }

    fn text(&self) -> String {
        self.message.clone()
    }
}

impl Noun for LogTemplate {
    const CORPUS: Corpus = Corpus::LogTemplates;

    fn id(&self) -> &RecordId {
        &self.id
    }

    fn title(&self) -> String {
        self.shape.clone()
    }

    fn facets(&self) -> Facets {
        Facets { service: self.service.clone(), severity: self.level.clone(), ..Facets::at(self.last_at) }
    }

    /// The shape with its placeholders as words: `block <num>` reads `block num`.
    fn meaning(&self) -> String {
        self.shape
            .replace("<*>", " ")
            .replace(['<', '>'], " ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn text(&self) -> String {
        self.exemplar.clone()
    }
}
