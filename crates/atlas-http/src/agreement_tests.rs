//! Traffic and the connection test go different ways through the same parts. Here each kind of
//! failure is met on both, and the verdicts are compared.

use std::time::Duration;

use rcgen::{CertificateParams, date_time_ymd};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use url::Url;

use crate::testing::{
    Authority, acceptor, client, closed_port, head, params, serve_http, serve_proxy, serve_tls,
    serve_tls_proxy, url, via,
};
use crate::{Call, ConnectFailure, ConnectOptions, HttpError, Outbound, TlsReason};

/// What of an error the two must agree on: not the words, which can hold the time of day.
fn kind(error: &HttpError) -> String {
    match error {
        HttpError::Dns { host } => format!("dns {host}"),
        HttpError::Connect { host, failure, .. } => format!("connect {host} {failure:?}"),
        HttpError::Tls { host, reason, .. } => format!("tls {host} {}", reason.as_str()),
        HttpError::Proxy { host, status, .. } => format!("proxy {host} {status:?}"),
        HttpError::Timeout { host, limit } => format!("timeout {host} {limit}"),
        other => format!("{other:?}"),
    }
}

async fn agree(outbound: &Outbound, url: &Url) -> HttpError {
    let called = outbound.send(Call::get(url.clone(), "test")).await.expect_err("it fails");
    let steps = outbound.reach(url).await;
    let reached = steps.last().expect("a step").outcome.as_ref().expect_err("it fails too");
    assert_eq!(kind(&called), kind(reached), "{called:?} {steps:?}");
    assert_eq!(called.retry(), reached.retry());
    let shown = format!("{called:?} {called} {steps:?}");
    assert!(!shown.contains("canary"), "{shown}");
    called
}

async fn agree_with(options: &ConnectOptions, target: impl AsRef<str>) -> HttpError {
    let url = url(target);
    agree(&client(options, &[&url]), &url).await
}

fn through(proxy: impl std::fmt::Display, rest: ConnectOptions) -> ConnectOptions {
    ConnectOptions { proxy: via(format!("http://test:canary@{proxy}"), ""), ..rest }
}

/// A label of 64 letters is no name of the name system: the answer needs no network.
fn nowhere() -> String {
    format!("{}.example", "a".repeat(64))
}

#[tokio::test]
async fn a_name_without_an_address() {
    let error = agree_with(&ConnectOptions::default(), format!("http://{}/?canary", nowhere())).await;
    assert!(matches!(error, HttpError::Dns { .. }), "{error:?}");
    // No certificate can be for such a name either, and that is noticed first.
    let error = agree_with(&ConnectOptions::default(), format!("https://{}/?canary", nowhere())).await;
    assert!(matches!(error, HttpError::Url { .. }), "{error:?}");
}

#[tokio::test]
async fn a_closed_port() {
    let (_bound, address) = closed_port();
    for scheme in ["http", "https"] {
        for host in ["127.0.0.1", "localhost"] {
            let target = format!("{scheme}://{host}:{}/?canary", address.port());
            let error = agree_with(&ConnectOptions::default(), target).await;
            let refused = matches!(error, HttpError::Connect { failure: ConnectFailure::Refused, .. });
            assert!(refused, "{error:?}");
        }
    }
}

#[tokio::test]
async fn silence_after_the_connection() {
    // The listener accepts in the kernel's queue and never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let options = ConnectOptions { connect_timeout: Duration::from_millis(20), ..ConnectOptions::default() };
    let silent = listener.local_addr().expect("bound");
    let error = agree_with(&options, format!("https://{silent}/?canary")).await;
    assert!(matches!(error, HttpError::Timeout { limit: "connect", .. }), "{error:?}");
    let error = agree_with(&through(silent, options), "https://llm.example/?canary").await;
    assert!(matches!(error, HttpError::Proxy { status: None, .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_ends_in_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            drop(socket);
        }
    });
    let error = agree_with(&ConnectOptions::default(), format!("https://{address}/?canary")).await;
    assert!(matches!(error, HttpError::Tls { reason: TlsReason::Other, .. }), "{error:?}");
}

#[tokio::test]
async fn certificates_that_are_expired_unknown_or_for_another_name() {
    let authority = Authority::new();
    let mut past = params();
    past.not_after = date_time_ymd(2020, 1, 1);
    let other = CertificateParams::new(["other.example".to_owned()]).expect("a name");
    for (leaf, options, expect) in [
        (past, authority.bundle(), TlsReason::Expired),
        (params(), ConnectOptions::default(), TlsReason::UnknownIssuer),
        (other, authority.bundle(), TlsReason::WrongName),
    ] {
        let server = serve_tls(&authority.sign(leaf), None).await;
        let direct = format!("https://127.0.0.1:{}/?canary", server.address.port());
        let error = agree_with(&options, direct).await;
        assert!(matches!(error, HttpError::Tls { reason, .. } if reason == expect), "{error:?}");
        // Behind a tunnel it is still the target's certificate.
        let proxy = serve_proxy(server.address).await;
        let error = agree_with(&through(proxy.address, options), "https://llm.example/?canary").await;
        let HttpError::Tls { host, reason, .. } = error else { panic!("{error:?}") };
        assert_eq!((&*host, reason), ("llm.example", expect));
    }
}

