//! What kind of place an address or a host name is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use url::Host;

/// The kind of network an address belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressClass {
    /// This machine.
    Loopback,
    /// A private network: RFC 1918, RFC 4193, RFC 6598.
    Private,
    /// One network segment (RFC 3927, RFC 4291). Cloud platforms put services with credentials
    /// there, so only a literal in the settings reaches it.
    LinkLocal,
    /// A cloud platform's metadata service, which hands out credentials. Always refused.
    Metadata,
    /// No single host: unspecified, multicast, broadcast, reserved. Always refused.
    Unroutable,
    /// Everything else.
    Public,
}

/// Services that give credentials or configuration of the machine to whoever asks from it.
const METADATA_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254), // AWS, Google, Azure, OpenStack, DigitalOcean, Oracle
    Ipv4Addr::new(169, 254, 170, 2),   // AWS ECS task credentials
    Ipv4Addr::new(169, 254, 170, 23),  // AWS EKS pod identity
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba
    Ipv4Addr::new(168, 63, 129, 16),   // Azure's wire server
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle, older machines
];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), // AWS
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),  // AWS EKS pod identity
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),  // Google, IPv6-only machines
];

/// Suffixes that the public name system does not delegate: such a name lives in a private network
/// or nowhere.
const PRIVATE_SUFFIXES: [&str; 10] = [
    ".internal",
    ".local",
    ".lan",
    ".localdomain",
    ".svc",
    ".home.arpa",
    ".corp",
    ".home",
    ".intranet",
    ".private",
];

impl AddressClass {
    /// The class of an address. Addresses that carry an IPv4 address (mapped, NAT64, 6to4) have
    /// the class of the address they carry, because that is where packets end up.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match embedded_v4(address) {
                Some(inner) => Self::of_v4(inner),
                None => Self::of_v6(address),
            },
        }
    }

    /// The class a host promises before anything is resolved. A promise of
    /// [`Loopback`](Self::Loopback) or [`Private`](Self::Private) is enforced by the resolver, so
    /// text cleared for a private host cannot end up at a public address. Behind a proxy it is the
    /// proxy that resolves, and that has to keep the promise.
    pub fn of_host(host: &str) -> Self {
        match Host::parse(host) {
            Ok(Host::Ipv4(address)) => Self::of(address.into()),
            Ok(Host::Ipv6(address)) => Self::of(address.into()),
            Ok(Host::Domain(name)) => Self::of_name(&name),
            Err(_) => Self::Public,
        }
    }

    fn of_name(name: &str) -> Self {
        let name = name.trim_end_matches('.');
        if name == "localhost" || name.ends_with(".localhost") {
            Self::Loopback
        } else if !name.contains('.') || PRIVATE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [a, b, c, _] = address.octets();
        if METADATA_V4.contains(&address) {
            Self::Metadata
        } else if a == 0 || a >= 224 {
            Self::Unroutable
        } else if address.is_loopback() {
            Self::Loopback
        } else if address.is_link_local() {
            Self::LinkLocal
        } else if address.is_private() || (a == 100 && (64..128).contains(&b)) || (a, b, c) == (192, 0, 0) {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let first = address.segments()[0];
        if METADATA_V6.contains(&address) {
            Self::Metadata
        } else if address.is_unspecified() || address.is_multicast() {
            Self::Unroutable
        } else if address.is_loopback() {
            Self::Loopback
        } else if first & 0xffc0 == 0xfe80 {
            Self::LinkLocal
        } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// Whether a connection may never be made there, whatever the settings say.
    pub fn is_forbidden(self) -> bool {
        matches!(self, Self::Metadata | Self::Unroutable)
    }

    /// The word used in lists and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link_local",
            Self::Metadata => "metadata",
            Self::Unroutable => "unroutable",
            Self::Public => "public",
        }
    }
}

/// The IPv4 address inside an IPv6 address, where a translator or the kernel would use it.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(v4(high, low)), // IPv4-mapped
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(v4(high, low)), // IPv4-translated, RFC 2765
        // IPv4-compatible, deprecated; `::` and `::1` are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)), // NAT64, RFC 6052
        [0x64, 0xff9b, 1, .., high, low] => Some(v4(high, low)),      // local NAT64, RFC 8215
        [0x2002, high, low, ..] => Some(v4(high, low)),               // 6to4
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(class: AddressClass, addresses: &[&str]) {
        for address in addresses {
            let parsed: IpAddr = address.parse().expect("an address");
            assert_eq!(AddressClass::of(parsed), class, "{address}");
        }
    }

    #[test]
    fn addresses_have_the_class_of_their_network() {
        check(AddressClass::Loopback, &["127.0.0.1", "127.9.9.9", "::1"]);
        check(
            AddressClass::Private,
            &["10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1"],
        );
        check(AddressClass::LinkLocal, &["169.254.1.1", "fe80::1"]);
        check(AddressClass::Public, &["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"]);
    }

    #[test]
    fn metadata_services_are_recognised() {
        check(
            AddressClass::Metadata,
            &["169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254", "168.63.129.16"],
        );
    }

    #[test]
    fn addresses_of_no_single_host_are_unroutable() {
        check(
            AddressClass::Unroutable,
            &["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "::", "ff02::1"],
        );
    }

    #[test]
    fn an_embedded_ipv4_address_decides() {
        check(
            AddressClass::Metadata,
            &[
                "::ffff:169.254.169.254",
                "64:ff9b::a9fe:a9fe",
                "64:ff9b:1::a9fe:a9fe",
                "2002:a9fe:a9fe::1",
                "::a9fe:a9fe",
                "::ffff:0:a9fe:a9fe",
            ],
        );
        check(AddressClass::Loopback, &["::ffff:127.0.0.1"]);
        check(AddressClass::Unroutable, &["::ffff:0.0.0.0"]);
        check(AddressClass::Public, &["64:ff9b::101:101"]);
    }

    #[test]
    fn hosts_promise_a_class() {
        for (host, class) in [
            ("localhost", AddressClass::Loopback),
            ("a.localhost", AddressClass::Loopback),
            ("127.0.0.1", AddressClass::Loopback),
            ("[::1]", AddressClass::Loopback),
            ("2130706433", AddressClass::Loopback),
            ("0x7f.1", AddressClass::Loopback),
            ("ollama", AddressClass::Private),
            ("vllm.internal", AddressClass::Private),
            ("llm.ai.svc.cluster.local.", AddressClass::Private),
            ("10.1.2.3", AddressClass::Private),
            ("api.openai.com", AddressClass::Public),
            ("localhost.example.com", AddressClass::Public),
        ] {
            assert_eq!(AddressClass::of_host(host), class, "{host}");
        }
    }
}
