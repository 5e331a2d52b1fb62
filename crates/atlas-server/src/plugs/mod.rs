//! From one snapshot of the settings to what works with them.
//!
//! Everything a snapshot implies is made before any of it is put to work: key, endpoint, model
//! and certificates change together or not at all. Making it opens no connection, so a change
//! takes effect as fast as it is read, also with a provider that is down.

mod aws;
pub(crate) mod embedding;
mod network;
mod provider;
pub(crate) mod records;

use std::sync::Arc;

use atlas_config::{Refusal, Settings, Snapshot};
use atlas_domain::ProviderError;
use atlas_http::Ledger;
use atlas_inference::{ControlPlane, Fallback, Plane, Plugs, ProviderState};
use atlas_providers::Catalog;

use network::Network;

/// Settings that decide whether something is permitted, rather than how it is done: a change of
/// them takes effect also where it leaves the server without AI.
const PERMISSIONS: [&str; 2] = ["ATLASAI_PLAN", "TP_DEPLOYMENT"];

/// What everything outside this process is called with.
pub(crate) struct Ground {
    network: Network,
    catalog: Arc<Catalog>,
}

impl Ground {
    fn new(settings: &Settings, ledger: Arc<Ledger>) -> Result<Self, ProviderError> {
        let catalog = Arc::new(catalog(settings)?);
        Ok(Self { network: Network::new(&settings.network, ledger)?, catalog })
    }
}

/// What a snapshot implies, ready to be put to work.
pub(crate) struct Plugged {
    /// For the inference path.
    pub(crate) plugs: Plugs,
    /// The control plane, where it may be called at all.
    pub(crate) control_plane: Option<Arc<ControlPlane>>,
    /// What it stands on; the embedding engine stands on the same.
    pub(crate) ground: Result<Ground, ProviderError>,
}

impl Plugged {
    /// Makes it. What cannot work is part of the result: the server runs without it and says why.
    /// Off the async workers, because the system's certificates are files, and understanding them
    /// takes a while. `None` when that panicked.
    pub(crate) async fn make(snapshot: Arc<Snapshot>, ledger: Arc<Ledger>) -> Option<Self> {
        tokio::task::spawn_blocking(move || Self::new(&snapshot, ledger)).await.ok()
    }

    fn new(snapshot: &Snapshot, ledger: Arc<Ledger>) -> Self {
        let settings = &snapshot.settings;
        let ground = match Ground::new(settings, ledger) {
            Ok(ground) => ground,
            Err(error) => {
                let plugs = Plugs::misconfigured(error.clone());
                return Self { plugs, control_plane: None, ground: Err(error) };
            }
        };
        let is_managed = provider::label(settings).is_none();
        let provider = provider::provider(settings, &ground);
        let control_plane = control_plane(settings, &ground, &provider, is_managed);
        let fallback = control_plane.as_ref().filter(|_| !is_managed).cloned().map(Fallback::new);
        let plugs = Plugs {
            provider,
            plane: if is_managed { Plane::ControlPlane } else { Plane::Byoc },
            default_model: provider::default_model(settings),
            models: provider::models(settings),
            fallback,
            generation: snapshot.generation,
        };
        Self { plugs, control_plane, ground: Ok(ground) }
    }

    /// Whether a running server should rather go on with what it has.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let ProviderState::Misconfigured(error) = &self.plugs.provider else { return None };
        let name = error.named_setting();
        if name.is_some_and(|name| PERMISSIONS.contains(&name)) {
            return None;
        }
        Some(Refusal { name: name.map(str::to_owned), reason: error.to_string() })
    }
}

/// The control plane as a thing that may be called: where it is the provider, and where the
/// operator allowed it to answer for a provider that is down. In every other case there is no
/// value, so nothing can be sent to it.
fn control_plane(
    settings: &Settings,
    ground: &Ground,
    provider: &ProviderState,
    is_managed: bool,
) -> Option<Arc<ControlPlane>> {
    let made = match provider {
        ProviderState::Ready(provider) if is_managed => Ok(Some(Arc::clone(provider))),
        _ if settings.control_plane.credits_fail_open && !is_managed => provider::managed(settings, ground),
        _ => return None,
    };
    let model = if is_managed { provider::default_model(settings) } else { String::new() };
    match made.and_then(|made| made.map(|provider| provider.connect(&model)).transpose()) {
        Ok(model) => model.map(|model| Arc::new(ControlPlane::new(model))),
        Err(error) => {
            tracing::warn!(%error, "the control plane will not answer for a provider that is down");
            None
        }
    }
}

/// The shipped facts about models, with the operator's own.
fn catalog(settings: &Settings) -> Result<Catalog, ProviderError> {
    let shipped = Catalog::shipped();
    let Some(file) = &settings.model_catalog else { return Ok(shipped) };
    let unusable = |reason: String| ProviderError::setting("TP_MODEL_CATALOG", reason);
    let text = std::str::from_utf8(&file.bytes).map_err(|_| unusable("the file is not UTF-8".to_owned()))?;
    shipped.overridden_by(text).map_err(|error| unusable(error.to_string()))
}
