//! From settings to a running application: the only place that knows paths and plugs at once.

use std::sync::Arc;

use atlas_config::{ByocSettings, Settings};
use atlas_embed::{EmbedError, Embedding};
use atlas_engines::{EngineOptions, LocalOptions, UnknownEngine};
use atlas_features::Features;
use atlas_guard::Guard;
use atlas_http::{EgressPolicy, Ledger, Outbound};
use atlas_inference::{AiState, Inference};
use atlas_llm::LlmError;
use atlas_retrieval::{Options, Retrieval};
use atlas_store::{SqliteStore, Store, StoreError};
use tokio_util::sync::CancellationToken;

pub use crate::app::App;
use crate::auth::AdminToken;
use crate::tenant_header::DEFAULT_TENANT;
use crate::token;
pub use crate::token::{TokenError, admin_token_path};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no usable admin token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// `EMBEDDING_PROVIDER` names no engine.
    #[error("EMBEDDING_PROVIDER: {0}")]
    Engine(#[from] UnknownEngine),
    /// The embedding engine cannot be loaded.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// A part of the start panicked.
    #[error("the server failed while it started; the log says where")]
    Panicked,
}

/// Opens everything. A provider that cannot work does not keep the server from starting: search
/// works without it, and the status says what is wrong.
pub async fn start(settings: Settings) -> Result<App, StartError> {
    for name in &settings.unknown {
        tracing::warn!(name, "there is no such setting; is it misspelt?");
    }
    let data_dir = settings.data_dir.clone();
    // Opening reads the disk, and the token file lies in the directory that opening creates.
    let opened = tokio::task::spawn_blocking(move || -> Result<_, StoreError> {
        let store = SqliteStore::open(&data_dir)?;
        store.create_tenant(&DEFAULT_TENANT.parse().expect("a constant that is a tenant id"))?;
        Ok(store)
    });
    let embedding = load_embedding(&settings);
    let (opened, embedding) = tokio::join!(opened, embedding);
    let store = Arc::new(opened.map_err(|_| StartError::Panicked)??);
    let embedding = embedding?;
    let secret = token::admin_token(&settings)?;

    let guard = Arc::new(Guard::new());
    let options = Options { index_dir: Some(settings.data_dir.join("index")) };
    let shared: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let retrieval = Retrieval::open(shared, embedding, Arc::clone(&guard), options);
    let inference = Arc::new(Inference::new(ai_state(&settings.byoc), guard));
    let features = Arc::new(Features::new(Arc::clone(&retrieval), Arc::clone(&inference)));
    Ok(App {
        token: AdminToken::new(&secret),
        settings: Arc::new(settings),
        retrieval,
        features,
        inference,
        store,
        secret,
        stopping: CancellationToken::new(),
    })
}

/// Loads the embedding engine that the settings name.
pub async fn load_embedding(settings: &Settings) -> Result<Embedding, StartError> {
    let embedding = &settings.embedding;
    let local = LocalOptions {
        model_dir: embedding.model_path.clone(),
        threads: embedding.threads.map(std::num::NonZeroUsize::get),
    };
    let engine = atlas_engines::engine(&embedding.provider, &EngineOptions { local })?;
    Ok(engine.load().await?)
}

/// What the settings make of the AI.
fn ai_state(byoc: &ByocSettings) -> AiState {
    let Some(label) = &byoc.provider else { return AiState::NotConfigured };
    match connect(label, byoc) {
        Ok(state) => state,
        Err(error) => {
            tracing::warn!(provider = label, %error, "AI answers are off until the settings are corrected");
            AiState::Misconfigured(error)
        }
    }
}

/// The egress policy is made of the provider's endpoint alone: whatever else goes wrong, the
/// client it is given opens no other connection.
fn connect(label: &str, byoc: &ByocSettings) -> Result<AiState, LlmError> {
    let endpoint_url = byoc.endpoint.as_ref().map(|url| url.as_str().to_owned());
    let origin = atlas_providers::origin(label, endpoint_url.as_deref())?;
    let outbound = Outbound::new(EgressPolicy::allow([origin]), Arc::new(Ledger::default()))
        .map_err(|error| LlmError::Network { detail: error.to_string() })?;
    let options = atlas_providers::Options {
        endpoint_url,
        api_key: byoc.api_key.clone(),
        organization: byoc.organisation.clone(),
        model: byoc.model.clone().unwrap_or_default(),
        outbound,
    };
    Ok(AiState::Ready(atlas_providers::provider(label, options)?.connect()?))
}
