//! Scheme, host and port.
//!
//! Beside http and https there are streams: connections on which another protocol is spoken, such
//! as a database's. They are origins of their own, so that allowing one allows no request to it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use url::{Host, Url};

use crate::address::AddressClass;
use crate::error::HttpError;

/// Scheme, host and port: what a setting allows and what a credential belongs to. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: Scheme,
    host: Arc<str>,
    port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Scheme {
    Http,
    Https,
    Tcp,
    Tls,
}

impl Origin {
    /// The origin of a URL. The `url` crate has already turned other spellings of a host (upper
    /// case, decimal and octal IPv4, international names) into the one that is compared.
    pub fn of(url: &Url) -> Result<Self, HttpError> {
        let (scheme, host, port) = parts(url)?;
        Ok(Self { scheme, host: host.into(), port })
    }

    /// The origin of a stream that is not http, secured or not. Other spellings of the host are
    /// turned into the one that is compared.
    pub fn stream(host: &str, port: u16, secured: bool) -> Result<Self, HttpError> {
        let host =
            Host::parse(host).map_err(|_| HttpError::Url { reason: "its host is no name or address" })?;
        let scheme = if secured { Scheme::Tls } else { Scheme::Tcp };
        Ok(Self { scheme, host: host.to_string().into(), port })
    }

    /// The origin of a URL that may hold a user name and password, as a proxy's does.
    pub(crate) fn without_credentials(url: &Url) -> Result<Self, HttpError> {
        let (scheme, host, port) = parts_with_credentials(url)?;
        Ok(Self { scheme, host: host.into(), port })
    }

    /// The host, IPv6 literals in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also where the URL left it out.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether https is spoken there.
    pub fn is_https(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Whether a stream to it is secured.
    pub(crate) fn is_tls(&self) -> bool {
        self.scheme == Scheme::Tls
    }

    /// The class the host promises, before anything is resolved.
    pub fn class(&self) -> AddressClass {
        AddressClass::of_host(&self.host)
    }

    /// Whether the URL is of this origin. Needs no allocation, unlike making the URL's own.
    pub(crate) fn holds(&self, url: &Url) -> bool {
        parts(url).is_ok_and(|parts| parts == (self.scheme, &*self.host, self.port))
    }

    /// The address, where the host is one.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        let host = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        host.unwrap_or(&self.host).parse().ok()
    }
}

/// Scheme, host and port of a URL, borrowed.
fn parts(url: &Url) -> Result<(Scheme, &str, u16), HttpError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(HttpError::Url { reason: "it holds a user name or password; use the key setting" });
    }
    parts_with_credentials(url)
}

fn parts_with_credentials(url: &Url) -> Result<(Scheme, &str, u16), HttpError> {
    let scheme = match url.scheme() {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return Err(HttpError::Url { reason: "only http and https are spoken" }),
    };
    let host = url.host_str().ok_or(HttpError::Url { reason: "it has no host" })?;
    let port = url.port_or_known_default().ok_or(HttpError::Url { reason: "it has no port" })?;
    Ok((scheme, host, port))
}

impl FromStr for Origin {
    type Err = HttpError;

    fn from_str(text: &str) -> Result<Self, HttpError> {
        Self::of(&Url::parse(text).map_err(|_| HttpError::Url { reason: "it does not parse" })?)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Tcp => "tcp",
            Scheme::Tls => "tls",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
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

    #[test]
    fn a_stream_is_no_place_for_requests() {
        let stream = Origin::stream("127.1", 5432, false).expect("an origin");
        assert_eq!(stream.to_string(), "tcp://127.0.0.1:5432");
        assert_eq!(stream.literal(), Some("127.0.0.1".parse().expect("an address")));
        assert!(!stream.holds(&Url::parse("http://127.0.0.1:5432/").expect("a URL")));
        let secured = Origin::stream("[fd00::1]", 5432, true).expect("an origin");
        assert_eq!((secured.to_string().as_str(), secured.is_https()), ("tls://[fd00::1]:5432", false));
        assert!(Origin::stream("a b", 1, true).is_err());
    }
}
