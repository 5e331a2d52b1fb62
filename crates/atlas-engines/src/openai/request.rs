//! Our request in their words.

use serde_json::{Value, json};

use super::options::Target;

/// The body for these texts; without the format or the dimensions where the server refuses them.
pub(super) fn body(
    target: &Target,
    texts: &[String],
    (without_format, without_dimensions): (bool, bool),
) -> Value {
    let mut body = json!({ "input": texts });
    if target.names_model {
        body["model"] = json!(target.known.model);
    }
    if !without_format {
        body["encoding_format"] = json!(if target.base64 { "base64" } else { "float" });
    }
    if let Some(dimensions) = target.dimensions.filter(|_| !without_dimensions) {
        body["dimensions"] = json!(dimensions);
    }
    body
}
