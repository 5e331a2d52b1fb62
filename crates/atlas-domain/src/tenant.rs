//! Tenants, and the proof that a caller may act for one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A tenant's name: 1 to 63 characters of `a-z`, `0-9`, `-` and `_`, first and last
/// alphanumeric. It is used as a directory name, so the alphabet holds no separator, no dot and
/// no upper case (two names that differ in case would be one directory on some file systems).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(Arc<str>);

/// Why a text is no tenant id.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "a tenant id has 1 to 63 characters of a-z, 0-9, - and _, and starts and ends with a letter or digit"
)]
pub struct InvalidTenant;

impl TenantId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = InvalidTenant;

    fn from_str(text: &str) -> Result<Self, InvalidTenant> {
        let bytes = text.as_bytes();
        let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let inner_ok = bytes.iter().all(|b| alphanumeric(b) || matches!(b, b'-' | b'_'));
        let ends_ok = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
        if bytes.len() <= 63 && inner_ok && ends_ok { Ok(Self(text.into())) } else { Err(InvalidTenant) }
    }
}

impl TryFrom<String> for TenantId {
    type Error = InvalidTenant;

    fn try_from(text: String) -> Result<Self, InvalidTenant> {
        text.parse()
    }
}

impl From<TenantId> for String {
    fn from(id: TenantId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

/// The proof that the caller may act for one tenant. Every store and search function takes one.
///
/// There is no default, no "all tenants" and no way from a [`TenantId`] except [`Self::grant`],
/// which `.clippy.toml` bans outside the authentication layer and the tests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantScope {
    tenant: TenantId,
}

impl TenantScope {
    /// Made by the authentication layer after it has checked the credential.
    pub fn grant(tenant: TenantId) -> Self {
        Self { tenant }
    }

    /// The one tenant this scope stands for.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_tenant_ids() {
        for name in ["a", "default", "acme-eu_1", "0x", &"a".repeat(63)] {
            assert_eq!(name.parse::<TenantId>().map(|t| t.as_str().to_owned()).ok().as_deref(), Some(name));
        }
    }

    #[test]
    fn names_that_could_leave_the_data_directory_are_refused() {
        for name in
            ["", ".", "..", "../x", "a/b", "a\\b", "A", "a.b", "-a", "a-", "a b", "ä", "a\0", &"a".repeat(64)]
        {
            assert!(name.parse::<TenantId>().is_err(), "{name:?}");
        }
    }
}
