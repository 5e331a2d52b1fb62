//! Backups as callers know them: names, and what a backup says about itself.

use std::fmt;
use std::str::FromStr;

use atlas_domain::{Seq, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest name.
const NAME_BYTES: usize = 64;

/// The name of a backup: what a request may say about where it lies. Never a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupName(String);

/// A text that cannot name a backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a backup's name is 1 to 64 of a-z, 0-9, `-`, `_` and `.`, and begins with a letter or digit")]
pub struct NotABackupName;

impl BackupName {
    /// The name as text; safe as a file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BackupName {
    type Err = NotABackupName;

    fn from_str(text: &str) -> Result<Self, NotABackupName> {
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fits = (1..=NAME_BYTES).contains(&text.len())
            && text.bytes().next().is_some_and(|first| plain(&first))
            && text.bytes().all(|byte| plain(&byte) || b"-_.".contains(&byte));
        if fits { Ok(Self(text.to_owned())) } else { Err(NotABackupName) }
    }
}

impl TryFrom<String> for BackupName {
    type Error = NotABackupName;

    fn try_from(text: String) -> Result<Self, NotABackupName> {
        text.parse()
    }
}

impl From<BackupName> for String {
    fn from(name: BackupName) -> Self {
        name.0
    }
}

/// What a backup holds. Written last, so a backup without it is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of the backup; a higher one than this program knows is refused.
    pub format: u32,
    /// Its name.
    pub name: BackupName,
    /// When it was begun.
    pub made_at: Timestamp,
    /// The tenants in it.
    pub tenants: Vec<BackupTenant>,
}

/// One tenant of a backup: its state at one moment, in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupTenant {
    /// Which.
    pub tenant: TenantId,
    /// The last change in it.
    pub seq: Seq,
    /// The version of its tables.
    pub schema: u32,
    /// Length of its file.
    pub bytes: u64,
    /// SHA-256 of its file, in hexadecimal.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_path() {
        for name in ["a", "2026-11-25", "before_upgrade.1", &"x".repeat(64)] {
            assert_eq!(name.parse::<BackupName>().expect("a name").as_str(), name);
        }
        for other in
            ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "-x", "A", "ä", "a b", "a\0", &"x".repeat(65)]
        {
            assert_eq!(other.parse::<BackupName>(), Err(NotABackupName), "{other}");
            assert!(serde_json::from_value::<BackupName>(other.into()).is_err(), "{other}");
        }
    }
}
