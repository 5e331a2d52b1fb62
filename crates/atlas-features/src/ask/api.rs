//! What is asked of the records, and what comes back.

use std::time::Duration;

use atlas_domain::{Corpus, Facets, Filter, RecordKey, Timestamp};
use atlas_inference::{ServedBy, Usage};
use atlas_retrieval::{Leg, Matches};
use serde::Serialize;

use super::question::Understood;
use crate::rca::Citation;

/// A question to the records of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct AskRequest {
    /// The question.
    pub question: String,
    /// Where to look; empty: everywhere.
    pub corpora: Vec<Corpus>,
    /// Conditions to use instead of those that the question says: what a person made of them.
    pub filter: Option<Filter>,
    /// What to look for instead of what the question leaves.
    pub query: Option<String>,
    /// Most passages.
    pub limit: usize,
    /// The clock of who asks, as an offset from UTC (`+02:00`).
    pub utc_offset: Option<String>,
    /// What "since the deploy" means; `None`: the latest change among the records.
    pub deployed_at: Option<Timestamp>,
    /// Whether a model may write an answer.
    pub with_model: bool,
    /// How long the whole may take.
    pub deadline: Duration,
}

impl AskRequest {
    /// A question with the usual limits: ten passages are what a person looks through, and 60 s
    /// is a slow model on a processor with a short answer.
    pub fn new(question: impl Into<String>) -> Self {
        Self {
            question: question.into(),
            corpora: Vec::new(),
            filter: None,
            query: None,
            limit: 10,
            utc_offset: None,
            deployed_at: None,
            with_model: true,
            deadline: Duration::from_secs(60),
        }
    }
}

/// How far an answer is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum AskProgress {
    /// The question is read.
    Understood {
        /// How.
        understood: Box<Understood>,
    },
    /// The records were searched.
    Found {
        /// Passages.
        passages: usize,
        /// Whether the best one is about the question.
        matches: Matches,
    },
    /// The model has been asked.
    Asking,
    /// Quotations are being looked up.
    Validating,
}

/// Who made the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnsweredBy {
    /// A model, from the passages.
    Model,
    /// The search: the passages are the answer, or that there is none.
    Retrieval,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AskPassage {
    /// `P1`, `P2` and so on, best first: what citations name.
    pub evidence_id: String,
    /// Which record.
    #[serde(flatten)]
    pub key: RecordKey,
    /// One line.
    pub title: String,
    /// Headings from the title down.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub heading: String,
    /// The text.
    pub text: String,
    /// What it can be filtered by.
    pub facets: Facets,
    /// Fused score; `None` in a list that is newest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// Terms of the question that the record has as they stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
}

/// One statement of a model, with quotations that were found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sentence {
    /// What it says.
    pub text: String,
    /// What it rests on; at least one.
    pub citations: Vec<Citation>,
}

/// A condition without which something matches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Widening {
    /// `time`, `service`, `label.host` and so on; `all` for all of them.
    pub without: String,
    /// What the search then says.
    pub matches: Matches,
}

/// The model's part in an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ModelPart {
    /// It was not asked: the caller did not want it, or nothing matches.
    NotAsked,
    /// There is none, or it did not answer; the passages are the answer.
    Unavailable {
        /// A stable word (`ai_not_configured`).
        code: &'static str,
        /// In words.
        reason: String,
    },
    /// It says that the passages do not answer the question, or nothing that it said is in them.
    NoAnswer {
        /// Who.
        served_by: ServedBy,
        /// Tokens it took.
        usage: Usage,
    },
    /// It answered.
    Answered {
        /// Who.
        served_by: ServedBy,
        /// Tokens it took.
        usage: Usage,
        /// The provider did not count and the tokens are a guess.
        usage_estimated: bool,
        /// Secrets that were taken out of the passages before they left.
        redactions: usize,
        /// What was done without, because the model lacks it.
        degraded: Vec<&'static str>,
    },
}

/// An answer.
#[derive(Debug, Clone, Serialize)]
pub struct AskAnswer {
    /// How the question was read.
    pub understood: Understood,
    /// The conditions that held.
    pub filter: Filter,
    /// What was looked for; empty where the newest records of the conditions are listed.
    pub query: String,
    /// Who made the answer.
    pub answered_by: AnsweredBy,
    /// In one line, for people: the answer, what was found, or that nothing matches.
    pub answer: String,
    /// The model's statements.
    pub sentences: Vec<Sentence>,
    /// Whether the best passage is about the question. `none`: nothing matches.
    pub matches: Matches,
    /// How likely that is, between 0 and 1.
    pub confidence: f32,
    /// Best first; what comes nearest where nothing matches.
    pub passages: Vec<AskPassage>,
    /// Where nothing matches: conditions that may be why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub widen: Vec<Widening>,
    /// Quotations of the model that are not in the passages.
    pub dropped_citations: usize,
    /// Statements that lost their last quotation.
    pub dropped_sentences: usize,
    /// The model's part.
    pub model: ModelPart,
    /// Search legs that could not help.
    pub degraded: Vec<Leg>,
    /// Time spent in all.
    #[serde(rename = "took_ms", serialize_with = "as_millis")]
    pub took: Duration,
}

fn as_millis<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}
