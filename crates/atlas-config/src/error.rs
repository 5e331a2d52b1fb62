//! Why the settings cannot be used.

use atlas_domain::{Fault, Retry};

/// Why the settings cannot be used. Texts name the variable and the fix; the value of a secret
/// never appears.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The variable's bytes are no text.
    #[error("{name} is not valid UTF-8; set it again as plain text")]
    NotText {
        /// Which variable.
        name: String,
    },
    /// The value has the wrong form.
    #[error("{name} {problem}; {fix}")]
    Invalid {
        /// Which variable.
        name: &'static str,
        /// What is wrong with it, as the rest of a sentence that begins with the name.
        problem: String,
        /// What to do.
        fix: String,
    },
}

impl SettingError {
    /// The variable to change.
    pub fn name(&self) -> &str {
        match self {
            Self::NotText { name } => name,
            Self::Invalid { name, .. } => name,
        }
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotText { .. } | Self::Invalid { .. } => Fault::Settings,
        }
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::NotText { .. } | Self::Invalid { .. } => Retry::Never,
        }
    }
}
