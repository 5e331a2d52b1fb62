//! Compressed bodies: what the OpenTelemetry collector and most log senders send by default.

use std::io::Read;

use axum::http::StatusCode;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::extract::too_large;
use crate::problem::Problem;

/// Unpacks a body to at most `limit` bytes: a small body can unpack to a thousand times its size.
pub(crate) fn unpack(packed: &[u8], limit: usize) -> Result<Bytes, Problem> {
    let mut whole = Vec::new();
    let within = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    MultiGzDecoder::new(packed).take(within).read_to_end(&mut whole).map_err(|_| {
        Problem::new(StatusCode::BAD_REQUEST, "malformed_gzip", "the body says it is gzip and is not")
            .field("content-encoding")
    })?;
    if whole.len() > limit { Err(too_large(limit)) } else { Ok(whole.into()) }
}
