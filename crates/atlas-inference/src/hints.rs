//! What an error means for the person who can do something about it.

use atlas_domain::{ProviderError, ProviderErrorKind as Kind};

/// What to check or do about an error.
pub fn hint(error: &ProviderError) -> &'static str {
    match error.kind() {
        Kind::Credentials => {
            "Check BYOC_API_KEY: it may be mistyped, revoked, or of another provider than BYOC_ENDPOINT_URL."
        }
        Kind::Forbidden => {
            "The key works but may not use this model or endpoint. Check its permissions, project and region."
        }
        Kind::NotFound => {
            "Check BYOC_MODEL against the provider's list of models, and the path of BYOC_ENDPOINT_URL."
        }
        Kind::BadRequest => {
            "Check that BYOC_MODEL is a chat model. If it is, the log has the provider's reason; please report it."
        }
        Kind::PromptTooLong => {
            "Ask about less at once, or use a model or server setting with a larger context window."
        }
        Kind::ContentFilter => "Rephrase the request, or review the provider's content filter settings.",
        Kind::Throttled => "Wait a little. If this persists, raise the account's rate limit.",
        Kind::Quota => "Check the account's billing and spend limits; waiting does not help.",
        Kind::Conflict => {
            "Try again: the provider was busy with another request that conflicts with this one."
        }
        Kind::Overloaded => "Wait a little. A server of your own may still be loading the model.",
        Kind::Server => "Look at the provider's status page, or at the log of your own server.",
        Kind::Network => {
            "Check the host and port of BYOC_ENDPOINT_URL, that the server runs, DNS, firewalls and certificates."
        }
        Kind::Timeout => {
            "The server accepts calls and does not answer in time: it may be loading the model, or a firewall drops packets."
        }
        Kind::Egress => {
            "The egress policy forbids this destination. Check BYOC_ENDPOINT_URL and where its name resolves to."
        }
        Kind::CutShort => {
            "The connection broke in the middle. Check time limits of proxies between here and the provider."
        }
        Kind::Protocol => {
            "Something else than the API of BYOC_PROVIDER answers there. Check BYOC_PROVIDER and the path of BYOC_ENDPOINT_URL."
        }
        Kind::Settings => "Correct the named setting.",
    }
}

/// What to check or do about an error of this provider: some have their own word for a thing.
pub fn hint_for(provider: &str, error: &ProviderError) -> &'static str {
    match (provider, error.kind()) {
        ("azure", Kind::Forbidden) => {
            "The resource's network rules or its private endpoint keep this address out: check that its name resolves to the private address here."
        }
        ("azure", Kind::Credentials) => {
            "Check BYOC_API_KEY, and that BYOC_ENDPOINT_URL is the resource the key belongs to; an Entra identity needs the role Cognitive Services OpenAI User."
        }
        ("azure", Kind::NotFound) => {
            "BYOC_MODEL must be the deployment name chosen in Azure, not the model's name. Check it, and the resource in BYOC_ENDPOINT_URL."
        }
        ("bedrock", Kind::NotFound) => {
            "Check the model id or inference profile, and that the model is offered in the configured region."
        }
        ("bedrock", Kind::Credentials) => {
            "Check the access keys or the role of this process, and the clock of this machine: signatures are valid for minutes."
        }
        ("bedrock", Kind::Forbidden) => {
            "The identity needs bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream for this model, and model access must be enabled in this region."
        }
        ("ollama", Kind::NotFound) => {
            "The model is not on the server: pull it there, or correct BYOC_MODEL (`ollama list`)."
        }
        ("bedrock", Kind::BadRequest) => {
            "Check BYOC_MODEL and BYOC_REGION; newer models are called by the id of an inference profile, such as us.<model>."
        }
        ("control_plane", Kind::Credentials | Kind::Forbidden) => "Check CP_TOKEN.",
        ("control_plane", Kind::NotFound) => "Check the path of CP_ENDPOINT_URL.",
        _ => hint(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_every_provider_has_a_hint() {
        for provider in ["openai", "azure", "anthropic", "bedrock", "ollama", "vllm", "tgi", "control_plane"]
        {
            for kind in Kind::ALL {
                let hint = hint_for(provider, &ProviderError::new(kind, "x"));
                assert!(hint.contains('.'), "{provider} {kind:?}: {hint}");
            }
        }
    }

    #[test]
    fn azure_is_told_what_its_model_setting_means() {
        let hint = hint_for("azure", &ProviderError::new(Kind::NotFound, "x"));
        assert!(hint.contains("deployment name"), "{hint}");
    }
}
