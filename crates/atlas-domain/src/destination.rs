//! Where text can go.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The class of a place text is sent to; policy is written per class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationClass {
    /// Stays in this process (the local embedding engine).
    InProcess,
    /// The same machine, through the loopback interface.
    Loopback,
    /// An address of a private network (RFC 1918, RFC 4193 and the like).
    Private,
    /// A cloud vendor's API that the settings name.
    VendorCloud,
    /// Any other public address.
    Public,
}

/// One named destination: a class and, outside the process, a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    class: DestinationClass,
    host: String,
}

impl Destination {
    /// Text that never leaves the process.
    pub fn in_process() -> Self {
        Self { class: DestinationClass::InProcess, host: "in-process".into() }
    }

    /// A host outside the process, as the connector classified it.
    pub fn host(class: DestinationClass, host: impl Into<String>) -> Self {
        Self { class, host: host.into() }
    }

    /// The class.
    pub fn class(&self) -> DestinationClass {
        self.class
    }

    /// The host name, without port, path or credentials.
    pub fn host_name(&self) -> &str {
        &self.host
    }

    /// Whether text sent here leaves the process.
    pub fn is_outside(&self) -> bool {
        self.class != DestinationClass::InProcess
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}
