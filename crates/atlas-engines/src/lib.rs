//! One folder per embedding engine.
//!
//! An engine is a plug: the search path knows the contract in `atlas-embed`, the binary chooses
//! by label. Adding one touches its folder, one `mod` line and one entry of [`LABELS`] and
//! [`engine`].
//!
//! Not here: batching policy of the callers, the cache, and what search does without vectors.

use std::sync::Arc;

use atlas_embed::Engine;

mod fallback;
mod local;

pub use fallback::FallbackEngine;
pub use local::{LocalEmbedder, LocalEngine, LocalOptions};

/// The values of `EMBEDDING_PROVIDER`, the default first.
pub const LABELS: &[&str] = &[local::LABEL, fallback::LABEL];

/// What any engine may need to know; each reads its own part.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// For `local`.
    pub local: LocalOptions,
}

/// `EMBEDDING_PROVIDER` names no engine of this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no embedding engine {label:?}; there are: {}", LABELS.join(", "))]
pub struct UnknownEngine {
    /// What was asked for.
    pub label: String,
}

/// The engine of a label, not loaded yet.
pub fn engine(label: &str, options: &EngineOptions) -> Result<Arc<dyn Engine>, UnknownEngine> {
    match label {
        local::LABEL => Ok(Arc::new(LocalEngine::new(options.local.clone()))),
        fallback::LABEL => Ok(Arc::new(FallbackEngine)),
        _ => Err(UnknownEngine { label: label.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_names_its_engine() {
        for label in LABELS {
            assert_eq!(engine(label, &EngineOptions::default()).expect("listed").label(), *label);
        }
    }

    #[test]
    fn an_unknown_label_is_answered_with_the_known_ones() {
        let error = engine("word2vec", &EngineOptions::default()).err().expect("unknown");
        assert_eq!(
            error.to_string(),
            "there is no embedding engine \"word2vec\"; there are: local, fallback"
        );
    }
}
