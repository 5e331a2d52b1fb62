//! Names to addresses, checked. What this hands out is what is dialled, so the check and the use
//! are of the same address.

use std::io;
use std::net::SocketAddr;

use crate::address::AddressClass;
use crate::error::HttpError;
use crate::policy::EgressPolicy;

/// The addresses of a host that is a name, for traffic and for the connection test alike.
pub(crate) async fn resolve(
    policy: &EgressPolicy,
    name: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, HttpError> {
    let found: io::Result<Vec<SocketAddr>> =
        tokio::net::lookup_host((name, port)).await.map(Iterator::collect);
    let found = found.map_err(|_| HttpError::Dns { host: name.to_owned() })?;
    keep_allowed(policy, name, found)
}

/// The addresses that may be dialled. If none is left, the reason of the first refusal.
fn keep_allowed(
    policy: &EgressPolicy,
    name: &str,
    found: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, HttpError> {
    let mut refusal = None;
    let mut allowed = Vec::with_capacity(found.len());
    for address in found {
        match policy.check_resolved(name, address.ip()) {
            Ok(_) => allowed.push(address),
            Err(error) => _ = refusal.get_or_insert(error),
        }
    }
    if allowed.is_empty() {
        Err(refusal.unwrap_or_else(|| HttpError::Dns { host: name.to_owned() }))
    } else {
        Ok(allowed)
    }
}

/// How many addresses of which class, for people. The addresses themselves stay out: they are
/// nobody's business who may only ask whether the destination is reached.
pub(crate) fn describe(addresses: &[SocketAddr]) -> String {
    let mut classes: Vec<(AddressClass, usize)> = Vec::new();
    for address in addresses {
        let class = AddressClass::of(address.ip());
        match classes.iter_mut().find(|(known, _)| *known == class) {
            Some((_, n)) => *n += 1,
            None => classes.push((class, 1)),
        }
    }
    let words: Vec<String> = classes.iter().map(|(class, n)| format!("{n} {}", class.as_str())).collect();
    format!("addresses: {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 0)).collect()
    }

    fn kept(list: &[&str]) -> Result<Vec<SocketAddr>, HttpError> {
        keep_allowed(&EgressPolicy::default(), "llm.example.com", addresses(list))
    }

    #[test]
    fn only_allowed_addresses_are_handed_out() {
        assert_eq!(kept(&["169.254.169.254", "10.0.0.1", "::"]), Ok(addresses(&["10.0.0.1"])));
    }

    #[test]
    fn a_name_with_forbidden_addresses_only_is_denied() {
        let kept = kept(&["169.254.169.254", "0.0.0.0"]);
        assert!(matches!(kept, Err(HttpError::Denied { .. })), "{kept:?}");
    }

    #[test]
    fn a_name_without_addresses_is_not_resolved() {
        assert!(matches!(kept(&[]), Err(HttpError::Dns { .. })));
    }

    #[test]
    fn addresses_are_counted_by_class() {
        let list = addresses(&["10.0.0.1", "8.8.8.8", "10.0.0.2"]);
        assert_eq!(describe(&list), "addresses: 2 private, 1 public");
    }
}
