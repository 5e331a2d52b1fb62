//! The way to an endpoint as checks of the connection test.

use std::time::Instant;

use atlas_domain::Check;
use atlas_http::{ConnectFailure, HttpError, ReachStep, TlsReason};

use crate::refusal::from_http;

/// One step on the way to an endpoint as a check of the connection test.
pub fn reach_check(step: ReachStep) -> Check {
    let started = Instant::now().checked_sub(step.duration).unwrap_or_else(Instant::now);
    match step.outcome {
        Ok(detail) => Check::passed(step.id, started, detail),
        Err(error) => {
            let hint = hint(&error);
            Check::provider(step.id, started, &from_http(error), hint)
        }
    }
}

/// What to do when the way to an endpoint ends early.
fn hint(error: &HttpError) -> &'static str {
    match error {
        HttpError::Dns { .. } => {
            "Check the host of BYOC_ENDPOINT_URL for typing errors, and the DNS servers of this machine or pod."
        }
        HttpError::Connect { failure: ConnectFailure::Refused, .. } => {
            "Nothing listens on this port: check the port of BYOC_ENDPOINT_URL, and that the server runs and listens on this address."
        }
        HttpError::Connect { .. } => {
            "Check the address of BYOC_ENDPOINT_URL, routes, firewalls and network policies."
        }
        HttpError::Timeout { .. } => {
            "Packets are dropped on the way: check firewalls, network policies and routes, or set BYOC_PROXY_URL."
        }
        HttpError::Proxy { status: Some(407), .. } => {
            "The proxy wants a user name and password: put them into BYOC_PROXY_URL."
        }
        HttpError::Proxy { status: Some(_), .. } => {
            "The proxy does not let this destination through: ask its operator, or list the host in BYOC_NO_PROXY."
        }
        HttpError::Proxy { status: None, .. } => "Check the host and port of BYOC_PROXY_URL.",
        HttpError::Tls { reason, .. } => match reason {
            TlsReason::Expired => {
                "The server's certificate has expired: renew it there, and check this machine's clock."
            }
            TlsReason::NotYetValid => {
                "The server's certificate is not valid yet: check this machine's clock."
            }
            TlsReason::UnknownIssuer => {
                "The server's certificate is self-signed or of a private authority: put that authority's certificate into BYOC_CA_BUNDLE."
            }
            TlsReason::WrongName => {
                "The server's certificate is for another name: use that name in BYOC_ENDPOINT_URL, not an address or alias."
            }
            TlsReason::ClientCertificateRequired => {
                "The server asks for a client certificate: set BYOC_CLIENT_CERT and BYOC_CLIENT_KEY."
            }
            TlsReason::Other => {
                "Check that this port speaks https; for plain http write http:// in BYOC_ENDPOINT_URL."
            }
        },
        HttpError::Denied { .. } | HttpError::ForeignCredential { .. } => {
            "The egress policy forbids this address: check BYOC_ENDPOINT_URL and what its name resolves to."
        }
        HttpError::Options { .. } => {
            "Check BYOC_CA_BUNDLE, BYOC_CLIENT_CERT, BYOC_CLIENT_KEY, BYOC_PROXY_URL and BYOC_NO_PROXY."
        }
        HttpError::Interrupted { .. } => "The other side closed the connection: check what listens there.",
        HttpError::Url { .. }
        | HttpError::Header { .. }
        | HttpError::TooLarge { .. }
        | HttpError::Protocol { .. } => "Check BYOC_ENDPOINT_URL.",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use atlas_domain::CheckStatus;

    use super::*;

    #[track_caller]
    fn check(error: HttpError, code: &str, hint: &str) {
        let step = ReachStep { id: "tls", duration: Duration::from_millis(7), outcome: Err(error) };
        let check = reach_check(step);
        assert_eq!((check.id, check.status, check.code), ("tls", CheckStatus::Failed, Some(code)));
        assert!(check.hint.expect("a hint").contains(hint));
        assert!(check.ms >= 7);
    }

    #[test]
    fn what_ends_the_way_has_its_own_advice() {
        let host = || "llm.example.com".to_owned();
        let tls = |reason| HttpError::Tls { host: host(), reason, detail: "x".into() };
        let proxy = |status| HttpError::Proxy { host: host(), status, reason: "x".into() };
        check(tls(TlsReason::UnknownIssuer), "provider_unreachable", "BYOC_CA_BUNDLE");
        check(tls(TlsReason::Expired), "provider_unreachable", "expired");
        check(tls(TlsReason::WrongName), "provider_unreachable", "another name");
        check(tls(TlsReason::ClientCertificateRequired), "provider_unreachable", "BYOC_CLIENT_CERT");
        check(proxy(Some(407)), "provider_unreachable", "user name");
        check(proxy(None), "provider_unreachable", "BYOC_PROXY_URL");
        check(HttpError::Dns { host: host() }, "provider_unreachable", "DNS");
        check(HttpError::Timeout { host: host(), limit: "connect" }, "provider_timeout", "firewalls");
        check(HttpError::Denied { host: host(), rule: "x" }, "egress_denied", "policy");
    }

    #[test]
    fn a_step_that_was_made_says_how_long_it_took() {
        let step =
            ReachStep { id: "dns", duration: Duration::from_millis(3), outcome: Ok("2 addresses".into()) };
        let check = reach_check(step);
        assert_eq!(
            (check.status, check.code, check.detail.as_str()),
            (CheckStatus::Passed, None, "2 addresses")
        );
        assert!(check.ms >= 3);
    }
}
