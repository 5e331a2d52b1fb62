//! What was measured about models, kept beyond the snapshot that measured it.
//!
//! A profile belongs to a model at an address, not to the settings: a rotated key changes nothing
//! about what the model can do. The server writes the profiles to its data directory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use atlas_llm::{CapabilityProfile, ChatModel};
use serde::{Deserialize, Serialize};

/// A profile and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredProfile {
    /// The provider's label.
    pub provider: String,
    /// The host it was measured at.
    pub host: String,
    /// The model's name.
    pub model: String,
    /// What was measured.
    pub profile: CapabilityProfile,
}

impl StoredProfile {
    fn is_of(&self, model: &dyn ChatModel) -> bool {
        self.provider == model.provider()
            && self.model == model.model()
            && self.host == model.destination().host_name()
    }
}

/// The profiles; a handful at most, one for every model that was ever tested.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    stored: Mutex<Vec<StoredProfile>>,
}

impl Profiles {
    pub(crate) fn of(&self, model: &dyn ChatModel) -> Option<CapabilityProfile> {
        self.lock().iter().find(|stored| stored.is_of(model)).map(|stored| stored.profile.clone())
    }

    pub(crate) fn store(&self, model: &dyn ChatModel, profile: CapabilityProfile) {
        let mut stored = self.lock();
        stored.retain(|stored| !stored.is_of(model));
        stored.push(StoredProfile {
            provider: model.provider().to_owned(),
            host: model.destination().host_name().to_owned(),
            model: model.model().to_owned(),
            profile,
        });
    }

    pub(crate) fn all(&self) -> Vec<StoredProfile> {
        self.lock().clone()
    }

    pub(crate) fn replace(&self, profiles: Vec<StoredProfile>) {
        *self.lock() = profiles;
    }

    fn lock(&self) -> MutexGuard<'_, Vec<StoredProfile>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
