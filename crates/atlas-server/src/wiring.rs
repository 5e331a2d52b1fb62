//! From settings to a running application: the only place that knows paths and plugs at once.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use atlas_config::{Live, Settings, Snapshot, VectorIndexChoice};
use atlas_embed::{EmbedError, Embedding};
use atlas_features::Features;
use atlas_guard::Guard;
use atlas_http::Ledger;
use atlas_inference::{Inference, ProviderState};
use atlas_retrieval::{Options, Retrieval, VectorKind};
use atlas_store::StoreError;
use tokio_util::sync::CancellationToken;

pub use crate::app::App;
use crate::auth::{AdminToken, operator_scope};
use crate::diagnose::profiles;
use crate::plugs::records::Records;
use crate::plugs::{self, Plugged};
use crate::tenant_header::DEFAULT_TENANT;
use crate::token;
pub use crate::token::{TokenError, admin_token_path};

/// A verification counts for sixty seconds, so one may be lost.
const VERIFY_EVERY: Duration = Duration::from_secs(20);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory or the database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no usable admin token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The embedding engine cannot be loaded.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// A part of the start panicked.
    #[error("the server failed while it started; the log says where")]
    Panicked,
}

/// Opens everything with settings that do not change: for tests and commands that end.
pub async fn start(settings: Settings) -> Result<App, StartError> {
    start_live(Live::fixed(settings)).await
}

/// Opens everything and follows the settings. A provider that cannot work does not keep the
/// server from starting: search works without it, and the status says what is wrong.
pub async fn start_live(live: Live) -> Result<App, StartError> {
    let snapshot = live.snapshot();
    let settings = &snapshot.settings;
    warn(&live);
    let ledger = Arc::new(Ledger::default());
    let (snapshot_of_store, ledger_of_store) = (Arc::clone(&snapshot), Arc::clone(&ledger));
    // Opening reads the disk, and the token file lies in the directory that opening creates.
    let opened = tokio::task::spawn_blocking(move || -> Result<_, StoreError> {
        let records = Records::open(&snapshot_of_store.settings, ledger_of_store)?;
        records.store.create_tenant(&DEFAULT_TENANT.parse().expect("a constant that is a tenant id"))?;
        Ok(records)
    });
    let plugged = async {
        let plugged = Plugged::make(Arc::clone(&snapshot), Arc::clone(&ledger)).await;
        let plugged = plugged.ok_or(StartError::Panicked)?;
        let embedding = plugs::embedding::load(settings, &plugged.ground).await;
        Ok::<_, StartError>((plugged, embedding))
    };
    let (opened, plugged) = tokio::join!(opened, plugged);
    let (plugged, embedding) = plugged?;
    let records = Arc::new(opened.map_err(|_| StartError::Panicked)??);
    let embedding = match embedding {
        // A provider that is down must not keep the server from starting at night.
        Err(error) if plugs::embedding::is_outside(&error) => {
            tracing::warn!(%error, "search is by keywords only until the next start");
            Embedding::KeywordsOnly
        }
        loaded => loaded?,
    };
    let secret = token::admin_token(settings)?;

    let guard = Arc::new(Guard::new());
    let options = Options {
        index_dir: Some(records.index_dir.clone()),
        vector_index: match settings.vector_index {
            VectorIndexChoice::Auto => VectorKind::Auto,
            VectorIndexChoice::Flat => VectorKind::Flat,
            VectorIndexChoice::Hnsw => VectorKind::Hnsw,
            VectorIndexChoice::HnswRs => VectorKind::HnswRs,
        },
        ..Options::default()
    };
    let store = Arc::clone(&records.store);
    let retrieval = Retrieval::open(store, embedding.clone(), Arc::clone(&guard), options);
    let inference = Arc::new(Inference::new(guard));
    inference.restore_profiles(profiles::load(&settings.data_dir));
    let features = Arc::new(Features::new(Arc::clone(&retrieval), Arc::clone(&inference)));
    let app = App {
        token: AdminToken::new(&secret),
        live,
        ledger,
        embedding: Arc::new(ArcSwap::from_pointee(embedding)),
        retrieval,
        features,
        inference,
        control_plane: Arc::new(ArcSwapOption::empty()),
        tests: Arc::default(),
        records,
        secret: Arc::new(ArcSwap::from_pointee(secret)),
        stopping: CancellationToken::new(),
    };
    if let ProviderState::Misconfigured(error) = &plugged.plugs.provider {
        tracing::warn!(%error, "AI answers are off until the settings are corrected");
    }
    app.put_to_work(plugged);
    follow(&app);
    Ok(app)
}

