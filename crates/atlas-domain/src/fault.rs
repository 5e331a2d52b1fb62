//! The two questions every error of this workspace answers: who has to act, and may it be tried
//! again.

use std::time::Duration;

/// Who has to act before the same call can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The caller sent something that cannot work.
    Caller,
    /// The operator's settings are wrong (key, endpoint, model name, disk path).
    Settings,
    /// A provider or engine outside this process failed.
    Upstream,
    /// A limit of this server or its machine was reached (queue, disk, memory).
    Capacity,
    /// A defect of ours.
    Ourselves,
}

/// Whether the same call may be repeated unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Repeating cannot help.
    Never,
    /// Repeating may help now.
    Now,
    /// Repeating may help after this time.
    After(Duration),
}
