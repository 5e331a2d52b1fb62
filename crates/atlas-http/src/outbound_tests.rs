//! Against raw sockets on loopback: what is asserted is the connection, so no server library.

use super::*;
use crate::call::{Credential, Limits};
use crate::error::{ConnectFailure, TlsReason};
use bytes::Bytes;
use futures_util::StreamExt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

/// Answers every connection with `answer`, then closes it.
async fn serve(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut seen = [0; 4096];
            let _ = socket.read(&mut seen).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    address
}

fn url(address: SocketAddr) -> Url {
    Url::parse(&format!("http://{address}/v1/x?secret=canary")).expect("a URL")
}

fn client(allowed: &[&Url]) -> (Outbound, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::new());
    let policy = EgressPolicy::allow(allowed.iter().map(|url| Origin::of(url).expect("an origin")));
    (Outbound::new(policy, &ConnectOptions::default(), Arc::clone(&ledger)).expect("a client"), ledger)
}

#[tokio::test]
async fn an_allowed_origin_is_called_and_counted() {
    let url = url(serve(
        "HTTP/1.1 200 OK\r\ncontent-type: Text/Plain; x=y\r\ncontent-length: 5\r\n\r\nhello",
    )
    .await);
    let (outbound, ledger) = client(&[&url]);
    let call = Call::post_json(url, "chat", &"ping").expect("JSON");
    let reply = outbound.send(call).await.expect("an answer");
    assert_eq!((reply.status().as_u16(), reply.content_type().as_str()), (200, "text/plain"));
    assert_eq!(reply.bytes(5).await.expect("a body"), "hello");
    let list = ledger.list();
    let [entry] = &list[..] else { panic!("{list:?}") };
    assert_eq!((entry.purpose, entry.requests, entry.bytes_out, entry.bytes_in), ("chat", 1, 6, 5));
    assert_eq!(entry.class.as_str(), "loopback");
    assert!(entry.last_used_unix_ms > 0);
}

#[tokio::test]
async fn another_origin_is_refused_and_not_counted() {
    let url = url(serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await);
    let (outbound, ledger) = client(&[]);
    let error = outbound.send(Call::get(url, "chat")).await.expect_err("refused");
    assert!(matches!(error, HttpError::Denied { .. }), "{error:?}");
    assert_eq!(ledger.list(), []);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let url =
        url(serve("HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")
            .await);
    let (outbound, _) = client(&[&url]);
    let reply = outbound.send(Call::get(url, "chat")).await.expect("an answer");
    assert_eq!(reply.status().as_u16(), 302);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let url = url(serve("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await);
    let (outbound, _) = client(&[&url]);
    let reply = outbound.send(Call::get(url, "chat")).await.expect("an answer");
    assert!(matches!(reply.bytes(4).await, Err(HttpError::TooLarge { limit_bytes: 4, .. })));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_interrupted() {
    let url = url(serve("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello").await);
    let (outbound, _) = client(&[&url]);
    let reply = outbound.send(Call::get(url, "chat")).await.expect("an answer");
    let pieces: Vec<_> = reply.chunks().collect().await;
    assert_eq!(pieces.first(), Some(&Ok(Bytes::from_static(b"hello"))));
    assert!(matches!(pieces.last(), Some(Err(HttpError::Interrupted { .. }))), "{pieces:?}");
}

#[tokio::test]
async fn a_closed_port_is_named_without_the_url() {
    let (_bound, address) = crate::testing::closed_port();
    let url = url(address);
    let (outbound, _) = client(&[&url]);
    let error = outbound.send(Call::get(url, "chat")).await.expect_err("closed");
    assert!(matches!(error, HttpError::Connect { failure: ConnectFailure::Refused, .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    assert!(error.retry());
}

#[tokio::test]
async fn silence_ends_at_the_first_token_limit() {
    // The listener accepts in the kernel's queue and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = url(listener.local_addr().expect("bound"));
    let (outbound, _) = client(&[&url]);
    let limits = Limits { first_token: Duration::from_millis(1), idle: Duration::from_secs(60), total: None };
    let error = outbound.send(Call::get(url.clone(), "chat").limits(limits)).await.expect_err("silence");
    assert!(matches!(error, HttpError::Timeout { limit: "first token", .. }), "{error:?}");
}

#[tokio::test]
async fn silence_after_the_first_bytes_ends_at_the_idle_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = url(listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut seen = [0; 4096];
        let _ = socket.read(&mut seen).await;
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await;
        std::future::pending::<()>().await;
    });
    let (outbound, _) = client(&[&url]);
    let limits = Limits { first_token: Duration::from_secs(60), idle: Duration::from_millis(1), total: None };
    let reply = outbound.send(Call::get(url, "chat").limits(limits)).await.expect("an answer");
    let pieces: Vec<_> = reply.chunks().collect().await;
    assert!(matches!(pieces.last(), Some(Err(HttpError::Timeout { limit: "idle", .. }))), "{pieces:?}");
    server.abort();
}

#[tokio::test]
async fn a_localhost_name_goes_through_the_checked_resolver() {
    let address = serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let url = Url::parse(&format!("http://localhost:{}/", address.port())).expect("a URL");
    let (outbound, _) = client(&[&url]);
    let reply = outbound.send(Call::get(url, "chat")).await.expect("an answer");
    assert_eq!(reply.bytes(2).await.expect("a body"), "ok");
}

#[tokio::test]
async fn https_to_a_server_without_tls_is_a_tls_error() {
    let address = serve("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let url = Url::parse(&format!("https://{address}/")).expect("a URL");
    let (outbound, _) = client(&[&url]);
    let error = outbound.send(Call::get(url, "chat")).await.expect_err("no TLS");
    assert!(matches!(error, HttpError::Tls { reason: TlsReason::Other, .. }), "{error:?}");
}

#[test]
fn nothing_printable_holds_a_credential() {
    let url = Url::parse("https://llm.example.com/").expect("a URL");
    let origin = Origin::of(&url).expect("an origin");
    let (outbound, ledger) = client(&[&url]);
    let credential = Credential::bearer(origin, "canary").expect("a header");
    assert!(!format!("{outbound:?} {ledger:?} {credential:?}").contains("canary"));
}
