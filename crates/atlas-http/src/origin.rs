//! Scheme, host and port.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

use crate::address::AddressClass;
use crate::error::HttpError;

/// Scheme, host and port: what a setting allows and what a credential belongs to. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    https: bool,
    host: Arc<str>,
    port: u16,
}

impl Origin {
    /// The origin of a URL. The `url` crate has already turned other spellings of a host (upper
    /// case, decimal and octal IPv4, international names) into the one that is compared.
    pub fn of(url: &Url) -> Result<Self, HttpError> {
        let (https, host, port) = parts(url)?;
        Ok(Self { https, host: host.into(), port })
    }

    /// The origin of a URL that may hold a user name and password, as a proxy's does.
    pub(crate) fn without_credentials(url: &Url) -> Result<Self, HttpError> {
        let (https, host, port) = parts_with_credentials(url)?;
        Ok(Self { https, host: host.into(), port })
    }

    /// The host, IPv6 literals in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where the URL left it out.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the connection is a secure one.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The class the host promises, before anything is resolved.
    pub fn class(&self) -> AddressClass {
        AddressClass::of_host(&self.host)
    }

    /// Whether the URL is of this origin. Needs no allocation, unlike making the URL's own.
    pub(crate) fn holds(&self, url: &Url) -> bool {
        parts(url).is_ok_and(|parts| parts == (self.https, &*self.host, self.port))
    }

    /// The address, where the host is one.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        let host = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        host.unwrap_or(&self.host).parse().ok()
    }
}

/// Scheme, host and port of a URL, borrowed.
fn parts(url: &Url) -> Result<(bool, &str, u16), HttpError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(HttpError::Url { reason: "it holds a user name or password; use the key setting" });
    }
    parts_with_credentials(url)
}

fn parts_with_credentials(url: &Url) -> Result<(bool, &str, u16), HttpError> {
    let https = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return Err(HttpError::Url { reason: "only http and https are spoken" }),
    };
    let host = url.host_str().ok_or(HttpError::Url { reason: "it has no host" })?;
    let port = url.port_or_known_default().ok_or(HttpError::Url { reason: "it has no port" })?;
    Ok((https, host, port))
}

impl FromStr for Origin {
    type Err = HttpError;

    fn from_str(text: &str) -> Result<Self, HttpError> {
        Self::of(&Url::parse(text).map_err(|_| HttpError::Url { reason: "it does not parse" })?)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.https { "https" } else { "http" }, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_is_spoken() {
        for text in ["ftp://a.example/", "file:///etc/passwd", "unix:/run/x", "not a url"] {
            assert!(matches!(text.parse::<Origin>(), Err(HttpError::Url { .. })), "{text}");
        }
    }
}
