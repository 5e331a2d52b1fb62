//! Certificates, as servers on loopback present them.

use rcgen::{CertificateParams, date_time_ymd};
use secrecy::SecretString;
use url::Url;

use crate::testing::{Authority, Pair, Peer, client, params, serve_tls, serve_tls_of, url};
use crate::tls::explain_handshake;
use crate::{Call, ConnectOptions, EgressPolicy, HttpError, Ledger, Outbound, TlsReason};

/// Calls the server by the name its certificate is for.
async fn call(peer: &Peer, options: &ConnectOptions) -> Result<u16, HttpError> {
    let url = at(peer);
    client(options, &[&url]).send(Call::get(url, "test")).await.map(|reply| reply.status().as_u16())
}

fn at(peer: &Peer) -> Url {
    url(format!("https://127.0.0.1:{}/?secret=canary", peer.address.port()))
}

/// Traffic and the connection test give the same reason.
#[track_caller]
fn same(reason: TlsReason, called: &Result<u16, HttpError>, reached: Option<&HttpError>) {
    for error in [called.as_ref().err(), reached] {
        assert!(matches!(error, Some(HttpError::Tls { reason: found, .. }) if *found == reason), "{error:?}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}

async fn check(peer: &Peer, options: &ConnectOptions, reason: TlsReason) {
    let called = call(peer, options).await;
    let url = at(peer);
    let steps = client(options, &[&url]).reach(&url).await;
    let last = steps.last().expect("a step");
    assert_eq!(last.id, "tls");
    same(reason, &called, last.outcome.as_ref().err());
}

#[tokio::test]
async fn a_private_authority_is_trusted_with_the_bundle_and_refused_without() {
    let authority = Authority::new();
    let peer = serve_tls(&authority.sign(params()), None).await;
    assert_eq!(call(&peer, &authority.bundle()).await, Ok(200));
    check(&peer, &ConnectOptions::default(), TlsReason::UnknownIssuer).await;
    check(&peer, &Authority::new().bundle(), TlsReason::UnknownIssuer).await;
}

#[tokio::test]
async fn a_certificate_outside_its_dates_is_refused() {
    let authority = Authority::new();
    let mut past = params();
    past.not_after = date_time_ymd(2020, 1, 1);
    let peer = serve_tls(&authority.sign(past), None).await;
    check(&peer, &authority.bundle(), TlsReason::Expired).await;
    let mut future = params();
    future.not_before = date_time_ymd(4000, 1, 1);
    let peer = serve_tls(&authority.sign(future), None).await;
    check(&peer, &authority.bundle(), TlsReason::NotYetValid).await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let other = CertificateParams::new(["other.example".to_owned()]).expect("a name");
    let peer = serve_tls(&authority.sign(other), None).await;
    check(&peer, &authority.bundle(), TlsReason::WrongName).await;
}

fn pinned(pair: &Pair) -> ConnectOptions {
    ConnectOptions { ca_bundle: Some(pair.pem()), ..ConnectOptions::default() }
}

#[tokio::test]
async fn a_self_signed_server_is_trusted_when_its_certificate_is_in_the_bundle() {
    let pair = Pair::self_signed(params());
    let peer = serve_tls(&pair, None).await;
    assert_eq!(call(&peer, &pinned(&pair)).await, Ok(200));
    check(&peer, &ConnectOptions::default(), TlsReason::UnknownIssuer).await;
    check(&peer, &pinned(&Pair::self_signed(params())), TlsReason::UnknownIssuer).await;
}

#[tokio::test]
async fn a_certificate_in_the_bundle_still_has_dates_and_names() {
    let mut past = params();
    past.not_after = date_time_ymd(2020, 1, 1);
    let pair = Pair::self_signed(past);
    check(&serve_tls(&pair, None).await, &pinned(&pair), TlsReason::Expired).await;
    let mut future = params();
    future.not_before = date_time_ymd(4000, 1, 1);
    let pair = Pair::self_signed(future);
    check(&serve_tls(&pair, None).await, &pinned(&pair), TlsReason::NotYetValid).await;
    let pair = Pair::self_signed(CertificateParams::new(["other.example".to_owned()]).expect("a name"));
    check(&serve_tls(&pair, None).await, &pinned(&pair), TlsReason::WrongName).await;
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_ours() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let peer = serve_tls(&authority.sign(params()), Some(&clients)).await;
    let identity = clients.sign(CertificateParams::default()).identity();
    let options = ConnectOptions { client_identity: Some(identity), ..authority.bundle() };
    assert_eq!(call(&peer, &options).await, Ok(200));
    let url = at(&peer);
    let steps = client(&options, &[&url]).reach(&url).await;
    assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:?}");
}

#[tokio::test]
async fn without_a_client_certificate_or_with_a_foreign_one_the_server_says_so() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let foreign = Authority::new().sign(CertificateParams::default()).identity();
    let options = ConnectOptions { client_identity: Some(foreign), ..authority.bundle() };
    for version in rustls::ALL_VERSIONS {
        let peer = serve_tls_of(&[*version], &authority.sign(params()), Some(&clients)).await;
        check(&peer, &authority.bundle(), TlsReason::ClientCertificateRequired).await;
        check(&peer, &options, TlsReason::ClientCertificateRequired).await;
    }
}

#[test]
fn options_that_cannot_be_used_are_named_without_their_content() {
    let pair = Pair::self_signed(params());
    let other = Pair::self_signed(params());
    let bundle = |pem: &[u8]| ConnectOptions { ca_bundle: Some(pem.to_vec()), ..ConnectOptions::default() };
    let identity = |chain: &[u8], key: &str| {
        let identity =
            crate::ClientIdentity { chain: chain.to_vec(), key: SecretString::from(key.to_owned()) };
        ConnectOptions { client_identity: Some(identity), ..ConnectOptions::default() }
    };
    let framed = |kind: &str, body: &str| format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n");
    let key = pair.key.serialize_pem();
    let cases = [
        (bundle(b""), "CA bundle", "no PEM certificate"),
        (bundle(b"canary"), "CA bundle", "no PEM certificate"),
        (bundle(key.as_bytes()), "CA bundle", "no PEM certificate"),
        (bundle(framed("CERTIFICATE", "c@nary").as_bytes()), "CA bundle", "damaged"),
        (bundle(framed("CERTIFICATE", "Y2FuYXJ5").as_bytes()), "CA bundle", "certificate 1"),
        (identity(b"canary", &key), "client certificate", "no PEM certificate"),
        (
            identity(framed("CERTIFICATE", "Y2FuYXJ5").as_bytes(), &key),
            "client certificate",
            "cannot be read",
        ),
        (identity(&pair.pem(), "canary"), "client key", "no PEM private key"),
        (identity(&pair.pem(), &framed("PRIVATE KEY", "c@nary")), "client key", "damaged"),
        (identity(&pair.pem(), &framed("PRIVATE KEY", "Y2FuYXJ5")), "client key", "not supported"),
        (identity(&pair.pem(), &framed("ENCRYPTED PRIVATE KEY", "Y2FuYXJ5")), "client key", "encrypted"),
        (identity(&pair.pem(), &other.key.serialize_pem()), "client key", "does not belong"),
    ];
    for (options, part, words) in cases {
        let refused = Outbound::new(EgressPolicy::default(), &options, std::sync::Arc::new(Ledger::new()));
        let Err(HttpError::Options { what, reason }) = refused else {
            panic!("{part}: {words}: {refused:?}")
        };
        assert!(what == part && reason.contains(words), "{part}: {words}: {what}: {reason}");
        let shown = format!("{options:?} {reason}");
        assert!(!shown.contains("anary") && !shown.contains("Y2Fu"), "{shown}");
    }
}

#[test]
fn a_failed_handshake_is_about_the_certificate_when_one_was_asked_for() {
    // What OpenSSL sends in TLS 1.2; the servers of these tests are more precise.
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::HandshakeFailure);
    for (asked, expect) in [(true, TlsReason::ClientCertificateRequired), (false, TlsReason::Other)] {
        let error = explain_handshake("llm.example", &alert, asked);
        assert!(matches!(error, HttpError::Tls { reason, .. } if reason == expect), "{asked}: {error:?}");
    }
}
