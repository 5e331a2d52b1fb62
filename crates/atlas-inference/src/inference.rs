//! The one handle, and what can be learnt from it without asking the provider.

use std::sync::Arc;

use arc_swap::ArcSwap;
use atlas_domain::Timestamp;
use atlas_guard::Guard;
use jiff::tz::TimeZone;
use tokio::sync::Semaphore;

use crate::audit::{Counters, Tally};
use crate::error::InferenceError;
use crate::job::Feature;
use crate::ladder::Testing;
use crate::profiles::{Profiles, StoredProfile};
use crate::report::{FeatureModel, Problem, Status};
use crate::route::{Limits, Route};
use crate::snapshot::{Plugs, ProviderState, Snapshot};

/// Jobs of features at once. A chat takes seconds to minutes, and a queue in front of it only
/// hides that.
const MOST_JOBS: usize = 16;
/// Requests of other tools at once: streams cost little, and those who open them have limits of
/// their own. They must not keep the features from their slots, nor the other way round.
const MOST_INBOUND: usize = 1024;

/// The way to the model. One for the whole process; settings change inside of it.
pub struct Inference {
    live: ArcSwap<Snapshot>,
    pub(crate) guard: Arc<Guard>,
    pub(crate) profiles: Profiles,
    pub(crate) tally: Arc<Tally>,
    pub(crate) testing: Testing,
    jobs: Arc<Semaphore>,
    inbound: Arc<Semaphore>,
}

impl Inference {
    /// A path to nothing yet; see [`Inference::apply`].
    pub fn new(guard: Arc<Guard>) -> Self {
        Self {
            live: ArcSwap::from_pointee(Snapshot::new(Plugs::not_configured())),
            guard,
            profiles: Profiles::default(),
            tally: Arc::default(),
            testing: Testing::default(),
            jobs: Arc::new(Semaphore::new(MOST_JOBS)),
            inbound: Arc::new(Semaphore::new(MOST_INBOUND)),
        }
    }

    /// Puts new settings to work, whole and at once. Jobs that run finish on the old ones; breaker,
    /// retry budget and routes begin anew.
    pub fn apply(&self, plugs: Plugs) {
        self.live.store(Arc::new(Snapshot::new(plugs)));
    }

    /// What the settings made of the provider.
    pub fn state(&self) -> ProviderState {
        self.snapshot().plugs.provider.clone()
    }

    /// Whether there is a provider to ask; what [`Inference::complete`] would say otherwise.
    pub fn ready(&self) -> Result<(), InferenceError> {
        self.snapshot().provider().map(drop)
    }

    /// The models that a job may name, the default first.
    pub fn models(&self) -> Vec<String> {
        self.snapshot().models().into_iter().map(str::to_owned).collect()
    }

    /// What a feature can count on with its model.
    pub fn limits(&self, feature: Feature) -> Result<Limits, InferenceError> {
        Ok(self.snapshot().route(feature, None, &self.profiles)?.limits())
    }

    /// How many calls ended how.
    pub fn counters(&self) -> Counters {
        self.tally.read()
    }

    /// What was measured so far, to be kept beyond this process.
    pub fn profiles(&self) -> Vec<StoredProfile> {
        self.profiles.all()
    }

    /// Takes up what an earlier process measured.
    pub fn restore_profiles(&self, profiles: Vec<StoredProfile>) {
        self.profiles.replace(profiles);
        self.snapshot().routes.clear();
    }

    /// What is known about the provider without asking it.
    pub fn status(&self) -> Status {
        let snapshot = self.snapshot();
        let (breaker, since) = snapshot.breaker.state();
        let seen = snapshot.seen();
        let (state, problem) = match &snapshot.plugs.provider {
            ProviderState::NotConfigured => ("not_configured", None),
            ProviderState::Misconfigured(error) => ("misconfigured", Some(Problem::of("", error))),
            ProviderState::Ready(_) => ("ready", None),
        };
        let served_by = snapshot.route(Feature::Test, None, &self.profiles).ok();
        let models = match &snapshot.plugs.provider {
            ProviderState::Ready(_) => {
                Feature::ROUTED.into_iter().map(|feature| self.model_of(&snapshot, feature)).collect()
            }
            ProviderState::NotConfigured | ProviderState::Misconfigured(_) => Vec::new(),
        };
        Status {
            state,
            problem,
            served_by: served_by.map(|route| route.served_by.clone()),
            breaker,
            since,
            last_success: seen.last_success,
            last_failure: seen.last_failure,
            models,
            fallback_allowed: snapshot.plugs.fallback.is_some(),
            generation: snapshot.plugs.generation,
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.live.load_full()
    }

    pub(crate) fn slots(&self, feature: Feature) -> &Arc<Semaphore> {
        if feature == Feature::Inbound { &self.inbound } else { &self.jobs }
    }

    fn model_of(&self, snapshot: &Snapshot, feature: Feature) -> FeatureModel {
        let model = snapshot.model_of(feature).to_owned();
        match snapshot.route(feature, None, &self.profiles) {
            Ok(route) => FeatureModel {
                feature,
                model,
                degraded: lacks(&route, feature),
                warnings: retirement(&route).into_iter().collect(),
                problem: None,
            },
            Err(error) => {
                let label = snapshot.provider().map_or("", |provider| provider.label());
                let problem = error.provider_error().map(|error| Problem::of(label, error));
                FeatureModel { feature, model, degraded: Vec::new(), warnings: Vec::new(), problem }
            }
        }
    }
}

/// What a feature wants and its model has not.
fn lacks(route: &Route, feature: Feature) -> Vec<&'static str> {
    let limits = route.limits();
    let mut lacks = Vec::new();
    if feature.wants_tools() && !limits.tools {
        lacks.push("tools");
    }
    if feature.wants_json_schema() && !limits.json_schema {
        lacks.push("json_schema");
    }
    lacks
}

/// What to know about the end of a route's model today.
pub(crate) fn retirement(route: &Route) -> Option<String> {
    route.facts.retirement(TimeZone::UTC.to_datetime(Timestamp::now()).date())
}
