//! The ladder, rung by rung.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::testing::{
    Authority, OK, client, closed_port, params, serve_http, serve_proxy, serve_tls, url, via,
};
use crate::{ConnectFailure, ConnectOptions, HttpError, ReachStep};

fn ids(steps: &[ReachStep]) -> Vec<&'static str> {
    steps.iter().map(|step| step.id).collect()
}

fn words(steps: &[ReachStep]) -> Vec<&str> {
    steps.iter().map(|step| step.outcome.as_deref().expect("it works")).collect()
}

fn error(steps: &[ReachStep]) -> &HttpError {
    let (last, before) = steps.split_last().expect("a step");
    assert!(before.iter().all(|step| step.outcome.is_ok()), "{steps:?}");
    last.outcome.as_ref().expect_err("it fails")
}

#[tokio::test]
async fn plain_http_to_a_name_has_three_steps() {
    let mut server = serve_http(OK).await;
    let url = url(format!("http://localhost:{}/secret", server.address.port()));
    let steps = client(&ConnectOptions::default(), &[&url]).reach(&url).await;
    assert_eq!(ids(&steps), ["policy", "dns", "tcp"]);
    let words = words(&steps);
    assert!(words[1].contains("loopback"), "{words:?}");
    assert!(!format!("{words:?}").contains("secret"), "{words:?}");
    assert!(server.saw_nothing());
}

#[tokio::test]
async fn https_tells_version_issuer_and_days() {
    let authority = Authority::new();
    let mut leaf = params();
    leaf.not_after = rcgen::date_time_ymd(4000, 1, 1);
    let server = serve_tls(&authority.sign(leaf), None).await;
    let url = url(format!("https://127.0.0.1:{}/", server.address.port()));
    let steps = client(&authority.bundle(), &[&url]).reach(&url).await;
    assert_eq!(ids(&steps), ["policy", "tcp", "tls"]);
    let words = words(&steps);
    assert!(words[2].starts_with("TLS 1.3, certificate issued by Test Authority, valid for 7"), "{words:?}");
}

#[tokio::test]
async fn a_tunnel_has_a_step_of_its_own() {
    let authority = Authority::new();
    let mut server = serve_tls(&authority.sign(params()), None).await;
    let mut proxy = serve_proxy(server.address).await;
    let way = via(format!("http://{}", proxy.address), "");
    let options = ConnectOptions { proxy: way, ..authority.bundle() };
    let url = url("https://llm.example/");
    let steps = client(&options, &[&url]).reach(&url).await;
    assert_eq!(ids(&steps), ["policy", "tcp", "proxy", "tls"]);
    words(&steps);
    assert!(proxy.next().await.starts_with("CONNECT llm.example:443 "));
    assert!(server.saw_nothing());
}

#[tokio::test]
async fn what_the_policy_refuses_ends_there() {
    let allowed = url("http://127.0.0.1:1/");
    let outbound = client(&ConnectOptions::default(), &[&allowed]);
    for target in ["http://127.0.0.1:2/", "https://llm.example/"] {
        let steps = outbound.reach(&url(target)).await;
        assert_eq!(ids(&steps), ["policy"]);
        assert!(matches!(error(&steps), HttpError::Denied { .. }), "{steps:?}");
    }
    let steps = outbound.reach(&url("ftp://127.0.0.1/")).await;
    assert!(matches!(error(&steps), HttpError::Url { .. }), "{steps:?}");
}

#[tokio::test]
async fn a_name_without_an_address_ends_at_dns() {
    // A label of 64 letters is no name of the name system: the answer needs no network.
    let url = url(format!("http://{}.example/", "a".repeat(64)));
    let steps = client(&ConnectOptions::default(), &[&url]).reach(&url).await;
    assert_eq!(ids(&steps), ["policy", "dns"]);
    assert!(matches!(error(&steps), HttpError::Dns { .. }), "{steps:?}");
}

#[tokio::test]
async fn a_closed_port_ends_at_tcp() {
    let (_bound, address) = closed_port();
    let url = url(format!("https://{address}/"));
    let steps = client(&ConnectOptions::default(), &[&url]).reach(&url).await;
    assert_eq!(ids(&steps), ["policy", "tcp"]);
    let refused = matches!(error(&steps), HttpError::Connect { failure: ConnectFailure::Refused, .. });
    assert!(refused, "{steps:?}");
}

#[tokio::test]
async fn silence_ends_at_the_connect_limit() {
    // The listener accepts in the kernel's queue and never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = url(format!("https://{}/", listener.local_addr().expect("bound")));
    let options = ConnectOptions { connect_timeout: Duration::from_millis(20), ..ConnectOptions::default() };
    let steps = client(&options, &[&url]).reach(&url).await;
    assert!(matches!(error(&steps), HttpError::Timeout { limit: "connect", .. }), "{steps:?}");
}
