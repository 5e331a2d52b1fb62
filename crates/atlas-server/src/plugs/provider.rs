//! From settings to the chat provider, the managed AI, and who may fall back to whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use atlas_config::{ApiChoice, Deployment, Settings};
use atlas_domain::ProviderError;
use atlas_inference::{Feature, ProviderState};
use atlas_llm::Provider;
use atlas_providers::{Catalog, Options, Origins, TimeLimits};

use super::Ground;

/// Plans that may bring their own AI.
const BYOC_PLANS: [&str; 2] = ["operations", "enterprise"];

/// The chat provider that the settings name. Without `BYOC_PROVIDER` it is AtlasAI's managed AI
/// where there is a control plane and the deployment allows it.
pub(super) fn provider(settings: &Settings, ground: &Ground) -> ProviderState {
    let made = match label(settings) {
        Some(label) => own(label, settings, ground).map(Some),
        None => managed(settings, ground),
    };
    match made {
        Ok(Some(provider)) => ProviderState::Ready(provider),
        Ok(None) => ProviderState::NotConfigured,
        Err(error) => ProviderState::Misconfigured(error),
    }
}

/// The provider that is asked for: `BYOC_PROVIDER`, or Bedrock where only its task role is set.
/// `None`: the managed AI.
pub(super) fn label(settings: &Settings) -> Option<&str> {
    let byoc = &settings.byoc;
    byoc.provider.as_deref().or(byoc.bedrock.use_task_role.then_some("bedrock"))
}

fn own(label: &str, settings: &Settings, ground: &Ground) -> Result<Arc<dyn Provider>, ProviderError> {
    let plan = settings.control_plane.plan.as_str();
    if !BYOC_PLANS.contains(&plan) {
        return Err(ProviderError::setting(
            "ATLASAI_PLAN",
            format!(
                "the plan {plan:?} does not include a provider of one's own; the plans operations and enterprise do"
            ),
        ));
    }
    let options = options(settings, &ground.catalog);
    let sockets = ground.network.sockets(atlas_providers::origins(label, &options)?)?;
    atlas_providers::provider(label, options, sockets)
}

/// AtlasAI's managed AI, through the control plane.
pub(super) fn managed(
    settings: &Settings,
    ground: &Ground,
) -> Result<Option<Arc<dyn Provider>>, ProviderError> {
    let Some(endpoint) = &settings.control_plane.endpoint else { return Ok(None) };
    if settings.deployment != Deployment::Cloud {
        return Err(ProviderError::setting(
            "TP_DEPLOYMENT",
            "an on-premises or air-gapped deployment does not use AtlasAI's managed AI; set BYOC_PROVIDER to a \
             provider of your own, or remove CP_ENDPOINT_URL",
        ));
    }
    let options =
        Options { catalog: Arc::clone(&ground.catalog), limits: limits(settings), ..Options::default() };
    let origin = atlas_http::Origin::of(endpoint)
        .map_err(|error| ProviderError::setting("CP_ENDPOINT_URL", error.to_string()))?;
    let sockets = ground.network.sockets(Origins::only(origin))?;
    let token = settings.control_plane.token.clone();
    atlas_providers::control_plane(endpoint.clone(), token, options, sockets).map(Some)
}

fn limits(settings: &Settings) -> TimeLimits {
    TimeLimits {
        first_token: settings.network.first_token_timeout,
        idle: Some(settings.network.idle_timeout),
        total: Some(settings.network.request_timeout),
    }
}

fn options(settings: &Settings, catalog: &Arc<Catalog>) -> Options {
    let byoc = &settings.byoc;
    Options {
        endpoint_url: byoc.endpoint.as_ref().map(|url| url.as_str().to_owned()),
        api_key: byoc.api_key.clone(),
        auth_header: byoc.auth_header.clone(),
        organization: byoc.organisation.clone(),
        api: match byoc.api {
            ApiChoice::Auto => atlas_providers::ApiChoice::Auto,
            ApiChoice::Chat => atlas_providers::ApiChoice::Chat,
            ApiChoice::Responses => atlas_providers::ApiChoice::Responses,
        },
        azure_api_version: byoc.azure_api_version.clone(),
        context_tokens: byoc.context_tokens,
        limits: limits(settings),
        catalog: Arc::clone(catalog),
        aws: super::aws::identity(settings, byoc.region.as_ref()),
    }
}

/// The model of requests that are no feature's: `BYOC_MODEL`, and on Bedrock with the task role
/// `TP_BEDROCK_MODEL_ID`.
pub(super) fn default_model(settings: &Settings) -> String {
    let byoc = &settings.byoc;
    let bedrock =
        byoc.bedrock.model_id.as_ref().filter(|_| byoc.bedrock.use_task_role || byoc.model.is_none());
    let model = match label(settings) {
        Some("bedrock") => bedrock.or(byoc.model.as_ref()),
        _ => byoc.model.as_ref(),
    };
    model.cloned().unwrap_or_default()
}

/// The models of single features, where they are set.
pub(super) fn models(settings: &Settings) -> BTreeMap<Feature, String> {
    let own = &settings.byoc.models;
    [
        (Feature::Rca, &own.rca),
        (Feature::Runbook, &own.runbook),
        (Feature::Copilot, &own.copilot),
        (Feature::Search, &own.search),
    ]
    .into_iter()
    .filter_map(|(feature, model)| Some((feature, model.clone()?)))
    // The settings repeat BYOC_MODEL here, which need not be the default: see above.
    .filter(|(_, model)| Some(model) != settings.byoc.model.as_ref())
    .collect()
}
