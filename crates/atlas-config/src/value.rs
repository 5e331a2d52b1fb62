//! One value and where it came from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Where a setting's value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "source")]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// An environment variable.
    Environment,
    /// A line of the `.env`-style file.
    EnvFile {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// A file of the settings directory.
    SettingsDir {
        /// The file.
        path: PathBuf,
    },
    /// A file that `<NAME>_FILE` points to.
    NamedFile {
        /// The file.
        path: PathBuf,
        /// Where `<NAME>_FILE` was set.
        named_in: Box<Origin>,
    },
    /// An argument of the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment => f.write_str("environment"),
            Self::EnvFile { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::SettingsDir { path } => write!(f, "{}", path.display()),
            Self::NamedFile { path, named_in } => write!(f, "{} (named in: {named_in})", path.display()),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// The text of a setting as it was read. `Debug` shows nothing of it.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) origin: Origin,
    /// `None`: not set, and without a default.
    pub(crate) text: Option<SecretString>,
    /// The SHA-256 of the file that the value points to.
    pub(crate) content: Option<[u8; 32]>,
}

impl Value {
    /// A value from the command line.
    pub(crate) fn typed(text: &str) -> Self {
        Self { origin: Origin::CommandLine, text: Some(text.into()), content: None }
    }

    pub(crate) fn expose(&self) -> Option<&str> {
        self.text.as_ref().map(ExposeSecret::expose_secret)
    }
}

/// A file that a setting points to, read together with the settings. `Debug` shows its path and
/// its size: it may be a private key.
#[derive(Clone)]
pub struct FileContent {
    /// The path, as it was written.
    pub path: PathBuf,
    /// What was in it.
    pub bytes: Arc<[u8]>,
}

impl FileContent {
    pub(crate) fn new(path: &Path, bytes: Vec<u8>) -> Self {
        Self { path: path.to_owned(), bytes: bytes.into() }
    }
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileContent").field("path", &self.path).field("bytes", &self.bytes.len()).finish()
    }
}

/// Enough of a value's SHA-256 to see whether two machines have the same one, and too little to
/// find it: for a key, 32 bits confirm nothing that can be tried out.
pub fn fingerprint(secret: &str) -> String {
    Sha256::digest(secret.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
