//! From settings to the embedding engine.

use std::sync::Arc;

use atlas_config::Settings;
use atlas_domain::{Fault, ProviderError};
use atlas_embed::{EmbedError, Embedding};
use atlas_engines::{EngineOptions, LocalOptions, Precision, RemoteOptions};
use atlas_providers::Catalog;

use super::Ground;

/// Loads the engine. One in this process that cannot be loaded is an error of the start; one
/// outside is down now and may be up in a minute, so its error is left to the caller.
///
/// An engine in this process needs no ground, so it loads also where nothing outside can be called.
pub(crate) async fn load(
    settings: &Settings,
    ground: &Result<Ground, ProviderError>,
) -> Result<Embedding, EmbedError> {
    let label = &settings.embedding.provider;
    let (catalog, network) = match ground {
        Ok(ground) => (Arc::clone(&ground.catalog), Ok(&ground.network)),
        Err(error) => (Arc::default(), Err(error.clone())),
    };
    let options = options(settings, &catalog)?;
    let origins = atlas_engines::origins(label, &options)?;
    let sockets = match origins.calls.is_empty() {
        true => None,
        false => Some(network?.sockets(origins)?),
    };
    atlas_engines::engine(label, &options, sockets)?.load().await
}

/// What has to be the same for an engine to be left alone.
pub(crate) fn changed(before: &Settings, after: &Settings) -> bool {
    const NAMES: [&str; 19] = [
        "EMBEDDING_PROVIDER",
        "EMBEDDING_MODEL",
        "EMBEDDING_MODEL_PATH",
        "EMBEDDING_DIMENSIONS",
        "EMBEDDING_THREADS",
        "EMBEDDING_PRECISION",
        "EMBEDDING_ENDPOINT_URL",
        "EMBEDDING_API_KEY",
        "OPENAI_API_KEY",
        "EMBEDDING_REGION",
        "BYOC_AZURE_API_VERSION",
        "AWS_REGION",
        "BYOC_CA_BUNDLE",
        "BYOC_CLIENT_CERT",
        "BYOC_CLIENT_KEY",
        "BYOC_PROXY_URL",
        "BYOC_NO_PROXY",
        "TP_EGRESS",
        "TP_MODEL_CATALOG",
    ];
    let is_bedrock = after.embedding.provider == "bedrock";
    after.changed_since(before).into_iter().any(|name| {
        NAMES.contains(&name) || (is_bedrock && (name.contains("AWS") || name.contains("BEDROCK")))
    })
}

fn options(settings: &Settings, catalog: &Arc<Catalog>) -> Result<EngineOptions, ProviderError> {
    let embedding = &settings.embedding;
    let precision = embedding
        .precision
        .parse::<Precision>()
        .map_err(|reason| ProviderError::setting("EMBEDDING_PRECISION", reason))?;
    Ok(EngineOptions {
        local: LocalOptions {
            model_dir: embedding.model_path.clone(),
            threads: embedding.threads.map(std::num::NonZeroUsize::get),
            precision,
            ..LocalOptions::default()
        },
        remote: RemoteOptions {
            endpoint_url: embedding.endpoint.as_ref().map(|url| url.as_str().to_owned()),
            api_key: embedding.api_key.clone(),
            openai_api_key: embedding.openai_api_key.clone(),
            model: embedding.model.clone(),
            dimensions: embedding.dimensions.map(|n| n.get() as usize),
            region: embedding.region.clone(),
            azure_api_version: settings.byoc.azure_api_version.clone(),
            catalog: Arc::clone(catalog),
            aws: super::aws::identity(settings, embedding.region.as_ref()),
        },
    })
}

/// The engine cannot be had because of something outside this process.
pub(crate) fn is_outside(error: &EmbedError) -> bool {
    matches!(error, EmbedError::Provider(error) if error.fault() == Fault::Upstream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_precision_of_the_engine_is_a_value_of_the_setting() {
        for precision in Precision::ALL {
            let settings = Settings::read(&std::collections::BTreeMap::from([(
                "EMBEDDING_PRECISION",
                precision.word(),
            )]))
            .expect("known to the settings");
            let options = options(&settings, &Arc::default()).expect("known to the engine");
            assert_eq!(options.local.precision, precision);
        }
    }
}
