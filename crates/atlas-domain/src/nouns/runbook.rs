//! Runbooks.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Noun;
use crate::record::{Corpus, Facets, RecordId};

/// Operating instructions: CommonMark, headings are the citation anchors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runbook {
    /// Name, for an import the path below the imported folder.
    pub id: RecordId,
    /// From the front matter or the first heading.
    pub title: String,
    /// The CommonMark text without front matter.
    pub markdown: String,
    /// The service it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Where it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where people read the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Labels from the front matter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Last change.
    pub updated_at: Timestamp,
}

impl Noun for Runbook {
    const CORPUS: Corpus = Corpus::Runbooks;

    fn id(&self) -> &RecordId {
        &self.id
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    fn facets(&self) -> Facets {
        Facets {
            service: self.service.clone(),
            source: self.source.clone(),
            labels: self.labels.clone(),
            ..Facets::at(self.updated_at)
        }
    }

    fn text(&self) -> String {
        self.markdown.clone()
    }
}
