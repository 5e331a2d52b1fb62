//! CONNECT: a way through the proxy.

use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::error::HttpError;
use crate::origin::Origin;

/// Longest head of a proxy's answer that is read, here as in reqwest.
const HEAD_LIMIT: usize = 8 * 1024;

pub(crate) const CLOSED: &str = "it closed the connection";
pub(crate) const NOT_HTTP: &str = "its answer is not HTTP";

/// Asks the proxy at the other end of `io` for a tunnel to `target`. The name goes to the proxy as
/// it is; resolving it is the proxy's business.
pub(crate) async fn open(
    io: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Origin,
    authorization: Option<&HeaderValue>,
    target: &Origin,
) -> Result<(), HttpError> {
    let (host, port) = (target.host(), target.port());
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(authorization) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let closed = |_| broken(proxy, CLOSED);
    io.write_all(&request).await.map_err(closed)?;
    io.flush().await.map_err(closed)?;

    let mut head = Vec::with_capacity(512);
    let end = loop {
        if io.read_buf(&mut head).await.map_err(closed)? == 0 {
            return Err(broken(proxy, CLOSED));
        }
        if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        if head.len() > HEAD_LIMIT {
            return Err(broken(proxy, NOT_HTTP));
        }
    };
    match status(&head) {
        // TLS starts with our word, so anything said before it is not from the target.
        // reqwest knows no other status of success.
        Some(200) if end == head.len() => Ok(()),
        Some(200) => Err(broken(proxy, "it spoke before the tunnel was used")),
        Some(status) => Err(refused(proxy, status, authorization.is_some(), target)),
        None => Err(broken(proxy, NOT_HTTP)),
    }
}

/// The proxy answered, and with something else than a way to the target.
pub(crate) fn refused(proxy: &Origin, status: u16, authorized: bool, target: &Origin) -> HttpError {
    let host = target.host();
    let reason = match status {
        407 if authorized => "it refused the user name or password (status 407)".to_owned(),
        407 => "it wants a user name and password (status 407)".to_owned(),
        502..=504 => format!("it could not reach {host} (status {status})"),
        status => format!("it refused the way to {host} (status {status})"),
    };
    HttpError::Proxy { host: proxy.host().to_owned(), status: Some(status), reason }
}

/// There is no answer of the proxy that could be read.
pub(crate) fn broken(proxy: &Origin, reason: &str) -> HttpError {
    HttpError::Proxy { host: proxy.host().to_owned(), status: None, reason: reason.to_owned() }
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?;
    let code = std::str::from_utf8(line.get(2..5)?).ok()?;
    let ends = line.get(1) == Some(&b' ') && !line.get(5)?.is_ascii_digit();
    ends.then(|| code.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: &[u8], authorization: Option<&HeaderValue>) -> (Result<(), HttpError>, String) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(answer).await.expect("room");
        theirs.shutdown().await.expect("a pipe");
        let [proxy, target] = ["http://proxy.example:3128", "https://[fd00::1]"]
            .map(|origin| origin.parse::<Origin>().expect("an origin"));
        let opened = open(&mut ours, &proxy, authorization, &target).await;
        drop(ours);
        let mut asked = String::new();
        theirs.read_to_string(&mut asked).await.expect("text");
        (opened, asked)
    }

    #[tokio::test]
    async fn the_request_names_host_and_port_and_carries_the_credentials() {
        let key = HeaderValue::from_static("Basic dGVzdDprZXk=");
        let (opened, asked) =
            answered(b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n", Some(&key)).await;
        assert_eq!(opened, Ok(()));
        let expect = "CONNECT [fd00::1]:443 HTTP/1.1\r\nHost: [fd00::1]:443\r\n\
                      Proxy-Authorization: Basic dGVzdDprZXk=\r\n\r\n";
        assert_eq!(asked, expect);
    }

    #[tokio::test]
    async fn every_answer_but_success_is_a_refusal_with_its_status() {
        for (answer, expect) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], Some(407)),
            (b"HTTP/1.0 403 Forbidden\r\n\r\n", Some(403)),
            (b"HTTP/1.1 503 \r\n\r\n", Some(503)),
            (b"HTTP/1.1 2000 OK\r\n\r\n", None),
            (b"SSH-2.0-x\r\n\r\n", None),
            (b"HTTP/1.1 200 OK\r\n\r\nearly", None),
            (b"HTTP/1.1 200 OK\r\n", None),
            (b"", None),
        ] {
            let (opened, _) = answered(answer, None).await;
            let Err(HttpError::Proxy { status, .. }) = opened else { panic!("{opened:?}") };
            assert_eq!(status, expect, "{:?}", String::from_utf8_lossy(answer));
        }
        let endless = [b"HTTP/1.1 200 OK\r\n", &[b'x'; 2 * HEAD_LIMIT][..]].concat();
        assert!(answered(&endless, None).await.0.is_err());
    }
}
