//! What every dialect does with a request before it writes its own.

use atlas_domain::Destination;
use atlas_guard::Cleared;
use atlas_llm::{ChatRequest, ProviderError, ProviderErrorKind as Kind};
use serde_json::Value;

/// The request, if it was cleared for where it is about to go.
pub(crate) fn addressed(
    request: Cleared<ChatRequest>,
    destination: &Destination,
) -> Result<ChatRequest, ProviderError> {
    if request.destination() == destination {
        Ok(request.into_value())
    } else {
        Err(ProviderError::new(Kind::Egress, "the text was cleared for another destination"))
    }
}

/// By way of its text, so that 0.2 stays 0.2 and does not become 0.20000000298.
pub(crate) fn decimal(value: f32) -> Value {
    value.to_string().parse::<f64>().unwrap_or_default().into()
}
