//! The settings, checked.

use std::time::Duration;

use atlas_aws::{AwsIdentityOptions, RuntimeEndpoint, credential_origins};
use atlas_domain::ProviderError;
use atlas_http::Limits;
use atlas_vendor::ModelFamily;

use crate::Origins;
use crate::options::{RemoteOptions, filled};
use crate::remote::{Known, ours};

/// Vectors take a second at most.
pub(super) const LIMITS: Limits = Limits {
    first_token: Duration::from_secs(60),
    idle: Duration::from_secs(30),
    total: Some(Duration::from_secs(120)),
};
/// Texts that are sent side by side to a family of one text per request. `remote` has four
/// batches under way, so eight requests are: what the service's own documentation suggests.
const SIDE_BY_SIDE: usize = 2;
/// Texts per request of Cohere.
const COHERE_TEXTS: usize = 96;

/// Families by what their bodies look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    TitanV1,
    TitanV2,
    CohereV3,
    CohereV4,
}

impl Family {
    /// By the model's name, also inside of a profile's name or an ARN.
    fn of(model: &str) -> Option<Self> {
        let named = |part: &str| model.contains(part);
        if named("titan-embed-text-v2") {
            Some(Self::TitanV2)
        } else if named("titan-embed-text-v1") || named("titan-embed-g1") {
            Some(Self::TitanV1)
        } else if named("cohere.embed-v4") {
            Some(Self::CohereV4)
        } else if named("cohere.embed-english-v3") || named("cohere.embed-multilingual-v3") {
            Some(Self::CohereV3)
        } else {
            None
        }
    }
}

/// One model of one account in one region.
pub(super) struct Target {
    pub(super) endpoint: RuntimeEndpoint,
    pub(super) aws: AwsIdentityOptions,
    pub(super) family: Family,
    pub(super) known: Known,
}

impl Target {
    pub(super) fn new(options: &RemoteOptions) -> Result<Self, ProviderError> {
        let aws = aws(options);
        let model = filled(options.model.as_ref()).ok_or_else(|| {
            ProviderError::setting("EMBEDDING_MODEL", "it is not set; such as amazon.titan-embed-text-v2:0")
        })?;
        let family = Family::of(model).ok_or_else(|| {
            ProviderError::setting(
                "EMBEDDING_MODEL",
                "its name shows none of the embedding models that are known here: Titan Text v1 and v2, Cohere v3 and v4",
            )
        })?;
        let entry = options.catalog.find(ModelFamily::Bedrock, model);
        let facts = entry.map(|entry| entry.embedding.clone()).unwrap_or_default();
        let mut known = Known::new(super::PLUG.label, model, options.dimensions, &facts)?;
        known.texts = match family {
            Family::TitanV1 | Family::TitanV2 => SIDE_BY_SIDE,
            Family::CohereV3 | Family::CohereV4 => COHERE_TEXTS,
        };
        Ok(Self { endpoint: endpoint(&aws, options)?, aws, family, known })
    }
}

pub(super) fn origins(options: &RemoteOptions) -> Result<Origins, ProviderError> {
    let aws = aws(options);
    let credentials = credential_origins(&aws)?;
    let mut calls = vec![endpoint(&aws, options)?.origin().clone()];
    // STS is a service like any other: behind the proxy, by the settings' trust.
    calls.extend(credentials.services);
    Ok(Origins { calls, credentials: credentials.platform })
}

/// Chat's identity, in the region of embedding where that is another.
fn aws(options: &RemoteOptions) -> AwsIdentityOptions {
    let region = filled(options.region.as_ref()).map(str::to_owned);
    AwsIdentityOptions { region: region.or_else(|| options.aws.region.clone()), ..options.aws.clone() }
}

fn endpoint(aws: &AwsIdentityOptions, options: &RemoteOptions) -> Result<RuntimeEndpoint, ProviderError> {
    RuntimeEndpoint::new(aws.region.as_ref(), options.endpoint_url.as_ref(), aws.use_fips).map_err(ours)
}
