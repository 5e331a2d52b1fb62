//! The running application, as handlers see it.

use std::sync::Arc;

use atlas_config::{SecretString, Settings};
use atlas_features::Features;
use atlas_inference::Inference;
use atlas_retrieval::Retrieval;
use atlas_store::SqliteStore;
use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use crate::auth::AdminToken;

/// Everything a handler may need. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) settings: Arc<Settings>,
    pub(crate) retrieval: Arc<Retrieval>,
    pub(crate) features: Arc<Features>,
    pub(crate) inference: Arc<Inference>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) secret: SecretString,
    pub(crate) token: AdminToken,
    pub(crate) stopping: CancellationToken,
}

impl App {
    /// The settings it was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The search path.
    pub fn retrieval(&self) -> &Arc<Retrieval> {
        &self.retrieval
    }

    /// The features.
    pub fn features(&self) -> &Arc<Features> {
        &self.features
    }

    /// The operator's token, from the settings or from the file that was made.
    pub fn admin_token(&self) -> SecretString {
        self.secret.clone()
    }

    /// Cancelled when the server is asked to end; streams end on it.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Ends streams, finishes background work and closes the store.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        self.retrieval.shutdown().await;
        let store = Arc::clone(&self.store);
        // Writing the logs back blocks.
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::error!("closing the store panicked; what was acknowledged is on the disk");
        }
    }
}

impl FromRef<App> for Arc<Settings> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.settings)
    }
}

impl FromRef<App> for Arc<Retrieval> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.retrieval)
    }
}

impl FromRef<App> for Arc<Features> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.features)
    }
}

impl FromRef<App> for Arc<Inference> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.inference)
    }
}

impl FromRef<App> for AdminToken {
    fn from_ref(app: &App) -> Self {
        app.token.clone()
    }
}

impl FromRef<App> for CancellationToken {
    fn from_ref(app: &App) -> Self {
        app.stopping.clone()
    }
}
