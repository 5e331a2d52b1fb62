//! The running application, as handlers see it.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use atlas_config::{Live, SecretString, Snapshot};
use atlas_embed::Embedding;
use atlas_features::Features;
use atlas_http::Ledger;
use atlas_inference::{ControlPlane, Inference};
use atlas_retrieval::Retrieval;
use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use crate::auth::AdminToken;
use crate::diagnose::TestLimit;
use crate::plugs::Plugged;
use crate::plugs::records::Records;

/// Everything a handler may need. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) live: Live,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) embedding: Arc<ArcSwap<Embedding>>,
    pub(crate) retrieval: Arc<Retrieval>,
    pub(crate) features: Arc<Features>,
    pub(crate) inference: Arc<Inference>,
    pub(crate) control_plane: Arc<ArcSwapOption<ControlPlane>>,
    pub(crate) tests: Arc<TestLimit>,
    pub(crate) records: Arc<Records>,
    pub(crate) secret: Arc<ArcSwap<SecretString>>,
    pub(crate) token: AdminToken,
    pub(crate) stopping: CancellationToken,
}

impl App {
    /// The settings in effect.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.live.snapshot()
    }

    /// The inference path.
    pub fn inference(&self) -> &Arc<Inference> {
        &self.inference
    }

    /// Whether the control plane may be called and was verified within the last minute.
    pub fn is_control_plane_connected(&self) -> bool {
        self.control_plane.load().as_ref().is_some_and(|plane| plane.connected())
    }

    /// Asks the control plane whether it is there, if the settings allow calling it at all.
    pub async fn verify_control_plane(&self) {
        let Some(plane) = self.control_plane.load_full() else { return };
        if let Err(error) = plane.verify().await {
            tracing::debug!(%error, "the control plane is not connected");
        }
    }

    /// Replaces what the settings made. Running jobs finish with what they began with.
    pub(crate) fn put_to_work(&self, plugged: Plugged) {
        self.control_plane.store(plugged.control_plane);
        self.inference.apply(plugged.plugs);
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
        SecretString::clone(&self.secret.load())
    }

    /// Cancelled when the server is asked to end; streams end on it.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Ends streams, finishes background work and closes the store.
    pub async fn shutdown(&self) {
        self.stopping.cancel();
        self.retrieval.shutdown().await;
        let store = Arc::clone(&self.records.store);
        // Writing the logs back blocks.
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::error!("closing the store panicked; what was acknowledged is on the disk");
        }
    }
}

impl FromRef<App> for Live {
    fn from_ref(app: &App) -> Self {
        app.live.clone()
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
