//! Which origins may be called.

use std::net::IpAddr;

use url::Url;

use crate::address::AddressClass;
use crate::error::HttpError;
use crate::origin::Origin;

/// The origins that the settings name. Nothing else is ever connected to; the default allows
/// nothing.
#[derive(Debug, Clone, Default)]
pub struct EgressPolicy {
    /// A handful at most, so a list: looking through it needs no allocation.
    allowed: Vec<Origin>,
    /// Connected to, but never asked for anything of its own.
    proxies: Vec<Origin>,
    private_only: bool,
    credential_sources: bool,
}

impl EgressPolicy {
    /// Allows these origins and no others.
    pub fn allow(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self { allowed: origins.into_iter().collect(), ..Self::default() }
    }

    /// Allows these origins even where they are metadata or link-local literals, which hand out
    /// credentials. For the fetcher of AWS credentials and for nothing else: a client that carries
    /// prompts must not be able to ask there. Names that resolve to such addresses stay refused.
    pub fn credential_sources(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self { credential_sources: true, ..Self::allow(origins) }
    }

    /// Allows a proxy to be connected to. It is no destination by that.
    pub fn with_proxy(mut self, origin: Origin) -> Self {
        self.proxies.push(origin);
        self
    }

    /// Refuses public addresses, for installations without a way out. Behind a proxy addresses are
    /// not ours to see, so there a name that promises no private network is refused as well.
    pub fn private_only(mut self) -> Self {
        self.private_only = true;
        self
    }

    /// Whether the URL may be requested: its origin is allowed and, where its host is a literal,
    /// the address is. Names are checked again by the resolver, on the addresses they have.
    pub fn check(&self, url: &Url) -> Result<Origin, HttpError> {
        let Some(origin) = self.allowed.iter().find(|origin| origin.holds(url)) else {
            return Err(unnamed(Origin::of(url)?.host()));
        };
        self.check_literal(origin)?;
        Ok(origin.clone())
    }

    /// The same, of an origin.
    pub(crate) fn check_origin(&self, origin: &Origin) -> Result<(), HttpError> {
        if !self.allowed.contains(origin) {
            return Err(unnamed(origin.host()));
        }
        self.check_literal(origin)
    }

    /// Whether a proxy may be connected to.
    pub(crate) fn check_proxy(&self, origin: &Origin) -> Result<(), HttpError> {
        if !self.proxies.contains(origin) {
            return Err(denied(origin.host(), "the policy does not name this proxy"));
        }
        self.check_literal(origin)
    }

    /// Whether a target may be left to a proxy, which resolves names on its own.
    pub(crate) fn check_proxied(&self, target: &Origin) -> Result<(), HttpError> {
        if self.private_only && target.class() == AddressClass::Public {
            return Err(denied(target.host(), "behind the proxy it could be a public address"));
        }
        Ok(())
    }

    fn check_literal(&self, origin: &Origin) -> Result<(), HttpError> {
        let Some(address) = origin.literal() else { return Ok(()) };
        let host = origin.host();
        match AddressClass::of(address) {
            AddressClass::Metadata if self.credential_sources => Ok(()),
            class if class.is_forbidden() => {
                Err(denied(host, "metadata services and addresses of no single host are never called"))
            }
            AddressClass::Public if self.private_only => Err(denied(host, PUBLIC_REFUSED)),
            _ => Ok(()),
        }
    }

    /// Whether `name` may be connected to at `address`.
    pub(crate) fn check_resolved(&self, name: &str, address: IpAddr) -> Result<AddressClass, HttpError> {
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
            (_, AddressClass::Public) if self.private_only => Err(denied(name, PUBLIC_REFUSED)),
            // A public name at a private address is a private endpoint of a vendor.
            (_, class) => Ok(class),
        }
    }
}

const PUBLIC_REFUSED: &str = "the settings allow private addresses only";

fn unnamed(host: &str) -> HttpError {
    denied(host, "the settings do not name this origin")
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
        let policy = EgressPolicy::default();
        assert_eq!(policy.check_resolved(name, address).is_ok(), expect, "{name} at {address}");
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
    fn a_policy_for_credential_sources_opens_metadata_literals_that_it_names_and_nothing_else() {
        let sources = ["http://169.254.170.23/v1/credentials", "http://[fd00:ec2::254]/"];
        let policy =
            EgressPolicy::credential_sources(sources.map(|source| source.parse().expect("an origin")));
        let allows = |url: &str| policy.check(&Url::parse(url).expect("a URL")).is_ok();
        assert!(sources.iter().all(|source| allows(source)));
        assert!(!allows("http://169.254.169.254/latest"));
        assert!(!allows("https://169.254.170.23/"));
        let metadata = "169.254.169.254".parse().expect("an address");
        assert!(policy.check_resolved("sts.amazonaws.com", metadata).is_err());
        assert!(
            EgressPolicy::credential_sources(["http://0.0.0.0".parse().expect("an origin")])
                .check(&Url::parse("http://0.0.0.0").expect("a URL"))
                .is_err()
        );
    }

    #[test]
    fn a_private_policy_refuses_public_addresses_however_they_are_spelled() {
        let urls = ["http://8.8.8.8/", "http://10.0.0.1/", "http://llm.example.com/", "http://127.0.0.1/"];
        let policy = policy(&urls).private_only();
        let allows = |url: &str| policy.check(&Url::parse(url).expect("a URL")).is_ok();
        assert_eq!(urls.map(allows), [false, true, true, true]);
        let resolved = |address: &str| {
            policy.check_resolved("llm.example.com", address.parse().expect("an address")).is_ok()
        };
        assert_eq!(["8.8.8.8", "10.0.0.1", "2606:4700::1"].map(resolved), [false, true, false]);
        let proxied = |origin: &str| policy.check_proxied(&origin.parse().expect("an origin")).is_ok();
        assert_eq!(["http://llm.example.com", "http://vllm.internal"].map(proxied), [false, true]);
    }

    #[test]
    fn a_proxy_is_connected_to_and_is_no_destination() {
        let proxy: Origin = "http://10.0.0.1:3128".parse().expect("an origin");
        let policy = EgressPolicy::default().with_proxy(proxy.clone());
        assert!(policy.check_proxy(&proxy).is_ok());
        assert!(policy.check(&Url::parse("http://10.0.0.1:3128/").expect("a URL")).is_err());
        assert!(EgressPolicy::allow([proxy.clone()]).check_proxy(&proxy).is_err());
        let metadata: Origin = "http://169.254.169.254:3128".parse().expect("an origin");
        assert!(EgressPolicy::default().with_proxy(metadata.clone()).check_proxy(&metadata).is_err());
        let public: Origin = "http://8.8.8.8:3128".parse().expect("an origin");
        let private_only = EgressPolicy::default().with_proxy(public.clone()).private_only();
        assert!(private_only.check_proxy(&public).is_err());
    }
}
