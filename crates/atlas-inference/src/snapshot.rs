//! What the settings made of the AI, as one value that is replaced whole.
//!
//! Everything that belongs to one provider at one address lives and dies with its snapshot: the
//! breaker and the retry budget must not judge a new provider by the failures of the old one, and
//! a route must not join the key of one snapshot with the endpoint of another. A job keeps the
//! snapshot it began with until it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use atlas_domain::{ProviderError, Timestamp};
use atlas_llm::Provider;

use crate::breaker::Breaker;
use crate::control_plane::Fallback;
use crate::error::InferenceError;
use crate::job::{Feature, Plane};
use crate::profiles::Profiles;
use crate::report::Failure;
use crate::retry::Budget;
use crate::route::{Route, Routes};

/// What the settings made of the provider.
#[derive(Clone)]
pub enum ProviderState {
    /// Nothing is set: the product works without.
    NotConfigured,
    /// Something is set and cannot work.
    Misconfigured(ProviderError),
    /// The one provider.
    Ready(Arc<dyn Provider>),
}

/// What [`crate::Inference::apply`] puts to work.
#[derive(Clone)]
pub struct Plugs {
    /// The provider.
    pub provider: ProviderState,
    /// Whose it is: the customer's, or AtlasAI's managed AI where no other is set.
    pub plane: Plane,
    /// The model of every feature that has none of its own (`BYOC_MODEL`).
    pub default_model: String,
    /// Models of single features (`BYOC_MODEL_RCA` and the like).
    pub models: BTreeMap<Feature, String>,
    /// Who answers when the provider is down. Strict mode is `None`: there is no second provider.
    pub fallback: Option<Fallback>,
    /// The number of the settings this was made from.
    pub generation: u64,
}

impl Plugs {
    /// Nothing is set.
    pub fn not_configured() -> Self {
        Self {
            provider: ProviderState::NotConfigured,
            plane: Plane::Byoc,
            default_model: String::new(),
            models: BTreeMap::new(),
            fallback: None,
            generation: 0,
        }
    }

    /// Something is set and cannot work.
    pub fn misconfigured(error: ProviderError) -> Self {
        Self { provider: ProviderState::Misconfigured(error), ..Self::not_configured() }
    }

    /// The customer's provider, with one model for everything and no fallback.
    pub fn ready(provider: Arc<dyn Provider>, default_model: impl Into<String>) -> Self {
        Self {
            provider: ProviderState::Ready(provider),
            default_model: default_model.into(),
            ..Self::not_configured()
        }
    }
}

/// The last outcomes with one provider.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) last_success: Option<Timestamp>,
    pub(crate) last_failure: Option<Failure>,
}

pub(crate) struct Snapshot {
    pub(crate) plugs: Plugs,
    pub(crate) breaker: Arc<Breaker>,
    pub(crate) budget: Budget,
    pub(crate) routes: Routes,
    seen: Mutex<Seen>,
}

impl Snapshot {
    pub(crate) fn new(plugs: Plugs) -> Self {
        let (breaker, budget) = (Arc::new(Breaker::new()), Budget::new());
        Self { plugs, breaker, budget, routes: Routes::default(), seen: Mutex::default() }
    }

    pub(crate) fn provider(&self) -> Result<&Arc<dyn Provider>, InferenceError> {
        match &self.plugs.provider {
            ProviderState::NotConfigured => Err(InferenceError::NotConfigured),
            ProviderState::Misconfigured(error) => Err(InferenceError::Refused { source: error.clone() }),
            ProviderState::Ready(provider) => Ok(provider),
        }
    }

    /// The name of a feature's model.
    pub(crate) fn model_of(&self, feature: Feature) -> &str {
        self.plugs.models.get(&feature).unwrap_or(&self.plugs.default_model)
    }

    /// The names of all configured models, the default first.
    pub(crate) fn models(&self) -> Vec<&str> {
        let mut models = Vec::new();
        for model in std::iter::once(&self.plugs.default_model).chain(self.plugs.models.values()) {
            if !model.is_empty() && !models.contains(&model.as_str()) {
                models.push(model.as_str());
            }
        }
        models
    }

    /// The way to a feature's model, or to a configured one that the job names.
    pub(crate) fn route(
        &self,
        feature: Feature,
        named: Option<&str>,
        profiles: &Profiles,
    ) -> Result<Arc<Route>, InferenceError> {
        let provider = self.provider()?;
        let model = match named {
            None => self.model_of(feature),
            Some(name) if self.models().contains(&name) => name,
            Some(name) => {
                let known = self.models().into_iter().map(str::to_owned).collect();
                return Err(InferenceError::UnknownModel { model: name.to_owned(), known });
            }
        };
        let route = self.routes.resolve(provider.as_ref(), model, self.plugs.plane, profiles);
        route.map_err(|source| InferenceError::Refused { source })
    }

    /// Keeps the outcome of a call for the status.
    pub(crate) fn remember(&self, failure: Option<&'static str>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            None => seen.last_success = Some(Timestamp::now()),
            Some(code) => seen.last_failure = Some(Failure { at: Timestamp::now(), code }),
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
