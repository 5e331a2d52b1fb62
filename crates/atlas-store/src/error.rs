//! What can go wrong in a store, who has to act, and whether to try again.

use atlas_domain::{Fault, Retry, TenantId};

use crate::BackupName;

/// Why the store could not do it. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The tenant was never created.
    #[error("there is no tenant {tenant}")]
    UnknownTenant {
        /// Which.
        tenant: TenantId,
    },
    /// A cursor was not made by this store.
    #[error("the cursor is not one this server gave out")]
    Cursor,
    /// Another process has the data directory.
    #[error("the data directory {place} is in use by another process (pid {holder})")]
    InUse {
        /// The directory.
        place: String,
        /// The holder's process id as it wrote it, or `unknown`.
        holder: String,
    },
    /// A vector that no leg could compare.
    #[error("a vector cannot be stored: {detail}")]
    Vector {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A request is larger than the store takes.
    #[error("the {what} exceeds the limit of {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// The most that is taken.
        limit: usize,
    },
    /// No space is left.
    #[error("the disk that holds {place} is full")]
    Full {
        /// The directory.
        place: String,
    },
    /// The disk or directory cannot be written or read.
    #[error("{place} cannot be {action}")]
    Io {
        /// The directory or file.
        place: String,
        /// `read` or `written`.
        action: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database does not answer, or not as one that can be worked with. It may be back in a
    /// moment.
    #[error("{place} is not available")]
    Unavailable {
        /// Which database.
        place: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database was lost while it confirmed a write, and does not say what became of it.
    #[error(
        "the connection to {place} was lost while a write was being confirmed; it is there as a whole or not at all"
    )]
    Unconfirmed {
        /// Which database.
        place: String,
    },
    /// The database cannot be worked with the way it is set up.
    #[error("{place} cannot be used: {reason}; {fix}")]
    Refused {
        /// Which database.
        place: String,
        /// What is wrong.
        reason: String,
        /// What to do about it.
        fix: String,
    },
    /// Stored content is not what was written.
    #[error("the store of tenant {tenant} is damaged: {detail}")]
    Damaged {
        /// Which.
        tenant: TenantId,
        /// Where.
        detail: String,
    },
    /// There is no such backup.
    #[error("there is no backup {name}")]
    UnknownBackup {
        /// Which.
        name: BackupName,
    },
    /// The name is taken.
    #[error("there is a backup {name} already")]
    BackupExists {
        /// Which.
        name: BackupName,
    },
    /// The backup does not hold the tenant.
    #[error("the backup {name} does not hold the tenant {tenant}")]
    NotInBackup {
        /// Which backup.
        name: BackupName,
        /// Which tenant.
        tenant: TenantId,
    },
    /// The backup is not what was written.
    #[error("the backup {name} is damaged: {detail}")]
    BackupDamaged {
        /// Which.
        name: BackupName,
        /// Where.
        detail: String,
    },
    /// The database was written by a newer version of this program.
    #[error("the store was written by a newer version (schema {found}, this version knows {known})")]
    Newer {
        /// The version on disk.
        found: u32,
        /// The highest version this program knows.
        known: u32,
    },
}

impl StoreError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::UnknownTenant { .. }
            | Self::Cursor
            | Self::Limit { .. }
            | Self::UnknownBackup { .. }
            | Self::BackupExists { .. }
            | Self::NotInBackup { .. } => Fault::Caller,
            Self::InUse { .. } | Self::Newer { .. } | Self::Refused { .. } | Self::BackupDamaged { .. } => {
                Fault::Settings
            }
            Self::Unavailable { .. } | Self::Unconfirmed { .. } => Fault::Upstream,
            Self::Full { .. } | Self::Io { .. } => Fault::Capacity,
            // The embedding contract checks what engines return, so a bad vector here is ours.
            Self::Damaged { .. } | Self::Vector { .. } => Fault::Ourselves,
        }
    }

    /// Whether to try again.
    pub fn retry(&self) -> Retry {
        match self {
            // A write that was sent twice changes nothing the second time.
            Self::Full { .. } | Self::Io { .. } | Self::Unavailable { .. } | Self::Unconfirmed { .. } => {
                Retry::Now
            }
            Self::UnknownTenant { .. }
            | Self::Cursor
            | Self::Vector { .. }
            | Self::Limit { .. }
            | Self::InUse { .. }
            | Self::Refused { .. }
            | Self::Newer { .. }
            | Self::UnknownBackup { .. }
            | Self::BackupExists { .. }
            | Self::NotInBackup { .. }
            | Self::BackupDamaged { .. }
            | Self::Damaged { .. } => Retry::Never,
        }
    }
}
