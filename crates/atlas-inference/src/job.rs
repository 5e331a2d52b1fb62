//! What a feature asks for and what it gets.

use std::fmt;
use std::time::Duration;

use atlas_llm::{ChatRequest, Continuation, Finish, ToolCall, Usage};
use serde::{Deserialize, Serialize};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// Root cause analysis.
    Rca,
    /// Drafting and improving runbooks.
    Runbook,
    /// The conversation during an incident.
    Copilot,
    /// Questions to the search.
    Search,
    /// Other tools, through the OpenAI-compatible API.
    Inbound,
    /// The connection test.
    Test,
}

impl Feature {
    /// The features that may have a model of their own (`BYOC_MODEL_RCA` and the like).
    pub const ROUTED: [Self; 4] = [Self::Rca, Self::Runbook, Self::Copilot, Self::Search];

    /// The word in metrics and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rca => "rca",
            Self::Runbook => "runbook",
            Self::Copilot => "copilot",
            Self::Search => "search",
            Self::Inbound => "inbound",
            Self::Test => "test",
        }
    }

    /// Whether it hands tools to its model.
    pub(crate) fn wants_tools(self) -> bool {
        match self {
            Self::Copilot => true,
            Self::Rca | Self::Runbook | Self::Search | Self::Inbound | Self::Test => false,
        }
    }

    /// Whether it asks for answers of a given shape.
    pub(crate) fn wants_json_schema(self) -> bool {
        match self {
            Self::Rca | Self::Runbook | Self::Search => true,
            Self::Copilot | Self::Inbound | Self::Test => false,
        }
    }
}

/// Is given the pieces of an answer as they arrive.
pub type OnText = Box<dyn FnMut(&str) + Send>;

/// One question to the model.
pub struct Job {
    /// Who asks.
    pub feature: Feature,
    /// What.
    pub request: ChatRequest,
    /// Which of the configured models; `None`: the feature's.
    pub model: Option<String>,
    /// When the whole job, retries included, must be over.
    pub deadline: Duration,
    /// Where pieces go while the answer is being written. After an error they stay partial.
    /// [`crate::Inference::open`] has no use for it: there the pieces are the answer.
    pub on_text: Option<OnText>,
}

impl fmt::Debug for Job {
    /// Without the request: it is somebody's incident.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("feature", &self.feature)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// An answer, and where it is from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answered {
    /// The whole text.
    pub text: String,
    /// The words of a model that declined.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub refusal: String,
    /// The tools it asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// What the provider wants back with the results of the tools.
    #[serde(skip)]
    pub continuation: Option<Continuation>,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens it took.
    pub usage: Usage,
    /// The provider did not count and this is a guess from the lengths.
    pub usage_estimated: bool,
    /// Who answered.
    pub served_by: ServedBy,
    /// What was wanted and done without, because the model lacks it: `tools`, `json_schema`.
    pub degraded: Vec<&'static str>,
    /// From admission to the last token.
    #[serde(rename = "latency_ms", serialize_with = "as_millis")]
    pub latency: Duration,
    /// How many secrets were taken out of the request before it left.
    pub redactions: usize,
}

/// Whose model answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plane {
    /// The customer's own.
    Byoc,
    /// AtlasAI's managed AI.
    ControlPlane,
}

impl Plane {
    /// The word in metrics and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Byoc => "byoc",
            Self::ControlPlane => "control_plane",
        }
    }
}

/// Which model answered, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedBy {
    /// Whose model it is.
    pub plane: Plane,
    /// The provider's label.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// The host that was called.
    pub host: String,
    /// The class of that host, as in `atlas_domain::DestinationClass`.
    pub destination: String,
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_millis() as u64)
}
