//! The engine that makes no vectors.
//!
//! It does not imitate them either: hashing words into something cosine-shaped would rank badly
//! and look healthy. Search runs on its lexical leg and says so.

use atlas_embed::{EmbedError, Embedding, Engine};
use futures_util::future::BoxFuture;

pub(crate) const LABEL: &str = "fallback";

/// Keywords only; needs no model and no memory.
#[derive(Debug, Clone, Copy)]
pub struct FallbackEngine;

impl Engine for FallbackEngine {
    fn label(&self) -> &'static str {
        LABEL
    }

    fn load(&self) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        Box::pin(async { Ok(Embedding::KeywordsOnly) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_loads_anywhere_and_makes_no_vectors() {
        assert!(matches!(FallbackEngine.load().await, Ok(Embedding::KeywordsOnly)));
    }
}
