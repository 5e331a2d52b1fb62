//! Names to addresses, checked. The connector dials what this hands out, so the check and the
//! use are of the same address.

use std::io;
use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::error::HttpError;
use crate::policy::{EgressPolicy, check_resolved};

#[derive(Debug)]
pub(crate) struct CheckedResolver {
    pub(crate) policy: EgressPolicy,
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let named = self.policy.check_name(&name);
        Box::pin(async move {
            named?;
            // Port 0 stands for "the port of the URL".
            let found: io::Result<Vec<SocketAddr>> =
                tokio::net::lookup_host((name.as_str(), 0)).await.map(Iterator::collect);
            let found = found.map_err(|_| HttpError::Dns { host: name.clone() })?;
            Ok(Box::new(keep_allowed(&name, found)?.into_iter()) as Addrs)
        })
    }
}

/// The addresses that may be dialled. If none is left, the reason of the first refusal.
fn keep_allowed(name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, HttpError> {
    let mut refusal = HttpError::Dns { host: name.to_owned() };
    let mut allowed = Vec::with_capacity(found.len());
    for address in found {
        match check_resolved(name, address.ip()) {
            Ok(_) => allowed.push(address),
            Err(error) if allowed.is_empty() => refusal = error,
            Err(_) => {}
        }
    }
    if allowed.is_empty() { Err(refusal) } else { Ok(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 0)).collect()
    }

    #[test]
    fn only_allowed_addresses_are_handed_out() {
        let kept = keep_allowed("llm.example.com", addresses(&["169.254.169.254", "10.0.0.1", "::"]));
        assert_eq!(kept, Ok(addresses(&["10.0.0.1"])));
    }

    #[test]
    fn a_name_with_forbidden_addresses_only_is_denied() {
        let kept = keep_allowed("llm.example.com", addresses(&["169.254.169.254", "0.0.0.0"]));
        assert!(matches!(kept, Err(HttpError::Denied { .. })), "{kept:?}");
    }

    #[test]
    fn a_name_without_addresses_is_not_resolved() {
        assert!(matches!(keep_allowed("llm.example.com", Vec::new()), Err(HttpError::Dns { .. })));
    }

    #[tokio::test]
    async fn a_name_outside_the_policy_is_never_looked_up() {
        let resolver = CheckedResolver { policy: EgressPolicy::default() };
        let error = resolver.resolve("localhost".parse().expect("a name")).await.err().expect("refused");
        assert!(matches!(error.downcast_ref(), Some(HttpError::Denied { .. })), "{error}");
    }
}
