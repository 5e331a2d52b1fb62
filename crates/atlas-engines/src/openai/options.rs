//! The settings, checked.

use std::time::Duration;

use atlas_domain::ProviderError;
use atlas_http::{Limits, Origin, Url};
use atlas_vendor::{
    AzureAddress, Catalog, EmbeddingFacts, Endpoint, EndpointOptions, ModelFamily, OPENAI_BASE, from_http,
    is_openai, openai_base,
};

use crate::options::{RemoteOptions, filled};
use crate::remote::{Known, given, ours};
use crate::{Origins, Sockets};

const ENDPOINT: &str = "EMBEDDING_ENDPOINT_URL";
/// Vectors take a second at most; a server that loads a model first may take a minute.
const LIMITS: Limits = Limits {
    first_token: Duration::from_secs(60),
    idle: Duration::from_secs(30),
    total: Some(Duration::from_secs(120)),
};

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenAi,
    Azure,
    Compatible,
}

/// One model at one address.
pub(super) struct Target {
    pub(super) dialect: Dialect,
    pub(super) endpoint: Endpoint,
    /// Below the endpoint's base.
    pub(super) operation: String,
    /// Whether the body names the model; Azure's classic URLs do so themselves.
    pub(super) names_model: bool,
    /// Components to ask for, where they are not the model's own.
    pub(super) dimensions: Option<usize>,
    /// Whether numbers come as base64: a quarter of the bytes, and no digits to read.
    pub(super) base64: bool,
    pub(super) known: Known,
}

/// The origin that a dialect calls with these options.
pub(super) fn origins(dialect: Dialect, options: &RemoteOptions) -> Result<Origins, ProviderError> {
    let (base, _) = address(dialect, options)?;
    let origin = Origin::of(&base).map_err(|error| ours(from_http(error)))?;
    Ok(Origins::only(origin))
}

impl Target {
    pub(super) fn new(
        dialect: Dialect,
        options: &RemoteOptions,
        sockets: Option<Sockets>,
    ) -> Result<Self, ProviderError> {
        let (base, azure) = address(dialect, options)?;
        let is_openai = is_openai(&base);
        let (model, mut facts) = model(dialect, options)?;
        if dialect == Dialect::Azure {
            // A deployment may be called like another model than its own.
            facts.dimensions_allowed = None;
        }
        let (key, key_setting) = match (&options.api_key, &options.openai_api_key, dialect) {
            (None, Some(key), Dialect::OpenAi) => (Some(key.clone()), "OPENAI_API_KEY"),
            (key, ..) => (key.clone(), "EMBEDDING_API_KEY"),
        };
        let endpoint = Endpoint::new(EndpointOptions {
            base,
            key,
            key_setting,
            key_header: (dialect == Dialect::Azure).then(|| "api-key".to_owned()),
            headers: Vec::new(),
            limits: LIMITS,
            outbound: given(sockets)?.calls,
        })
        .map_err(ours)?;
        if !endpoint.has_key() && is_openai {
            return Err(ProviderError::setting("OPENAI_API_KEY", "OpenAI needs a key"));
        }
        if !endpoint.has_key() && dialect == Dialect::Azure {
            return Err(ProviderError::setting("EMBEDDING_API_KEY", "Azure OpenAI needs a key"));
        }
        let operation = match &azure {
            Some(azure) => azure.operation(&model, "embeddings"),
            None => "embeddings".to_owned(),
        };
        Ok(Self {
            dialect,
            operation,
            names_model: !azure.is_some_and(|azure| azure.is_classic()),
            // Older models refuse the parameter even for their own dimension.
            dimensions: options.dimensions.filter(|wanted| facts.dimension != Some(*wanted)),
            base64: dialect == Dialect::OpenAi && is_openai,
            known: Known::new(label(dialect), &model, options.dimensions, &facts)?,
            endpoint,
        })
    }
}

fn label(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => super::OPENAI.label,
        Dialect::Azure => super::AZURE.label,
        Dialect::Compatible => super::COMPATIBLE.label,
    }
}

/// The base of operations, and Azure's way to write them.
fn address(dialect: Dialect, options: &RemoteOptions) -> Result<(Url, Option<AzureAddress>), ProviderError> {
    let written = filled(options.endpoint_url.as_ref());
    let missing = |example: &str| {
        ProviderError::setting(ENDPOINT, format!("it is not set; write for example {example}"))
    };
    match dialect {
        Dialect::OpenAi => Ok((openai_base(written.unwrap_or(OPENAI_BASE), ENDPOINT)?, None)),
        Dialect::Compatible => {
            let text = written.ok_or_else(|| missing("http://tei.internal:8080"))?;
            Ok((openai_base(text, ENDPOINT)?, None))
        }
        Dialect::Azure => {
            let text = written.ok_or_else(|| missing("https://my-resource.openai.azure.com"))?;
            let azure = AzureAddress::new(text, options.azure_api_version.as_deref(), ENDPOINT)?;
            Ok((azure.base().clone(), Some(azure)))
        }
    }
}

/// The model and what is known about it.
fn model(dialect: Dialect, options: &RemoteOptions) -> Result<(String, EmbeddingFacts), ProviderError> {
    let catalog: &Catalog = &options.catalog;
    let families: &[ModelFamily] = match dialect {
        // Deployments are often named after their model. Where one is not what its name says, its
        // vectors have another length, which is noticed.
        Dialect::OpenAi | Dialect::Azure => &[ModelFamily::Openai],
        Dialect::Compatible => &[ModelFamily::Local, ModelFamily::Compatible, ModelFamily::Openai],
    };
    if let Some(model) = filled(options.model.as_ref()) {
        let entry = families.iter().find_map(|family| catalog.find(*family, model));
        return Ok((model.to_owned(), entry.map(|entry| entry.embedding.clone()).unwrap_or_default()));
    }
    let default = match dialect {
        Dialect::OpenAi => catalog.default_embedding(ModelFamily::Openai),
        Dialect::Azure | Dialect::Compatible => None,
    };
    match default {
        Some(entry) => Ok((entry.id.clone(), entry.embedding.clone())),
        None => Err(ProviderError::setting(
            "EMBEDDING_MODEL",
            match dialect {
                Dialect::Azure => "it is not set; write the name of the deployment",
                Dialect::OpenAi | Dialect::Compatible => "it is not set; write the name the server uses",
            },
        )),
    }
}
