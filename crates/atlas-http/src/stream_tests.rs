//! Streams, as servers on loopback see them.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::testing::{Authority, Peer, acceptor, closed_port, params, serve, via};
use crate::{ConnectOptions, EgressPolicy, HttpError, Ledger, Origin, Outbound, StartTls, TlsReason};

const START: StartTls = StartTls { ask: b"tls?", agree: b'y', protocol: b"echo" };

fn client(options: &ConnectOptions, allowed: &Origin, ledger: &Arc<Ledger>) -> Outbound {
    let policy = EgressPolicy::allow([allowed.clone()]);
    Outbound::new(policy, options, Arc::clone(ledger)).expect("a client")
}

fn origin(peer: &Peer, secured: bool) -> Origin {
    Origin::stream("127.0.0.1", peer.address.port(), secured).expect("an origin")
}

/// Answers `answer` to the wish for TLS, then echoes four bytes over it.
async fn serve_echo(authority: &Authority, answer: u8) -> Peer {
    let acceptor = acceptor(rustls::ALL_VERSIONS, &authority.sign(params()), None);
    serve(move |mut tcp, seen| {
        let acceptor = acceptor.clone();
        async move {
            let mut bytes = [0; 4];
            tcp.read_exact(&mut bytes).await.expect("four bytes");
            let _ = seen.send(String::from_utf8_lossy(&bytes).into_owned());
            if bytes != *START.ask {
                tcp.write_all(&bytes).await.expect("a client");
                return;
            }
            tcp.write_u8(answer).await.expect("a client");
            let Ok(mut secured) = acceptor.accept(tcp).await else { return };
            secured.read_exact(&mut bytes).await.expect("four bytes");
            secured.write_all(&bytes).await.expect("a client");
            let _ = secured.flush().await;
        }
    })
    .await
}

async fn echoed(outbound: &Outbound, origin: &Origin) -> Result<[u8; 4], HttpError> {
    let mut stream = outbound.open(origin, START, "test").await?;
    stream.write_all(b"ping").await.expect("sent");
    stream.flush().await.expect("sent");
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await.expect("received");
    Ok(bytes)
}

#[tokio::test]
async fn a_stream_is_opened_and_counted() {
    let authority = Authority::new();
    let peer = serve_echo(&authority, b'y').await;
    let ledger = Arc::new(Ledger::new());
    for secured in [false, true] {
        let origin = origin(&peer, secured);
        let outbound = client(&authority.bundle(), &origin, &ledger);
        assert_eq!(echoed(&outbound, &origin).await, Ok(*b"ping"));
    }
    let lines = ledger.list();
    let counted: Vec<_> =
        lines.iter().map(|line| (line.purpose, line.requests, line.bytes_out, line.bytes_in)).collect();
    assert_eq!(counted, [("test", 1, 4, 4), ("test", 1, 4, 4)]);
}

#[tokio::test]
async fn only_what_the_policy_names_is_connected_to() {
    let authority = Authority::new();
    let mut peer = serve_echo(&authority, b'y').await;
    let plain = origin(&peer, false);
    let outbound = client(&authority.bundle(), &plain, &Arc::default());
    let other = Origin::stream("localhost", peer.address.port(), false).expect("an origin");
    for refused in [other, origin(&peer, true)] {
        let opened = outbound.open(&refused, START, "test").await;
        assert!(matches!(opened, Err(HttpError::Denied { .. })), "{opened:?}");
    }
    let metadata = Origin::stream("169.254.169.254", 5432, false).expect("an origin");
    let client = client(&ConnectOptions::default(), &metadata, &Arc::default());
    let opened = client.open(&metadata, START, "test");
    assert!(matches!(opened.await, Err(HttpError::Denied { .. })));
    let proxied = ConnectOptions { proxy: via("http://127.0.0.1:9", ""), ..ConnectOptions::default() };
    let policy =
        EgressPolicy::allow([plain.clone()]).with_proxy("http://127.0.0.1:9".parse().expect("an origin"));
    let outbound = Outbound::new(policy, &proxied, Arc::default()).expect("a client");
    assert!(matches!(outbound.open(&plain, START, "test").await, Err(HttpError::Options { .. })));
    assert!(peer.saw_nothing());
}

#[tokio::test]
async fn a_secured_stream_never_goes_on_without_tls_or_with_a_stranger() {
    let authority = Authority::new();
    let refusing = serve_echo(&authority, b'n').await;
    let willing = serve_echo(&authority, b'y').await;
    for (peer, options, expect) in [
        (&refusing, authority.bundle(), TlsReason::Other),
        (&willing, ConnectOptions::default(), TlsReason::UnknownIssuer),
    ] {
        let origin = origin(peer, true);
        let opened = client(&options, &origin, &Arc::default()).open(&origin, START, "test").await;
        assert!(matches!(&opened, Err(HttpError::Tls { reason, .. }) if *reason == expect), "{opened:?}");
    }
    let (_bound, closed) = closed_port();
    let origin = Origin::stream("127.0.0.1", closed.port(), true).expect("an origin");
    let opened =
        client(&ConnectOptions::default(), &origin, &Arc::default()).open(&origin, START, "test").await;
    assert!(matches!(opened, Err(HttpError::Connect { .. })), "{opened:?}");
}
