//! Which model a job goes to, what that model can do, and what a request makes of it.
//!
//! A feature whose model lacks something gets an answer without it, and the answer says so. The
//! alternative, an error, would leave the engineer on call with nothing because of a model that
//! cannot call tools.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atlas_domain::{DestinationClass, ModelFacts, ProviderError};
use atlas_llm::{
    CapabilityProfile, ChatModel, ChatRequest, JsonSchema, Message, Output, Provider, ToolChoice,
};
use serde::Serialize;
use tokio::time::Instant;

use crate::job::{Plane, ServedBy};
use crate::profiles::Profiles;

/// How long a route is kept. Long enough to cost nothing, short enough that what a server learnt
/// about its model meanwhile is noticed; documented to users.
const KEPT_FOR: Duration = Duration::from_secs(5 * 60);
/// The longest prompt that the connection test tries, in tokens.
const LONGEST_PROBE: u64 = 12_000;

/// What a caller can count on with a model. What is not known is left open: facts guide requests,
/// they are no gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Tokens of prompt and answer together.
    pub context_tokens: Option<u64>,
    /// Most tokens of an answer.
    pub max_output_tokens: Option<u64>,
    /// Tools can be asked for; true also where nobody knows.
    pub tools: bool,
    /// A schema is kept to; true also where nobody knows.
    pub json_schema: bool,
}

/// A model with what is known about it.
pub(crate) struct Route {
    pub(crate) model: Arc<dyn ChatModel>,
    pub(crate) served_by: ServedBy,
    /// What was measured stands before what is told.
    pub(crate) facts: ModelFacts,
    measured_no_schema: bool,
}

impl Route {
    pub(crate) fn new(model: Arc<dyn ChatModel>, plane: Plane, profile: Option<CapabilityProfile>) -> Self {
        let mut facts = model.facts().clone();
        let profile = profile.unwrap_or_default();
        facts.tools = profile.tools.or(facts.tools);
        facts.json_schema = profile.json_schema.or(facts.json_schema);
        facts.context_tokens = match (facts.context_tokens, profile.context_tokens) {
            // The test tries a part of a large context: a passed test of 12,000 tokens says
            // nothing against 128,000. Less than it would have tried says that it was cut.
            (Some(told), Some(measured)) if !was_cut(measured, probe_tokens(Some(told))) => Some(told),
            (told, measured) => measured.or(told),
        };
        let destination = model.destination();
        let served_by = ServedBy {
            plane,
            provider: model.provider().to_owned(),
            model: model.model().to_owned(),
            host: destination.host_name().to_owned(),
            destination: class_name(destination.class()).to_owned(),
        };
        Self { measured_no_schema: profile.json_schema == Some(false), model, served_by, facts }
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            context_tokens: self.facts.context_tokens,
            max_output_tokens: self.facts.max_output_tokens,
            tools: self.facts.tools != Some(false),
            json_schema: self.facts.json_schema != Some(false),
        }
    }

    /// Takes out of a request what the model cannot do, and names it.
    pub(crate) fn fit(&self, request: &mut ChatRequest) -> Vec<&'static str> {
        let limits = self.limits();
        let mut degraded = Vec::new();
        if !limits.tools && !request.tools.is_empty() {
            request.tools.clear();
            request.tool_choice = ToolChoice::Auto;
            request.parallel_tool_calls = None;
            degraded.push("tools");
        }
        if !limits.json_schema
            && let Output::Schema(schema) = &request.output
        {
            let words = schema_in_words(schema);
            // A model that is only said not to know schemas is left to its provider, which may
            // have a way of its own; one that was seen to break them is asked for plain JSON.
            if self.measured_no_schema {
                request.output = Output::Json;
            }
            let after_system = request.messages.iter().take_while(|turn| matches!(turn, Message::System(_)));
            let at = after_system.count();
            request.messages.insert(at, Message::System(words));
            degraded.push("json_schema");
        }
        degraded
    }
}

fn schema_in_words(schema: &JsonSchema) -> String {
    format!("Answer with one JSON object of this JSON Schema and nothing else:\n{}", schema.schema)
}

/// How long a prompt the connection test tries with a context of this size.
pub(crate) fn probe_tokens(context_tokens: Option<u64>) -> u64 {
    // Our count is a guess from the length; six tenths leave room for it and for the answer.
    context_tokens.map_or(LONGEST_PROBE, |context| (context.saturating_mul(6) / 10).min(LONGEST_PROBE))
}

/// Whether a prompt was cut on its way to the model. Tokenisers differ by less than a quarter, and
/// a server that cuts, cuts to a power of two.
pub(crate) fn was_cut(counted_tokens: u64, sent_tokens: u64) -> bool {
    counted_tokens < sent_tokens / 4 * 3
}

fn class_name(class: DestinationClass) -> &'static str {
    match class {
        DestinationClass::InProcess => "in_process",
        DestinationClass::Loopback => "loopback",
        DestinationClass::Private => "private",
        DestinationClass::VendorCloud => "vendor_cloud",
        DestinationClass::Public => "public",
    }
}

/// The routes of one snapshot, by the model's name.
#[derive(Default)]
pub(crate) struct Routes {
    kept: Mutex<HashMap<String, (Instant, Arc<Route>)>>,
}

impl Routes {
    /// The route that is kept, or a new one.
    pub(crate) fn resolve(
        &self,
        provider: &dyn Provider,
        model: &str,
        plane: Plane,
        profiles: &Profiles,
    ) -> Result<Arc<Route>, ProviderError> {
        let now = Instant::now();
        // Held while the route is made: connecting opens no connection, and a profile that is
        // stored meanwhile finds the route here to be dropped.
        let mut kept = self.lock();
        if let Some((made_at, route)) = kept.get(model)
            && now.duration_since(*made_at) < KEPT_FOR
        {
            return Ok(Arc::clone(route));
        }
        let connected = provider.connect(model)?;
        let profile = profiles.of(connected.as_ref());
        let route = Arc::new(Route::new(connected, plane, profile));
        kept.insert(model.to_owned(), (now, Arc::clone(&route)));
        Ok(route)
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Arc<Route>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
