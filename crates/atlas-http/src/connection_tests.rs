//! How long connections live: shared when they can be, closed when nobody waits any more.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::testing::{client, head, serve_http, url};
use crate::{Call, ConnectOptions, HttpError, Limits, Outbound};

const STREAM: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

async fn listen() -> (TcpListener, Url, Outbound) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = url(format!("http://{}/", listener.local_addr().expect("bound")));
    let outbound = client(&ConnectOptions::default(), &[&url]);
    (listener, url, outbound)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut socket, _) = listener.accept().await.expect("a connection");
    assert!(head(&mut socket).await.starts_with("GET / "));
    socket
}

/// Returns when the other side has closed the connection.
async fn closed(mut socket: TcpStream) {
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
}

#[tokio::test]
async fn dropping_the_call_closes_the_connection() {
    let (listener, url, outbound) = listen().await;
    let call = outbound.send(Call::get(url, "test"));
    let socket = tokio::select! {
        socket = accept(&listener) => socket,
        reply = call => panic!("nobody answers: {reply:?}"),
    };
    closed(socket).await;
}

#[tokio::test]
async fn dropping_the_reply_closes_the_connection() {
    let (listener, url, outbound) = listen().await;
    let served = async {
        let mut socket = accept(&listener).await;
        socket.write_all(STREAM.as_bytes()).await.expect("a client");
        socket
    };
    let (socket, reply) = tokio::join!(served, outbound.send(Call::get(url, "test")));
    drop(reply.expect("an answer"));
    closed(socket).await;
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let (listener, url, outbound) = listen().await;
    let served = async {
        let mut socket = accept(&listener).await;
        socket.write_all(format!("{STREAM}5\r\nhello\r\n").as_bytes()).await.expect("a client");
        socket
    };
    let (socket, reply) = tokio::join!(served, outbound.send(Call::get(url, "test")));
    let mut chunks = reply.expect("an answer").chunks();
    assert_eq!(chunks.next().await.expect("a chunk").expect("hello"), "hello");
    drop(chunks);
    closed(socket).await;
}

#[tokio::test]
async fn a_stream_outlives_its_client_and_an_idle_connection_does_not() {
    let (listener, url, outbound) = listen().await;
    let served = async {
        let mut socket = accept(&listener).await;
        socket.write_all(format!("{STREAM}5\r\nhello\r\n").as_bytes()).await.expect("a client");
        socket
    };
    let (mut socket, reply) = tokio::join!(served, outbound.send(Call::get(url, "test")));
    let mut chunks = reply.expect("an answer").chunks();
    assert_eq!(chunks.next().await.expect("a chunk").expect("hello"), "hello");
    // The settings changed: a new client takes over.
    drop(outbound);
    socket.write_all(b"5\r\nworld\r\n0\r\n\r\n").await.expect("a client");
    assert_eq!(chunks.next().await.expect("a chunk").expect("world"), "world");
    assert!(chunks.next().await.is_none());
    closed(socket).await;
}

/// Lets the connection's task notice that the answer is over.
async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() {
    let answers = [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    for answer in answers {
        let (listener, url, outbound) = listen().await;
        // Only one connection is ever served.
        let server = tokio::spawn(async move {
            let mut socket = accept(&listener).await;
            for _ in 0..3 {
                socket.write_all(answer.as_bytes()).await.expect("a client");
                assert!(head(&mut socket).await.starts_with("GET / "));
            }
            socket.write_all(answer.as_bytes()).await.expect("a client");
            socket
        });
        for n in 0..4 {
            let reply = outbound.send(Call::get(url.clone(), "test")).await.expect("an answer");
            if n % 2 == 0 {
                assert_eq!(reply.bytes(5).await.expect("a body"), "hello");
            } else {
                let pieces: Vec<_> = reply.chunks().collect().await;
                assert!(pieces.iter().all(Result::is_ok), "{pieces:?}");
            }
            settle().await;
        }
        server.await.expect("served");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_replaced() {
    let (listener, url, outbound) = listen().await;
    for _ in 0..3 {
        let served = async {
            let mut socket = accept(&listener).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("a client");
        };
        let ((), reply) = tokio::join!(served, outbound.send(Call::get(url.clone(), "test")));
        reply.expect("an answer").bytes(0).await.expect("no body");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_closed() {
    let (listener, url, outbound) = listen().await;
    let served = async {
        let mut socket = accept(&listener).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("a client");
        socket
    };
    let (socket, reply) = tokio::join!(served, outbound.send(Call::get(url, "test")));
    assert_eq!(reply.expect("an answer").bytes(2).await.expect("a body"), "ok");
    // With nothing else to do, the clock goes on to whatever comes next.
    tokio::time::pause();
    closed(socket).await;
}

#[tokio::test]
async fn the_total_limit_ends_an_answer_that_never_pauses() {
    let (listener, url, outbound) = listen().await;
    let server = tokio::spawn(async move {
        let mut socket = accept(&listener).await;
        let _ = socket.write_all(STREAM.as_bytes()).await;
        while socket.write_all(b"1\r\nx\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    let limits = Limits { total: Some(Duration::from_millis(20)), ..Limits::default() };
    let reply = outbound.send(Call::get(url.clone(), "test").limits(limits)).await;
    let last = match reply {
        Ok(reply) => reply.chunks().fold(None, |_, piece| async { piece.err() }).await,
        Err(error) => Some(error),
    };
    assert!(matches!(last, Some(HttpError::Timeout { limit: "total", .. })), "{last:?}");
    // The server stops because nobody listens any more.
    server.await.expect("served");
}

#[tokio::test]
async fn a_call_sends_its_method_headers_and_body() {
    let mut server = serve_http("HTTP/1.1 204 No Content\r\n\r\n").await;
    let url = url(format!("http://{}/a?b=c", server.address));
    let outbound = client(&ConnectOptions::default(), &[&url]);
    let mut headers = http::HeaderMap::new();
    headers.insert("x-amz-date", "20260101T000000Z".parse().expect("a value"));
    let call = Call::new(http::Method::PUT, url, "test")
        .header("x-first", "1")
        .expect("a header")
        .headers(headers)
        .body("".into());
    outbound.send(call).await.expect("an answer");
    let seen = server.next().await;
    for line in [
        "PUT /a?b=c HTTP/1.1\r\n",
        "x-first: 1\r\n",
        "x-amz-date: 20260101T000000Z\r\n",
        "content-length: 0\r\n",
        "user-agent: atlasai-byoc/",
    ] {
        assert!(seen.contains(line), "{line:?} in {seen}");
    }
}
