//! Why an index could not do it.

use atlas_domain::{Fault, Retry, SpaceId};

/// Why an index did not take or find something. What it held before is unchanged and searchable.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A vector of another space; comparing it would give a number without meaning.
    #[error("the index holds vectors of space {expected}, not of {found}")]
    Space {
        /// The index's space.
        expected: SpaceId,
        /// The vector's.
        found: SpaceId,
    },
    /// A vector of another length than its space has.
    #[error("a vector of {found} components does not belong to a space of {expected}")]
    Dimension {
        /// The space's dimension.
        expected: usize,
        /// The vector's.
        found: usize,
    },
    /// A vector with a component that is NaN or infinite.
    #[error("a vector has a component that is no finite number")]
    NotFinite,
    /// The index holds as many rows as its row numbers can name.
    #[error("the vector index is full")]
    Full,
    /// The file of a vector index cannot be read or written.
    #[error("the file of a vector index cannot be {action}")]
    File {
        /// What was attempted.
        action: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file of a vector index does not hold what was written. Remove it and fill the index from
    /// the store.
    #[error("the file of a vector index is damaged: {detail}")]
    Corrupt {
        /// What was noticed.
        detail: String,
    },
    /// The directory of a lexical index cannot be used at all, not even set aside.
    #[error("the lexical index directory cannot be {action}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The lexical engine failed.
    #[error("the lexical index cannot be {action}")]
    Lexical {
        /// What was attempted.
        action: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The lexical engine tripped over its own files. Open the index again: it is then checked
    /// and, if need be, set aside and rebuilt.
    #[error("the lexical index is damaged: {detail}")]
    Damaged {
        /// What was noticed.
        detail: String,
    },
}

impl IndexError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Space { .. } | Self::Dimension { .. } | Self::Damaged { .. } | Self::Corrupt { .. } => {
                Fault::Ourselves
            }
            Self::NotFinite => Fault::Upstream,
            Self::Full | Self::File { .. } | Self::Io { .. } | Self::Lexical { .. } => Fault::Capacity,
        }
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::File { .. } | Self::Io { .. } | Self::Lexical { .. } => Retry::Now,
            Self::Space { .. }
            | Self::Dimension { .. }
            | Self::NotFinite
            | Self::Full
            | Self::Corrupt { .. }
            | Self::Damaged { .. } => Retry::Never,
        }
    }
}
