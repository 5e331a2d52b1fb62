//! What went wrong inside of reqwest, in our words.
//!
//! reqwest nests errors as deep as its connectors are, and its own text names the URL. Some of the
//! nested ones have no name outside of their crate and are known by their text; the tests that
//! compare traffic with [`reach`](crate::Outbound::reach) notice when a new version changes it.

use std::error::Error;
use std::io;

use rustls::pki_types::InvalidDnsNameError;

use crate::dial;
use crate::error::{ConnectFailure, HttpError};
use crate::origin::Origin;
use crate::proxy::Proxy;
use crate::{tls, tunnel};

/// How the call went, as far as reqwest cannot know what it means.
pub(crate) struct Way<'a> {
    pub(crate) target: &'a Origin,
    pub(crate) proxy: Option<&'a Proxy>,
    /// A client certificate was asked for on a connection that this call opened.
    pub(crate) asked: bool,
    /// We have one.
    pub(crate) presented: bool,
}

/// Whether the proxy refused a tunnel with a status that reqwest does not tell.
pub(crate) fn is_untold_refusal(error: &reqwest::Error) -> bool {
    tunnel_error(error).is_some_and(|words| words == "unsuccessful")
}

impl Way<'_> {
    /// Why there is no head of an answer.
    pub(crate) fn explain(&self, error: &reqwest::Error) -> HttpError {
        if error.is_builder() {
            return HttpError::Url { reason: "no request can be made from it" };
        }
        let tunnel = tunnel_error(error);
        // All that happens before the tunnel is the proxy's; all that is said in it the target's.
        // A connection that is not there in time does not say who was slow, and the proxy was
        // waited for in most of the time.
        let late = error.is_connect() && error.is_timeout();
        let blamed = self.proxy.filter(|_| tunnel.is_some() || late || !self.target.is_https());
        let host = blamed.map_or(self.target, |proxy| &proxy.origin).host();
        let blame = if blamed.is_some() { Proxy::blame } else { std::convert::identity };

        // The resolver's own verdict, as it went through reqwest.
        if let Some(ours) = causes(error).find_map(|cause| cause.downcast_ref::<HttpError>()) {
            return blame(ours.clone());
        }
        if let Some(tls) = causes(error).find_map(tls::tls_error) {
            return blame(tls::explain_handshake(host, tls, self.asked));
        }
        if let (Some(proxy), Some(words)) = (blamed, tunnel)
            && words != "failed to create underlying connection"
        {
            return self.refused(proxy, &words);
        }
        if error.is_connect() {
            return blame(no_connection(error, host));
        }
        let mut hyper = causes(error).filter_map(|cause| cause.downcast_ref::<hyper::Error>());
        if hyper.any(hyper::Error::is_parse) {
            return HttpError::Protocol { reason: "the answer is not HTTP" };
        }
        // A server that misses a client certificate says so and closes the connection, all of which
        // can have happened before the request is written; then the writing fails, and what the
        // server said is not read. `reach` judges alike.
        if self.asked && is_unwritten(error) {
            return blame(tls::unwelcome(host, self.presented));
        }
        HttpError::Interrupted { host: self.target.host().to_owned() }
    }

    fn refused(&self, proxy: &Proxy, words: &str) -> HttpError {
        let authorized = proxy.authorization.is_some();
        match words {
            "proxy authorization required" => tunnel::refused(&proxy.origin, 407, authorized, self.target),
            "unexpected end of file" | "io error establishing tunnel" => {
                tunnel::broken(&proxy.origin, tunnel::CLOSED)
            }
            "proxy response headers too long" => tunnel::broken(&proxy.origin, tunnel::NOT_HTTP),
            _ => tunnel::broken(&proxy.origin, "it did not open a tunnel"),
        }
    }
}

fn no_connection(error: &reqwest::Error, host: &str) -> HttpError {
    let has_text = |text: &str| causes(error).any(|cause| cause.to_string().starts_with(text));
    match causes(error).find_map(io_error) {
        // The system's own limit has an error number, reqwest's share of ours for each address has not.
        Some(io) if io.kind() == io::ErrorKind::TimedOut && io.raw_os_error().is_none() => dial::late(host),
        Some(io) if has_text("tcp ") => dial::explain(host, io),
        Some(_) => tls::broken(host),
        None if error.is_timeout() => dial::late(host),
        None if has_text("Invalid Server Name")
            || causes(error).any(|cause| cause.is::<InvalidDnsNameError>()) =>
        {
            tls::nameless()
        }
        None => HttpError::Connect {
            host: host.to_owned(),
            failure: ConnectFailure::Other,
            reason: "unknown reason".to_owned(),
        },
    }
}

/// Whether the request did not get through. An end in place of the answer is something else: a
/// server that stops while it works ends connections like that.
fn is_unwritten(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| match cause.downcast_ref::<hyper::Error>() {
        Some(error) => error.is_canceled() || error.is_closed(),
        None => io_error(cause).is_some_and(|io| {
            matches!(io.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        }),
    })
}

/// The words of the tunnel's error, whose type is not exported.
fn tunnel_error(error: &reqwest::Error) -> Option<String> {
    causes(error).find_map(|cause| cause.to_string().strip_prefix("tunnel error: ").map(str::to_owned))
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// The innermost I/O error of those that wrap one another: `io::Error::source` skips them.
fn io_error<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let io = cause.downcast_ref::<io::Error>()?;
    Some(io.get_ref().and_then(|inner| io_error(inner)).unwrap_or(io))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::url;
    use reqwest::dns::{Name, Resolve, Resolving};

    struct Says(HttpError);

    impl Resolve for Says {
        fn resolve(&self, _: Name) -> Resolving {
            let error = self.0.clone();
            Box::pin(async move { Err(error.into()) })
        }
    }

    /// What becomes of the resolver's words. No name of this machine resolves to an address that
    /// is refused, so the resolver is one that says so.
    #[tokio::test]
    async fn the_verdict_of_the_resolver_arrives_as_it_was_given() {
        let host = "llm.example".to_owned();
        for verdict in
            [HttpError::Denied { host: host.clone(), rule: "for the test" }, HttpError::Dns { host }]
        {
            let configuration =
                tls::client_config(&crate::ConnectOptions::default()).expect("a configuration");
            let client = reqwest::Client::builder()
                .tls_backend_preconfigured(rustls::ClientConfig::clone(&configuration))
                .no_proxy()
                .dns_resolver(Says(verdict.clone()))
                .build()
                .expect("a client");
            for scheme in ["http", "https"] {
                let url = url(format!("{scheme}://llm.example/?canary"));
                let target = Origin::of(&url).expect("an origin");
                let error = client.get(url).send().await.expect_err("no address");
                let way = Way { target: &target, proxy: None, asked: false, presented: false };
                assert_eq!(way.explain(&error), verdict);
            }
        }
    }
}
