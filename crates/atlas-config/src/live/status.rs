//! What is said about the settings of a running server.

use atlas_domain::Timestamp;
use serde::Serialize;

use super::Snapshot;
use crate::{SettingError, SettingErrors, SourceStatus};

/// What is in effect, what was refused and what waits for a restart.
#[derive(Debug, Clone, Serialize)]
pub struct SettingsStatus {
    /// The snapshot in effect.
    pub generation: u64,
    /// When it took effect.
    pub applied_at: Timestamp,
    /// Where it was read from, in the order of precedence.
    pub sources: Vec<SourceStatus>,
    /// The newest reading, if it could not be used; the snapshot in effect is then an older one.
    pub rejected: Option<Rejected>,
    /// Settings that have a new value, which takes effect with the next start.
    pub needs_restart: Vec<&'static str>,
    /// Names that look like settings and are none.
    pub unknown: Vec<String>,
    /// Values that are probably not meant.
    pub warnings: Vec<String>,
}

impl SettingsStatus {
    pub(super) fn of(
        snapshot: &Snapshot,
        sources: Vec<SourceStatus>,
        needs_restart: Vec<&'static str>,
    ) -> Self {
        Self {
            generation: snapshot.generation,
            applied_at: snapshot.read_at,
            sources,
            rejected: None,
            needs_restart,
            unknown: snapshot.settings.unknown.clone(),
            warnings: snapshot.settings.warnings.clone(),
        }
    }
}

/// A reading that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// When it was read.
    pub at: Timestamp,
    /// The setting to correct, where it is known; the first of several.
    pub name: Option<String>,
    /// What is wrong and what to do. Holds no secret.
    pub reason: String,
}

/// What a reading led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is different from the snapshot in effect.
    Unchanged,
    /// A new snapshot is in effect.
    Applied {
        /// Its number.
        generation: u64,
    },
    /// The last good snapshot stays in effect.
    Rejected(Rejected),
}

/// Why a candidate cannot take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The setting to correct, where it is known.
    pub name: Option<String>,
    /// What is wrong and what to do, without secrets.
    pub reason: String,
}

impl From<SettingError> for Refusal {
    fn from(error: SettingError) -> Self {
        Self { name: Some(error.name().to_owned()), reason: error.to_string() }
    }
}

impl From<SettingErrors> for Refusal {
    fn from(errors: SettingErrors) -> Self {
        Self { name: errors.first().map(|error| error.name().to_owned()), reason: errors.to_string() }
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { name: None, reason }
    }
}
