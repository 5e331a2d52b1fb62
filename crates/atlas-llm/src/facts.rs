//! What a provider says about a model, and what was measured about it.

use atlas_domain::Timestamp;
use serde::{Deserialize, Serialize};

/// What the provider itself says about the configured model, asked without generating anything.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Inspection {
    /// Whether the provider accepted the credentials, where the asking shows it: a server without
    /// authentication accepts everything.
    pub credentials_checked: bool,
    /// Whether it lists the model; `None` when it has no list or does not show it.
    pub model_listed: Option<bool>,
    /// The context it runs the model with.
    pub context_tokens: Option<u64>,
    /// Whether the model asks for tools.
    pub tools: Option<bool>,
    /// Who we are there (the role or key identity on AWS).
    pub identity: Option<String>,
    /// What else should be known: near retirement, a smaller context than the model has.
    pub warnings: Vec<String>,
}

/// What was measured about a model by the connection test, at a time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CapabilityProfile {
    /// When.
    pub measured_at: Option<Timestamp>,
    /// It answers.
    pub chat: Option<bool>,
    /// Pieces arrive as they are made, rather than all at the end.
    pub streaming: Option<bool>,
    /// It asked for the tool it was told to.
    pub tools: Option<bool>,
    /// Its answer had the asked shape.
    pub json_schema: Option<bool>,
    /// Tokens of a prompt whose head was still known at the end.
    pub context_tokens: Option<u64>,
}