#[tokio::test]
async fn a_certificate_of_the_proxy_that_is_unknown() {
    let authority = Authority::new();
    let server = serve_tls(&authority.sign(params()), None).await;
    let proxy = serve_tls_proxy(&authority.sign(params()), server.address).await;
    let way = via(format!("https://test:canary@localhost:{}", proxy.address.port()), "");
    let options = ConnectOptions { proxy: way, ..ConnectOptions::default() };
    for target in ["https://llm.example/?canary", "http://llm.example/?canary"] {
        let error = agree_with(&options, target).await;
        assert!(matches!(error, HttpError::Proxy { status: None, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_refuses() {
    for (answer, expect) in [
        ("HTTP/1.1 407 canary\r\ncontent-length: 0\r\n\r\n", Some(407)),
        ("HTTP/1.1 403 canary\r\ncontent-length: 0\r\n\r\n", Some(403)),
        ("HTTP/1.1 204 canary\r\n\r\n", Some(204)),
        ("HTTP/1.1 502 canary\r\ncontent-length: 0\r\n\r\n", Some(502)),
        ("SSH-2.0-canary\r\n\r\n", None),
    ] {
        let proxy = serve_http(answer).await;
        let options = through(proxy.address, ConnectOptions::default());
        let error = agree_with(&options, "https://llm.example/?canary").await;
        assert!(matches!(error, HttpError::Proxy { status, .. } if status == expect), "{error:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_cannot_be_reached() {
    let (_bound, address) = closed_port();
    let hang_up = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hangs_up = hang_up.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = hang_up.accept().await {
            head(&mut socket).await;
            let _ = socket.shutdown().await;
        }
    });
    for proxy in [address.to_string(), format!("{}:3128", nowhere()), hangs_up.to_string()] {
        let options = through(proxy, ConnectOptions::default());
        let error = agree_with(&options, "https://llm.example/?canary").await;
        assert!(matches!(error, HttpError::Proxy { status: None, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_the_policy_denies() {
    let allowed = url("http://127.0.0.1:1/");
    // Named by the settings, and still refused: reqwest would dial a literal unasked.
    let named = [
        "http://169.254.169.254/?canary",
        "http://169.254.169.254./?canary",
        "http://0xa9fea9fe/?canary",
        "https://[::ffff:169.254.169.254]/?canary",
        "http://0.0.0.0/?canary",
    ]
    .map(url);
    let mut all: Vec<&Url> = named.iter().collect();
    all.push(&allowed);
    let outbound = client(&ConnectOptions::default(), &all);
    for target in named.iter().chain([&url("http://127.0.0.1:2/?canary")]) {
        let error = agree(&outbound, target).await;
        assert!(matches!(error, HttpError::Denied { .. }), "{error:?}");
    }
}

#[test]
fn a_literal_proxy_that_the_policy_denies_makes_no_client() {
    for proxy in ["169.254.169.254:3128", "[fd00:ec2::254]:3128"] {
        let options = through(proxy, ConnectOptions::default());
        let origin = options.proxy.as_ref().expect("a proxy").origin().expect("an origin");
        let policy = crate::EgressPolicy::default().with_proxy(origin);
        let refused = Outbound::new(policy, &options, std::sync::Arc::default());
        assert!(matches!(refused, Err(HttpError::Denied { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn an_address_of_version_six_behind_a_proxy() {
    let mut proxy = serve_proxy("127.0.0.1:1".parse().expect("an address")).await;
    let error =
        agree_with(&through(proxy.address, ConnectOptions::default()), "https://[fd00::1]/?canary").await;
    assert!(matches!(error, HttpError::Url { .. }), "{error:?}");
    assert!(proxy.saw_nothing());
}

/// The server says why and closes the connection at once, before the request or in the middle of it.
/// What the client notices first is a matter of luck, what it makes of it is not.
#[tokio::test]
async fn a_client_certificate_that_is_missed_by_a_server_that_hangs_up() {
    let (authority, clients) = (Authority::new(), Authority::new());
    for version in rustls::ALL_VERSIONS {
        let acceptor = acceptor(&[*version], &authority.sign(params()), Some(&clients));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = url(format!("https://{}/?canary", listener.local_addr().expect("bound")));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                assert!(acceptor.accept(socket).await.is_err());
            }
        });
        let outbound = client(&authority.bundle(), &[&url]);
        for n_bytes in [0, 1, 100_000, 8_000_000] {
            let call = Call::new(http::Method::POST, url.clone(), "test").body(vec![0; n_bytes].into());
            let called = outbound.send(call).await.expect_err("refused");
            let missed = TlsReason::ClientCertificateRequired;
            assert!(matches!(called, HttpError::Tls { reason, .. } if reason == missed), "{called:?}");
            assert_eq!(kind(&called), kind(&agree(&outbound, &url).await));
        }
    }
}
