//! What the API says about a model.

use atlas_domain::Date;
use atlas_http::UNARY_LIMIT;
use atlas_llm::{Inspection, ProviderError, ProviderErrorKind as Kind};
use atlas_vendor::{Endpoint, from_http};
use serde_json::Value;

use super::error;

/// Asks for the model's entry.
pub(super) async fn inspect(endpoint: &Endpoint, model: &str) -> Result<Inspection, ProviderError> {
    let reply = endpoint.get(&format!("v1/models/{model}"), "models").await?;
    if reply.status().is_success() {
        let body = reply.bytes(UNARY_LIMIT).await.map_err(from_http)?;
        return Ok(entry(&serde_json::from_slice(&body).unwrap_or_default(), endpoint.has_key()));
    }
    let refusal = error::read(reply, endpoint.scrubber()).await;
    match refusal.error.kind() {
        // Anthropic's own words for it; a gateway without this operation has others.
        Kind::NotFound if refusal.names("model:") => Ok(Inspection {
            credentials_checked: endpoint.has_key(),
            model_listed: Some(false),
            ..Inspection::default()
        }),
        // Gateways have no such operation, or keep it from keys that may chat.
        Kind::NotFound | Kind::Forbidden | Kind::BadRequest | Kind::Protocol => Ok(Inspection::default()),
        _ => Err(refusal.error),
    }
}

/// Reads an entry. Most fields are new in 2026, and gateways leave them out.
pub(super) fn entry(body: &Value, has_key: bool) -> Inspection {
    if body["id"].as_str().is_none() {
        return Inspection::default();
    }
    let mut warnings = Vec::new();
    match body["lifecycle"].as_str() {
        Some("deprecated") => warnings.push(match date(&body["retires_at"]) {
            Some(date) => format!("Anthropic has deprecated this model and retires it on {date}"),
            None => "Anthropic has deprecated this model".to_owned(),
        }),
        Some("retired") => warnings.push("Anthropic has retired this model".to_owned()),
        _ => {}
    }
    if body["capabilities"]["structured_outputs"]["supported"] == false {
        warnings.push("the model does not keep to a JSON schema by itself".to_owned());
    }
    Inspection {
        credentials_checked: has_key,
        model_listed: Some(true),
        context_tokens: body["max_input_tokens"].as_u64(),
        tools: body["capabilities"]["tools"]["supported"].as_bool(),
        identity: None,
        warnings,
    }
}

/// The day of a time; whatever else stands there is not repeated.
fn date(value: &Value) -> Option<Date> {
    value.as_str()?.get(..10)?.parse().ok()
}
