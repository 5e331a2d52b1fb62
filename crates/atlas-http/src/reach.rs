//! How far a connection gets, step by step.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use url::Url;

use crate::dial::Wire;
use crate::error::{HttpError, TlsReason};
use crate::origin::Origin;
use crate::outbound::Outbound;
use crate::tls;

/// A refusal comes at once; some servers never answer a `HEAD`.
const VERDICT: Duration = Duration::from_secs(1);

/// One rung of the way to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReachStep {
    /// `policy`, `dns`, `tcp`, `proxy` or `tls`.
    pub id: &'static str,
    /// How long it took.
    pub duration: Duration,
    /// What was found, in words that name hosts at most, or why it failed.
    pub outcome: Result<String, HttpError>,
}

impl Outbound {
    /// Goes the way of a request as far as to the point where one could be sent, on a connection
    /// of its own, and says how far it got. The last step is the one that failed, if one did;
    /// steps that the way does not have are left out. With a proxy on the way, `dns` and `tcp`
    /// are about the proxy.
    ///
    /// Where the server asks for a client certificate, one `HEAD /` is sent: in TLS 1.3 the
    /// server's verdict on the certificate comes after the handshake, in place of an answer.
    pub async fn reach(&self, url: &Url) -> Vec<ReachStep> {
        let mut steps = Steps::recorded();
        // An error is in the steps already.
        let _ = Box::pin(self.walk(url, &mut steps)).await;
        steps.taken.unwrap_or_default()
    }

    async fn walk(&self, url: &Url, steps: &mut Steps) -> Result<(), HttpError> {
        let target = match Origin::of(url) {
            Ok(target) => target,
            Err(error) => return steps.take("policy", async { Err(error) }, |()| String::new()).await,
        };
        let dialer = &self.dialer;
        let deadline = dialer.deadline();
        let mut tls = ClientConfig::clone(&dialer.tls);
        // A resumed session would show the certificates of yesterday.
        tls.resumption = Resumption::disabled();
        let wire = dialer.dial(&target, &Arc::new(tls), deadline, steps).await?;
        if wire.asked {
            let presented = dialer.tls.client_auth_cert_resolver.has_certs();
            let start = Instant::now();
            let verdict = timeout(VERDICT, verdict(wire, &target, presented)).await;
            // Silence after the handshake is not a refusal.
            steps.amend(start.elapsed(), verdict.unwrap_or(Ok(())));
        }
        Ok(())
    }
}

/// What the server makes of our certificate, or of our having none.
async fn verdict(mut wire: Wire, target: &Origin, presented: bool) -> Result<(), HttpError> {
    let host = target.host();
    let request = format!("HEAD / HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\n\r\n", target.port());
    let mut answer = [0; 12];
    let exchange = async {
        wire.io.write_all(request.as_bytes()).await?;
        wire.io.flush().await?;
        wire.io.read_exact(&mut answer).await
    };
    match exchange.await {
        // Some servers finish the handshake in any case and then answer 400 to everything.
        Ok(_) if !presented && answer[8..] == *b" 400" => Err(HttpError::Tls {
            host: host.to_owned(),
            reason: TlsReason::ClientCertificateRequired,
            detail: "the server asks for a client certificate and refuses a request without one".to_owned(),
        }),
        Ok(_) => Ok(()),
        Err(error) => Err(match tls::tls_error(&error) {
            Some(error) => tls::explain(host, error),
            None => tls::unwelcome(host, presented),
        }),
    }
}

/// A record of the steps of one connection, for those who want one.
pub(crate) struct Steps {
    taken: Option<Vec<ReachStep>>,
}

impl Steps {
    /// Nothing is timed or put into words.
    pub(crate) fn unrecorded() -> Self {
        Self { taken: None }
    }

    fn recorded() -> Self {
        Self { taken: Some(Vec::new()) }
    }

    /// Does the work of one step.
    pub(crate) async fn take<T>(
        &mut self,
        id: &'static str,
        work: impl Future<Output = Result<T, HttpError>>,
        describe: impl FnOnce(&T) -> String,
    ) -> Result<T, HttpError> {
        let Some(taken) = &mut self.taken else { return work.await };
        let start = Instant::now();
        let result = work.await;
        let outcome = result.as_ref().map(describe).map_err(HttpError::clone);
        taken.push(ReachStep { id, duration: start.elapsed(), outcome });
        result
    }

    /// A later verdict on the last step.
    fn amend(&mut self, took: Duration, verdict: Result<(), HttpError>) {
        if let Some(last) = self.taken.as_mut().and_then(|taken| taken.last_mut()) {
            last.duration += took;
            if let Err(error) = verdict {
                last.outcome = Err(error);
            }
        }
    }
}
