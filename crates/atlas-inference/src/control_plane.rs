//! The managed AI: whether it is there, and when it may answer.
//!
//! Sending an incident to the control plane is the customer's decision. Without it there is no
//! [`Fallback`] value, and so no code path to a second provider. With it, three things must still
//! hold: the customer's provider is down (not: said no), nothing of its answer was delivered, and
//! the control plane was verified a moment ago.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atlas_domain::{ProviderError, ProviderErrorKind};
use atlas_llm::ChatModel;
use tokio::time::{Instant, timeout};

use crate::job::Plane;
use crate::route::Route;

/// For how long a verification counts.
const VERIFIED_FOR: Duration = Duration::from_secs(60);
/// Half of the rhythm in which the server asks, so that two questions never overlap.
const VERIFY_LIMIT: Duration = Duration::from_secs(10);

/// AtlasAI's managed AI.
pub struct ControlPlane {
    route: Arc<Route>,
    verified: Mutex<Option<Instant>>,
}

impl ControlPlane {
    /// A control plane that is not verified yet.
    pub fn new(model: Arc<dyn ChatModel>) -> Self {
        let route = Arc::new(Route::new(model, Plane::ControlPlane, None));
        Self { route, verified: Mutex::new(None) }
    }

    /// Asks whether it is there and accepts our token, without generating anything. A failure
    /// does not undo an earlier success: that one still counts for its time.
    pub async fn verify(&self) -> Result<(), ProviderError> {
        let asked = timeout(VERIFY_LIMIT, self.route.model.inspect()).await;
        let said = asked.unwrap_or_else(|_| Err(ProviderError::timeout("verification")))?;
        // A provider may keep its list to itself; a control plane that does is not up.
        if !said.credentials_checked && said.model_listed.is_none() {
            return Err(ProviderError::new(ProviderErrorKind::Server, "it does not list its models"));
        }
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// Whether it was verified within the last 60 s.
    pub fn connected(&self) -> bool {
        let verified = *self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.is_some_and(|at| at.elapsed() <= VERIFIED_FOR)
    }
}

/// The permission to let the managed AI answer when the customer's provider is down
/// (`AI_CREDITS_FAIL_OPEN=1`).
#[derive(Clone)]
pub struct Fallback {
    control_plane: Arc<ControlPlane>,
}

impl Fallback {
    /// Make one only where the settings allow it in so many words.
    pub fn new(control_plane: Arc<ControlPlane>) -> Self {
        Self { control_plane }
    }

    /// The way there, while it is known to be there.
    pub(crate) fn route(&self) -> Option<&Arc<Route>> {
        self.control_plane.connected().then_some(&self.control_plane.route)
    }
}
