//! What the server says about a model: whether it is there, and with how much context.

use atlas_http::UNARY_LIMIT;
use atlas_llm::{Inspection, ProviderError, ProviderErrorKind as Kind};
use atlas_vendor::{Endpoint, Refusal, from_http};
use serde_json::{Value, json};

use super::error::is_missing_model;

/// Asks for the model's card and for what is loaded. Loads nothing and pulls nothing.
pub(super) async fn inspect(
    endpoint: &Endpoint,
    model: &str,
    context_tokens: u32,
) -> Result<Inspection, ProviderError> {
    let reply = endpoint.post("api/show", "models", "application/json", &json!({ "model": model })).await?;
    if !reply.status().is_success() {
        let refusal = Refusal::read(reply, endpoint.scrubber()).await;
        return match refusal.error.kind() {
            Kind::NotFound if is_missing_model(&refusal) => Ok(missing(model)),
            // Gateways that pass on chats only.
            Kind::NotFound | Kind::Forbidden | Kind::BadRequest | Kind::Protocol => {
                listed(endpoint, model).await
            }
            _ => Err(refusal.error),
        };
    }
    let bytes = reply.bytes(UNARY_LIMIT).await.map_err(from_http)?;
    let card = serde_json::from_slice(&bytes).unwrap_or_default();
    let loaded = get(endpoint, "api/ps").await.unwrap_or_default();
    Ok(card_and_loaded(&card, &loaded, model, context_tokens))
}

fn missing(model: &str) -> Inspection {
    Inspection {
        model_listed: Some(false),
        warnings: vec![format!("the server does not have the model; run `ollama pull {model}` there")],
        ..Inspection::default()
    }
}

/// What the list says, where there is no card.
async fn listed(endpoint: &Endpoint, model: &str) -> Result<Inspection, ProviderError> {
    let Some(tags) = get(endpoint, "api/tags").await else { return Ok(Inspection::default()) };
    Ok(match tags["models"].as_array() {
        None => Inspection::default(),
        Some(models) => match models.iter().find(|entry| is_named(entry, model)) {
            None => missing(model),
            Some(entry) => Inspection {
                model_listed: Some(true),
                tools: capability(entry, "tools"),
                ..Inspection::default()
            },
        },
    })
}

async fn get(endpoint: &Endpoint, operation: &str) -> Option<Value> {
    let reply = endpoint.get(operation, "models").await.ok().filter(|reply| reply.status().is_success())?;
    serde_json::from_slice(&reply.bytes(UNARY_LIMIT).await.ok()?).ok()
}

/// Reads `/api/show` and `/api/ps`.
pub(super) fn card_and_loaded(card: &Value, loaded: &Value, model: &str, context_tokens: u32) -> Inspection {
    let architecture = card["model_info"]["general.architecture"].as_str().unwrap_or_default();
    let most = card["model_info"][format!("{architecture}.context_length")].as_u64();
    let loaded = loaded["models"].as_array().into_iter().flatten().find(|entry| is_named(entry, model));
    let loaded = loaded.and_then(|entry| entry["context_length"].as_u64()).filter(|tokens| *tokens > 0);
    let asked = u64::from(context_tokens);

    let mut warnings = Vec::new();
    if let Some(most) = most.filter(|most| *most < asked) {
        warnings.push(format!(
            "the model has a context of {most} tokens, less than the {asked} of BYOC_CONTEXT_TOKENS"
        ));
    } else if let Some(loaded) = loaded.filter(|loaded| *loaded < asked) {
        warnings.push(format!(
            "the server has the model loaded with {loaded} tokens of context, less than the {asked} that \
             requests ask for; the next one loads it again, unless the server's own limit forbids"
        ));
    }
    Inspection {
        // Nobody checks them here; a proxy that does would have refused.
        credentials_checked: false,
        model_listed: Some(true),
        context_tokens: [most, loaded].into_iter().flatten().chain([asked]).min(),
        tools: capability(card, "tools"),
        identity: None,
        warnings,
    }
}

/// Whether the list of capabilities has this one, where there is a list.
fn capability(entry: &Value, wanted: &str) -> Option<bool> {
    let capabilities = entry["capabilities"].as_array()?;
    Some(capabilities.iter().any(|capability| capability == wanted))
}

/// A name without a tag means the tag `latest`.
fn is_named(entry: &Value, model: &str) -> bool {
    let plain = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_ascii_lowercase();
    ["name", "model"].iter().any(|member| entry[member].as_str().map(plain) == Some(plain(model)))
}