/// Puts every later snapshot to work, and keeps the control plane verified where it may be called.
fn follow(app: &App) {
    let following = app.clone();
    let prepare = move |candidate: Arc<Snapshot>| {
        let app = following.clone();
        async move {
            let plugged = Plugged::make(Arc::clone(&candidate), Arc::clone(&app.ledger)).await;
            let plugged = plugged.ok_or("the settings could not be prepared; the log says why".to_owned())?;
            if let Some(refusal) = plugged.refusal() {
                return Err(refusal);
            }
            let (before, after) = (app.snapshot(), Arc::clone(&candidate));
            // An unset token after a set one would open the door to who can read the old file.
            let secret = tokio::task::spawn_blocking(move || token::admin_token(&after.settings)).await;
            let secret = secret.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            if plugs::embedding::changed(&before.settings, &candidate.settings) {
                let embedding = plugs::embedding::load(&candidate.settings, &plugged.ground).await;
                let embedding = embedding.map_err(|error| error.to_string())?;
                let replaced = app.retrieval.replace_embedder(embedding.clone()).await;
                replaced.map_err(|error| error.to_string())?;
                app.embedding.store(Arc::new(embedding));
                tokio::spawn(turn_every_tenant(app.clone()));
            }
            // From here on nothing can fail.
            app.token.replace(&secret);
            app.secret.store(Arc::new(secret));
            app.put_to_work(plugged);
            Ok(())
        }
    };
    drop(app.live.watch(prepare, app.stopping.clone()));
    let verifying = app.clone();
    tokio::spawn(async move {
        let mut rhythm = tokio::time::interval(VERIFY_EVERY);
        loop {
            tokio::select! {
                () = verifying.stopping.cancelled() => return,
                _ = rhythm.tick() => verifying.verify_control_plane().await,
            }
        }
    });
}

/// After another engine came: one tenant after the other is opened, so that its vectors are made
/// while the engine before can still be asked. What a tenant has already is left alone.
async fn turn_every_tenant(app: App) {
    let tenants = match app.retrieval.read(|store| store.tenants()).await {
        Ok(tenants) => tenants,
        Err(error) => {
            tracing::warn!(%error, "tenants turn to the new embedding engine when they are used");
            return;
        }
    };
    for tenant in tenants {
        let scope = operator_scope(tenant);
        tokio::select! {
            () = app.stopping.cancelled() => return,
            settled = app.retrieval.settled(&scope) => if let Err(error) = settled {
                tracing::warn!(tenant = %scope.tenant(), %error, "vectors for the new embedding engine are missing");
            },
        }
    }
}

fn warn(live: &Live) {
    let status = live.status();
    for name in &status.unknown {
        tracing::warn!(name, "there is no such setting; is it misspelt?");
    }
    for warning in &status.warnings {
        tracing::warn!("{warning}");
    }
}

/// Loads the embedding engine that the settings name, for commands that need nothing else.
pub async fn load_embedding(settings: &Settings) -> Result<Embedding, StartError> {
    let snapshot = Live::fixed(settings.clone()).snapshot();
    let plugged = Plugged::make(snapshot, Arc::default()).await.ok_or(StartError::Panicked)?;
    Ok(plugs::embedding::load(settings, &plugged.ground).await?)
}
