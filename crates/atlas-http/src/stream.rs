//! Connections on which something else than HTTP is spoken, such as a database's protocol.
//!
//! They are opened under the same policy, on the same checked addresses, with the same trust, and
//! counted in the same ledger; what is said on them is the caller's business.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::dial::{Io, within};
use crate::error::{HttpError, TlsReason};
use crate::ledger::Counts;
use crate::origin::Origin;
use crate::outbound::Outbound;
use crate::reach::Steps;
use crate::tls;

/// How a protocol asks its server to begin with TLS on a connection that stands.
#[derive(Debug, Clone, Copy)]
pub struct StartTls {
    /// What is sent.
    pub ask: &'static [u8],
    /// What a server answers that agrees. Anything else is a refusal, and ends the connection:
    /// going on without TLS is never a way out.
    pub agree: u8,
    /// The protocol's name in the handshake (ALPN).
    pub protocol: &'static [u8],
}

/// An open connection. Dropping it closes it.
pub struct Stream {
    io: Box<dyn Io>,
    counts: Arc<Counts>,
}

impl Outbound {
    /// Opens a connection to a stream's origin. Where the origin is a secured one it is begun the
    /// way `start` says, and the server's certificate has to be valid for the origin's host.
    pub async fn open(
        &self,
        origin: &Origin,
        start: StartTls,
        purpose: &'static str,
    ) -> Result<Stream, HttpError> {
        let dialer = &self.dialer;
        dialer.policy.check_origin(origin)?;
        if dialer.proxy_for(origin).is_some() {
            return Err(HttpError::Options {
                what: "proxy",
                reason: "it carries http, and this connection is none".to_owned(),
            });
        }
        let deadline = dialer.deadline();
        let counts = self.ledger.counts(origin, purpose);
        let mut tcp =
            dialer.connect(origin, std::convert::identity, deadline, &mut Steps::unrecorded()).await?;
        // Questions are small, and each waits for its answer.
        let _ = tcp.set_nodelay(true);
        counts.sent(0);
        if !origin.is_tls() {
            return Ok(Stream { io: Box::new(tcp), counts });
        }
        let secured = async {
            let closed = |_| tls::broken(origin.host());
            tcp.write_all(start.ask).await.map_err(closed)?;
            if tcp.read_u8().await.map_err(closed)? != start.agree {
                return Err(HttpError::Tls {
                    host: origin.host().to_owned(),
                    reason: TlsReason::Other,
                    detail: "the server does not offer TLS".to_owned(),
                });
            }
            let mut config = ClientConfig::clone(&dialer.tls);
            config.alpn_protocols = vec![start.protocol.to_vec()];
            tls::secure(&Arc::new(config), origin, tcp).await
        };
        let secured = Box::pin(within(deadline, origin, secured)).await?;
        Ok(Stream { io: Box::new(secured.stream), counts })
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, counts } = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(io).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = read {
            counts.received(buf.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { io, counts } = self.get_mut();
        let written = Pin::new(io).poll_write(cx, bytes);
        if let Poll::Ready(Ok(n_bytes)) = written {
            counts.wrote(n_bytes);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
