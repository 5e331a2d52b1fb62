//! What to do about a provider's refusal, for the connection test: our words, never the provider's.

use atlas_llm::{ProviderError, ProviderErrorKind as Kind};

/// What whoever set the provider up should look at. `label` is the value of `BYOC_PROVIDER`.
pub fn hint(label: &str, error: &ProviderError) -> &'static str {
    match (label, error.kind()) {
        ("azure", Kind::NotFound) => {
            "BYOC_MODEL must be the deployment's name, not the model's name; also check the path of BYOC_ENDPOINT_URL and BYOC_AZURE_API_VERSION."
        }
        ("azure", Kind::Forbidden) => {
            "The resource's network rules or its private endpoint keep this address out: check that its name resolves to the private address here."
        }
        ("azure", Kind::Credentials) => {
            "Check BYOC_API_KEY, and that BYOC_ENDPOINT_URL is the resource the key belongs to; an Entra identity needs the role Cognitive Services OpenAI User."
        }
        ("ollama", Kind::NotFound) => {
            "The model is not on this server: run `ollama pull` there, or correct BYOC_MODEL."
        }
        ("bedrock", Kind::Credentials) => {
            "Check the access keys or the role, and that this machine's clock is right."
        }
        ("bedrock", Kind::Forbidden) => {
            "The identity needs bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream on this model, and the account access to it in this region."
        }
        ("bedrock", Kind::NotFound | Kind::BadRequest) => {
            "Check BYOC_MODEL and BYOC_REGION; newer models are called by the id of an inference profile, such as us.<model>."
        }
        ("control_plane", Kind::Credentials | Kind::Forbidden) => "Check CP_TOKEN.",
        ("control_plane", Kind::NotFound) => "Check the path of CP_ENDPOINT_URL.",
        (_, Kind::Credentials) => "Check BYOC_API_KEY.",
        (_, Kind::Forbidden) => {
            "The key is known and may not do this: check its permissions, project or organization (BYOC_API_KEY_ORG), and the account's region."
        }
        (_, Kind::NotFound) => "Check BYOC_MODEL, and the path of BYOC_ENDPOINT_URL.",
        (_, Kind::BadRequest) => {
            "The server refused the request; the log has its words. Check that BYOC_PROVIDER is what runs there, and that the model can do what was asked."
        }
        (_, Kind::PromptTooLong) => {
            "The model's context is smaller than the prompt: choose a model with a larger one."
        }
        (_, Kind::ContentFilter) => {
            "The provider's content filter refused the test's prompt: check its settings there."
        }
        (_, Kind::Throttled) => "The account's rate limit is reached: wait, or raise it with the provider.",
        (_, Kind::Quota) => "The account has no credit or is over its spending limit: check its billing.",
        (_, Kind::Conflict | Kind::Overloaded | Kind::Server) => {
            "The provider's side failed: try again, and look at its status page or at the server's own log."
        }
        (_, Kind::Network) => {
            "Check BYOC_ENDPOINT_URL and the way there: DNS, routes, firewalls, proxy, certificates."
        }
        (_, Kind::Timeout) => {
            "The server is reachable and slow: it may be loading the model. Try again, or raise BYOC_FIRST_TOKEN_TIMEOUT."
        }
        (_, Kind::Egress) => "The egress policy forbids this address: check BYOC_ENDPOINT_URL.",
        (_, Kind::CutShort) => {
            "The answer broke off: check the time limits of proxies and load balancers on the way, and the server's log."
        }
        (_, Kind::Protocol) => {
            "What answers there is not this provider: check BYOC_PROVIDER and BYOC_ENDPOINT_URL."
        }
        (_, Kind::Settings) => "Correct the setting that the error names.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn azure_is_told_what_its_model_setting_means() {
        let hint = hint("azure", &ProviderError::new(Kind::NotFound, "x"));
        assert!(hint.contains("deployment's name"), "{hint}");
    }

    #[test]
    fn every_failure_of_every_label_has_a_hint() {
        for label in crate::labels().chain([crate::CONTROL_PLANE_LABEL]) {
            for kind in Kind::ALL {
                assert!(hint(label, &ProviderError::new(kind, "x")).ends_with('.'), "{label} {kind:?}");
            }
        }
    }
}
