//! Our request in Ollama's words.

use serde_json::{Value, json};

use super::options::Target;

/// How long the model stays loaded: the default of five minutes would make the first search after
/// a quiet hour wait for the disk.
const KEEP_ALIVE: &str = "30m";

pub(super) fn body(target: &Target, texts: &[String]) -> Value {
    let mut body = json!({
        "model": target.known.model,
        "input": texts,
        "truncate": false,
        "keep_alive": KEEP_ALIVE,
    });
    if let Some(dimensions) = target.dimensions {
        body["dimensions"] = json!(dimensions);
    }
    body
}
