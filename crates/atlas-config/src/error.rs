//! Why the settings cannot be used.

use std::fmt;

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
    /// The value has the wrong form, or its source cannot be read.
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
    pub(crate) fn invalid(name: &'static str, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Invalid { name, problem: problem.into(), fix: fix.into() }
    }

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

/// Everything that is wrong with the settings: one error or more, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingErrors(Vec<SettingError>);

impl SettingErrors {
    pub(crate) fn new(errors: Vec<SettingError>) -> Result<(), Self> {
        if errors.is_empty() { Ok(()) } else { Err(Self(errors)) }
    }

    /// The errors, in the order in which settings are read.
    pub fn into_vec(self) -> Vec<SettingError> {
        self.0
    }
}

impl std::ops::Deref for SettingErrors {
    type Target = [SettingError];

    fn deref(&self) -> &[SettingError] {
        &self.0
    }
}

impl fmt::Display for SettingErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingErrors {}
