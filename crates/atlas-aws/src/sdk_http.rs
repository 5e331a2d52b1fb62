//! The AWS SDK's requests over our connections.

use std::fmt;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use atlas_http::{Call, HttpError, Limits, Outbound, Reply, UNARY_LIMIT};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use http_body::{Body, Frame};
use url::Url;

/// Most bytes of a whole event stream. Each token comes with some 300 bytes of frame, so this is
/// beyond any answer; the SDK itself would buffer a frame of any length.
const STREAM_LIMIT: usize = 256 * 1024 * 1024;

/// The HTTP client that the SDK is given. The time limits are those of the calls, the SDK's own
/// are off; an [`HttpError`] comes back as the source of the SDK's error.
#[derive(Clone)]
pub struct SdkHttp {
    outbound: Outbound,
    purpose: &'static str,
    limits: Limits,
}

impl SdkHttp {
    /// Requests of the SDK go through `outbound`, are counted as `purpose` and keep `limits`.
    pub fn new(outbound: Outbound, purpose: &'static str, limits: Limits) -> Self {
        Self { outbound, purpose, limits }
    }

    /// What its requests may reach.
    pub(crate) fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    async fn send(self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let call = self.call(request)?;
        let reply = self.outbound.send(call).await.map_err(connector_error)?;
        let mut response = http::Response::new(());
        *response.status_mut() = reply.status();
        *response.headers_mut() = reply.headers().clone();
        let response = response.map(|()| SdkBody::from_body_1_x(ReplyBody::new(reply)));
        HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
    }

    fn call(&self, request: HttpRequest) -> Result<Call, ConnectorError> {
        let user = |reason| ConnectorError::user(HttpError::Protocol { reason }.into());
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let (head, body) = request.into_parts();
        let url = Url::parse(&head.uri.to_string()).map_err(|_| user("the SDK's URL does not parse"))?;
        // Nothing is uploaded as a stream: prompts and texts are in memory.
        let body = body.bytes().map(Bytes::copy_from_slice).ok_or_else(|| user("the body is a stream"))?;
        Ok(Call::new(head.method, url, self.purpose).headers(head.headers).body(body).limits(self.limits))
    }
}

impl fmt::Debug for SdkHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdkHttp").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

impl HttpConnector for SdkHttp {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::new(self.clone().send(request))
    }
}

impl HttpClient for SdkHttp {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

fn connector_error(error: HttpError) -> ConnectorError {
    match error {
        HttpError::Timeout { .. } => ConnectorError::timeout(error.into()),
        _ => ConnectorError::io(error.into()),
    }
}

/// An answer's body as it arrives. Dropping it closes the connection.
struct ReplyBody {
    /// Only ever reached through `&mut`: the mutex is there because the SDK asks for `Sync`.
    chunks: Mutex<BoxStream<'static, Result<Bytes, HttpError>>>,
    /// What may still come.
    room: usize,
    limit_bytes: usize,
}

impl ReplyBody {
    fn new(reply: Reply) -> Self {
        let is_stream = reply.content_type() == "application/vnd.amazon.eventstream";
        let limit_bytes = if is_stream { STREAM_LIMIT } else { UNARY_LIMIT };
        // The SDK reads on after the end.
        let chunks = Mutex::new(reply.chunks().fuse().boxed());
        Self { chunks, room: limit_bytes, limit_bytes }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        let chunks = this.chunks.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let chunk = match chunks.as_mut().poll_next(context) {
            Poll::Ready(Some(Ok(chunk))) => chunk,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let Some(room) = this.room.checked_sub(chunk.len()) else {
            let (host, limit_bytes) = ("AWS".to_owned(), this.limit_bytes);
            return Poll::Ready(Some(Err(HttpError::TooLarge { host, limit_bytes })));
        };
        this.room = room;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}
