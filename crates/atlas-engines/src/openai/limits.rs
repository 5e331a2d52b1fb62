//! What a compatible server says about its limits.

use atlas_domain::ProviderError;
use atlas_http::{Call, Reply};
use atlas_vendor::Endpoint;
use serde::Deserialize;
use serde_json::Value;

use crate::remote::{ServerLimits, ours};

/// Longest description of a server that is read.
const DESCRIPTION_BYTES: usize = 1 << 20;
/// vLLM has no limit of texts; more than this only make it late.
const VLLM_TEXTS: usize = 64;

/// TEI's description of itself.
#[derive(Deserialize)]
struct TeiInfo {
    max_client_batch_size: usize,
    max_input_length: usize,
}

/// Asks TEI's way, then vLLM's. A server that knows neither has said nothing, which is fine; one
/// that cannot be reached has failed.
pub(super) async fn ask(endpoint: &Endpoint, model: &str) -> Result<ServerLimits, ProviderError> {
    let mut info = endpoint.url("");
    let path = info.path().trim_end_matches('/').trim_end_matches("/v1").to_owned();
    info.set_path(&format!("{path}/info"));
    let reply = endpoint.send(Call::get(info, "limits")).await.map_err(ours)?;
    if let Some(limits) = body(reply).await.and_then(|body| tei(&body)) {
        return Ok(limits);
    }
    let reply = endpoint.get("models", "limits").await.map_err(ours)?;
    Ok(body(reply).await.and_then(|body| vllm(&body, model)).unwrap_or_default())
}

async fn body(reply: Reply) -> Option<Value> {
    if !reply.status().is_success() {
        return None;
    }
    serde_json::from_slice(&reply.bytes(DESCRIPTION_BYTES).await.ok()?).ok()
}

pub(super) fn tei(info: &Value) -> Option<ServerLimits> {
    let info = TeiInfo::deserialize(info).ok()?;
    Some(ServerLimits { texts: Some(info.max_client_batch_size), input_tokens: Some(info.max_input_length) })
}

pub(super) fn vllm(models: &Value, model: &str) -> Option<ServerLimits> {
    let entry = models["data"].as_array()?.iter().find(|entry| entry["id"] == model)?;
    let tokens = usize::try_from(entry["max_model_len"].as_u64()?).ok()?;
    Some(ServerLimits { texts: Some(VLLM_TEXTS), input_tokens: Some(tokens) })
}
