//! A search path on a temporary store, with an engine that is a bag of words.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atlas_domain::{Destination, EmbeddingSpace, Pooling, TenantScope, TextHash};
use atlas_embed::{EmbedError, Embedder, Embedding, Priority, Purpose, TokenCounter};
use atlas_guard::{Cleared, Guard};
use atlas_inference::{AiState, Inference};
use atlas_retrieval::{Options, Retrieval};
use atlas_store::{SqliteStore, Store};
use atlas_testkit::scripted_model::{ScriptedModel, Turn};
use futures_util::future::BoxFuture;
use tempfile::TempDir;

use crate::Features;

const DIMENSION: usize = 256;

/// Everything a feature stands on. The directory goes with it.
pub(crate) struct Bench {
    pub(crate) features: Features,
    pub(crate) retrieval: Arc<Retrieval>,
    pub(crate) model: Arc<ScriptedModel>,
    pub(crate) engine: Arc<Words>,
    pub(crate) scope: TenantScope,
    _dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::scripted([])
    }

    /// With a model that says `turns`.
    pub(crate) fn scripted(turns: impl IntoIterator<Item = Turn>) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let store = Arc::new(SqliteStore::open(dir.path()).expect("an empty directory"));
        let scope = scope("acme");
        store.create_tenant(scope.tenant()).expect("a new tenant");
        store.create_tenant(self::scope("other").tenant()).expect("a new tenant");
        let guard = Arc::new(Guard::new());
        let engine = Arc::new(Words::new());
        let embedding = Embedding::Vectors(engine.clone());
        let retrieval = Retrieval::open(store, embedding, guard.clone(), Options { index_dir: None });
        let model = Arc::new(ScriptedModel::new(turns));
        let inference = Arc::new(Inference::new(AiState::Ready(model.clone()), guard));
        Self {
            features: Features::new(retrieval.clone(), inference),
            retrieval,
            model,
            engine,
            scope,
            _dir: dir,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests say who the caller is")]
pub(crate) fn scope(tenant: &str) -> TenantScope {
    TenantScope::grant(tenant.parse().expect("a tenant id"))
}

/// Embeds a text as the bag of its words, hashed into a few dimensions.
pub(crate) struct Words {
    space: EmbeddingSpace,
    destination: Destination,
    pub(crate) failing: AtomicBool,
}

impl Words {
    fn new() -> Self {
        let space = EmbeddingSpace {
            engine: "words".into(),
            model: "bag".into(),
            revision: "1".into(),
            dimension: DIMENSION,
            pooling: Pooling::Mean,
            precision: "f32".into(),
        };
        Self { space, destination: Destination::in_process(), failing: AtomicBool::new(false) }
    }
}

fn bag(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0f32; DIMENSION];
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        vector[usize::from(TextHash::of(&word.to_lowercase()).0[0])] += 1.0;
    }
    vector[0] += 0.001;
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

impl TokenCounter for Words {
    fn count_tokens(&self, text: &str) -> usize {
        text.split_whitespace().count()
    }

    fn max_tokens(&self) -> usize {
        256
    }
}

impl Embedder for Words {
    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    fn destination(&self) -> &Destination {
        &self.destination
    }

    fn tokens(&self) -> &dyn TokenCounter {
        self
    }

    fn embed(
        &self,
        texts: Cleared<Vec<String>>,
        _: Purpose,
        _: Priority,
    ) -> BoxFuture<'_, Result<Vec<Vec<f32>>, EmbedError>> {
        Box::pin(async move {
            match self.failing.load(Ordering::SeqCst) {
                true => Err(EmbedError::Failed { source: "the test said so".into() }),
                false => Ok(texts.value().iter().map(|text| bag(text)).collect()),
            }
        })
    }
}
