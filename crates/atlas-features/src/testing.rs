//! A search path on a temporary store, with an engine that is a bag of words.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas_domain::TenantScope;
use atlas_embed::Embedding;
use atlas_guard::Guard;
use atlas_inference::{Inference, Plugs};
use atlas_llm::ChatModel;
use atlas_retrieval::{Options, Retrieval};
use atlas_store::{SqliteStore, Store};
use atlas_testkit::fake_embedder::Words;
use atlas_testkit::scripted_model::{ScriptedModel, ScriptedProvider, Turn};
use tempfile::TempDir;

use crate::Features;

/// A folder of the public corpora, which are no part of the repository; without it, says what is
/// SKIPPED.
pub(crate) fn corpora(name: &str) -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora").join(name);
    if dir.is_dir() {
        return Some(dir);
    }
    eprintln!("SKIPPED: ../shared/corpora/{name} is not here");
    None
}

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
        Self::with(ScriptedModel::new(turns))
    }

    pub(crate) fn with(model: ScriptedModel) -> Self {
        let model = Arc::new(model);
        let dir = TempDir::new().expect("a temporary directory");
        let store = Arc::new(SqliteStore::open(dir.path()).expect("an empty directory"));
        let scope = scope("acme");
        store.create_tenant(scope.tenant()).expect("a new tenant");
        store.create_tenant(self::scope("other").tenant()).expect("a new tenant");
        let guard = Arc::new(Guard::new());
        let engine = Words::new();
        let embedding = Embedding::Vectors(engine.clone());
        let retrieval = Retrieval::open(store, embedding, guard.clone(), Options::default());
        let inference = Arc::new(Inference::new(guard));
        inference.apply(Plugs::ready(ScriptedProvider::of([model.clone()]), model.model()));
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
