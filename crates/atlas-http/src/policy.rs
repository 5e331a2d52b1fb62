//! Which origins may be called.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::{Host, Url};

use crate::address::AddressClass;
use crate::error::HttpError;

/// Scheme, host and port: what a setting allows and what a credential belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of a URL. The `url` crate has already turned other spellings of a host (upper
    /// case, decimal and octal IPv4, international names) into the one that is compared.
    pub fn of(url: &Url) -> Result<Self, HttpError> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(HttpError::Url { reason: "only http and https are spoken" }),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HttpError::Url { reason: "it holds a user name or password; use the key setting" });
        }
        let host = url.host_str().ok_or(HttpError::Url { reason: "it has no host" })?;
        let port = url.port_or_known_default().ok_or(HttpError::Url { reason: "it has no port" })?;
        Ok(Self { https, host: host.to_owned(), port })
    }

    /// The host, IPv6 literals in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The class the host promises, before anything is resolved.
    pub fn class(&self) -> AddressClass {
        AddressClass::of_host(&self.host)
    }
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

/// The origins that the settings name. Nothing else is ever connected to; the default allows
/// nothing.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    allowed: HashSet<Origin>,
}

impl EgressPolicy {
    /// Allows these origins and no others.
    pub fn allow(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self { allowed: origins.into_iter().collect() }
    }

    /// Whether the URL may be requested: its origin is allowed and, where its host is a literal,
    /// the address is. Names are checked again by the resolver, on the addresses they have.
    pub fn check(&self, url: &Url) -> Result<Origin, HttpError> {
        let origin = Origin::of(url)?;
        if !self.allowed.contains(&origin) {
            return Err(denied(&origin.host, "the settings do not name this origin"));
        }
        match url.host() {
            Some(Host::Ipv4(address)) => check_literal(&origin.host, address.into())?,
            Some(Host::Ipv6(address)) => check_literal(&origin.host, address.into())?,
            Some(Host::Domain(_)) | None => {}
        }
        Ok(origin)
    }

    /// Whether a name may be resolved at all.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), HttpError> {
        if self.allowed.iter().any(|origin| origin.host == name) {
            Ok(())
        } else {
            Err(denied(name, "the settings do not name this host"))
        }
    }
}

fn check_literal(host: &str, address: IpAddr) -> Result<(), HttpError> {
    if AddressClass::of(address).is_forbidden() {
        return Err(denied(host, "metadata services and addresses of no single host are never called"));
    }
    Ok(())
}

/// Whether `name` may be connected to at `address`.
pub(crate) fn check_resolved(name: &str, address: IpAddr) -> Result<AddressClass, HttpError> {
    let class = AddressClass::of(address);
    match (AddressClass::of_host(name), class) {
        (_, AddressClass::Metadata | AddressClass::Unroutable) => {
            Err(denied(name, "it resolves to a metadata service or to no single host"))
        }
        (_, AddressClass::LinkLocal) => Err(denied(name, "it resolves to a link-local address")),
        (AddressClass::Loopback, AddressClass::Private | AddressClass::Public) => {
            Err(denied(name, "a name of this machine resolves to another machine"))
        }
        (AddressClass::Private, AddressClass::Public) => {
            Err(denied(name, "a name of a private network resolves to a public address"))
        }
        // A public name at a private address is a private endpoint of a vendor.
        (_, class) => Ok(class),
    }
}

fn denied(host: &str, rule: &'static str) -> HttpError {
    HttpError::Denied { host: host.to_owned(), rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(origins: &[&str]) -> EgressPolicy {
        EgressPolicy::allow(origins.iter().map(|origin| origin.parse().expect("an origin")))
    }

    #[track_caller]
    fn check(allowed: &[&str], url: &str, expect: bool) {
        let url = Url::parse(url).expect("a URL");
        assert_eq!(policy(allowed).check(&url).is_ok(), expect, "{url} with {allowed:?}");
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        check(&[], "http://127.0.0.1:1/", false);
        check(&[], "https://api.openai.com/v1", false);
    }

    #[test]
    fn scheme_host_and_port_must_all_agree() {
        let allowed = ["https://llm.example.com/v1"];
        check(&allowed, "https://llm.example.com/v1/chat/completions", true);
        check(&allowed, "https://LLM.example.com:443/other", true);
        check(&allowed, "http://llm.example.com/v1", false);
        check(&allowed, "https://llm.example.com:8443/v1", false);
        check(&allowed, "https://llm.example.com.evil.example/v1", false);
        check(&allowed, "https://user:pw@llm.example.com/v1", false);
    }

    #[test]
    fn other_spellings_of_an_address_are_the_same_address() {
        let allowed = ["http://127.0.0.1:8080"];
        for url in [
            "http://2130706433:8080/",
            "http://0x7f000001:8080/",
            "http://0177.0.0.1:8080/",
            "http://127.1:8080/",
        ] {
            check(&allowed, url, true);
        }
    }

    #[test]
    fn metadata_is_refused_even_when_the_settings_name_it() {
        for url in [
            "http://169.254.169.254/latest",
            "http://2852039166/latest",
            "http://0xa9.0xfe.0xa9.0xfe/",
            "http://0251.0376.0251.0376/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://100.100.100.200/",
            "http://0.0.0.0/",
            "http://[::]/",
        ] {
            check(&[url], url, false);
        }
    }

    #[test]
    fn a_literal_that_the_settings_name_is_called() {
        for url in
            ["http://10.0.0.9:8000/", "http://[fd12::1]:8000/", "http://169.254.7.7/", "http://[::1]:1/"]
        {
            check(&[url], url, true);
        }
    }

    #[track_caller]
    fn resolves(name: &str, address: &str, expect: bool) {
        let address = address.parse().expect("an address");
        assert_eq!(check_resolved(name, address).is_ok(), expect, "{name} at {address}");
    }

    #[test]
    fn a_resolved_address_keeps_the_promise_of_the_name() {
        resolves("api.openai.com", "104.18.7.192", true);
        resolves("corp.openai.azure.com", "10.1.2.3", true);
        resolves("api.openai.com", "169.254.169.254", false);
        resolves("api.openai.com", "169.254.3.3", false);
        resolves("api.openai.com", "::ffff:169.254.169.254", false);
        resolves("api.openai.com", "0.0.0.0", false);
        resolves("localhost", "127.0.0.1", true);
        resolves("localhost", "10.0.0.1", false);
        resolves("vllm.internal", "10.0.0.1", true);
        resolves("vllm.internal", "8.8.8.8", false);
        resolves("ollama", "127.0.0.1", true);
    }

    #[test]
    fn only_http_is_spoken() {
        for text in ["ftp://a.example/", "file:///etc/passwd", "unix:/run/x", "not a url"] {
            assert!(matches!(text.parse::<Origin>(), Err(HttpError::Url { .. })), "{text}");
        }
    }
}
