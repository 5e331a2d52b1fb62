//! Which hosts are reached without the proxy.
//!
//! Every program reads `NO_PROXY` in its own way. This one is strict where others guess: an entry
//! that cannot be understood is an error and not a host that never matches, because a typing
//! mistake here sends prompts to a proxy that was not meant to see them.

use std::net::IpAddr;

use url::Host;

use crate::error::HttpError;

/// A parsed list. The default is empty: everything goes through the proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    /// Any port when absent.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    /// This name, and with `children` the names below it.
    Name {
        name: String,
        itself: bool,
        children: bool,
    },
    Network {
        address: IpAddr,
        prefix_bits: u8,
    },
}

impl NoProxy {
    /// Reads a list with commas or white space between the entries: `host` (and the names below
    /// it, as curl has it), `.suffix` and `*.suffix` (the names below it only), an address,
    /// `10.0.0.0/8`, `fd00::/8`, `host:port`, `[::1]:port`, `*`.
    pub fn parse(text: &str) -> Result<Self, HttpError> {
        text.split(|c: char| c == ',' || c.is_whitespace())
            .filter(|entry| !entry.is_empty())
            .map(|entry| Entry::parse(entry).ok_or_else(|| refuse(entry)))
            .collect::<Result<_, _>>()
            .map(|entries| Self { entries })
    }

    /// Whether the host, as a URL spells it, is reached directly. A name is compared as a name:
    /// it is not resolved to see whether a network matches.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let address = literal(host);
        let host = host.trim_end_matches('.');
        self.entries.iter().any(|entry| {
            entry.port.is_none_or(|entry_port| entry_port == port) && entry.hosts.contain(host, address)
        })
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self { hosts: Hosts::All, port: None });
        }
        if let Some((address, bits)) = text.split_once('/') {
            return Some(Self { hosts: Hosts::network(literal(address)?, bits.parse().ok()?)?, port: None });
        }
        // An IPv6 address has colons of its own; with a port it is in brackets.
        let bare_v6 = text.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !bare_v6 && !text.ends_with(']') => (host, Some(port.parse().ok()?)),
            _ => (text, None),
        };
        let hosts = match literal(host) {
            Some(address) => Hosts::network(address, if address.is_ipv4() { 32 } else { 128 })?,
            None => Hosts::name(host)?,
        };
        Some(Self { hosts, port })
    }
}

impl Hosts {
    fn network(address: IpAddr, prefix_bits: u8) -> Option<Self> {
        let width = if address.is_ipv4() { 32 } else { 128 };
        (prefix_bits <= width).then_some(Self::Network { address, prefix_bits })
    }

    fn name(text: &str) -> Option<Self> {
        let below = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
        let name = below.unwrap_or(text).trim_end_matches('.');
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.contains("..") || name.starts_with('.') || !name.chars().all(plain) {
            return None;
        }
        match Host::parse(name).ok()? {
            Host::Domain(name) => Some(Self::Name { name, itself: below.is_none(), children: true }),
            // `.10.0.0.1` is neither a name nor an address.
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    fn contain(&self, host: &str, host_address: Option<IpAddr>) -> bool {
        match self {
            Self::All => true,
            Self::Name { name, itself, children } => match host.strip_suffix(name.as_str()) {
                Some("") => *itself,
                Some(rest) => *children && rest.ends_with('.'),
                None => false,
            },
            Self::Network { address, prefix_bits } => {
                host_address.is_some_and(|host| in_network(host, *address, *prefix_bits))
            }
        }
    }
}

fn in_network(address: IpAddr, network: IpAddr, prefix_bits: u8) -> bool {
    let shared = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    shared >= u32::from(prefix_bits)
}

fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn refuse(entry: &str) -> HttpError {
    // Somebody may paste a URL with a password here.
    let shown = entry.rsplit_once('@').map_or(entry, |(_, rest)| rest);
    let shown: String = shown.chars().take(80).collect();
    HttpError::Options {
        what: "list of hosts without a proxy",
        reason: format!("'{shown}' is not a host, a suffix, an address, a network or host:port"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, host: &str, port: u16, expect: bool) {
        let list = NoProxy::parse(list).expect("a list");
        assert_eq!(list.matches(host, port), expect, "{host}:{port} in {list:?}");
    }

    #[test]
    fn an_empty_list_matches_nothing() {
        check("", "localhost", 80, false);
        check(" , ", "127.0.0.1", 80, false);
    }

    #[test]
    fn a_name_stands_for_itself_and_what_is_below_it() {
        check("corp.example", "corp.example", 443, true);
        check("corp.example", "llm.corp.example", 443, true);
        check("corp.example", "notcorp.example", 443, false);
        check("Corp.Example.", "corp.example.", 443, true);
        check("ollama", "ollama", 11434, true);
    }

    #[test]
    fn a_suffix_stands_for_what_is_below_it_only() {
        for list in [".corp.example", "*.corp.example"] {
            check(list, "llm.corp.example", 443, true);
            check(list, "a.b.corp.example", 443, true);
            check(list, "corp.example", 443, false);
            check(list, "evilcorp.example", 443, false);
        }
    }

    #[test]
    fn networks_hold_literals_and_never_names() {
        check("10.0.0.0/8", "10.255.0.1", 80, true);
        check("10.1.2.3/8", "10.9.9.9", 80, true);
        check("10.0.0.0/8", "11.0.0.1", 80, false);
        check("0.0.0.0/0", "8.8.8.8", 80, true);
        check("0.0.0.0/0", "[::1]", 80, false);
        check("fd00::/8", "[fd12::1]", 80, true);
        check("fd00::/8", "[fe80::1]", 80, false);
        check("10.0.0.0/8", "10.example", 80, false);
        check("192.168.1.7", "192.168.1.7", 80, true);
        check("192.168.1.7", "192.168.1.70", 80, false);
        check("::1", "[::1]", 80, true);
    }

    #[test]
    fn a_port_narrows_an_entry() {
        check("llm.example:8080", "llm.example", 8080, true);
        check("llm.example:8080", "llm.example", 443, false);
        check("127.0.0.1:8080", "127.0.0.1", 8080, true);
        check("[::1]:8080", "[::1]", 8080, true);
        check("[::1]:8080", "[::1]", 80, false);
        check("[::1]", "[::1]", 80, true);
    }

    #[test]
    fn a_star_stands_for_everything() {
        check("a.example, *", "b.example", 1, true);
    }

    #[test]
    fn entries_are_separated_by_commas_or_space() {
        for list in ["a.example,b.example", "a.example b.example", " a.example ,\tb.example,"] {
            check(list, "b.example", 1, true);
        }
    }

    #[test]
    fn a_bad_entry_is_named_and_a_password_in_it_is_not() {
        for entry in [
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0/8",
            "host/8",
            "a..b",
            "foo*",
            "*.*.example",
            "host:port",
            "host:99999",
            ".",
            "http://x.example",
            ".10.0.0.1",
        ] {
            let error = NoProxy::parse(&format!("good.example,{entry}")).expect_err(entry);
            assert!(error.to_string().contains(&format!("'{entry}'")), "{error}");
        }
        let error = NoProxy::parse("http://me:canary@proxy.example/x").expect_err("a URL");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
}
