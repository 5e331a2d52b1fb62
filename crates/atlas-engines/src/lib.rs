//! One folder per embedding engine.
//!
//! An engine is a plug: the search path knows the contract in `atlas-embed`, the binary chooses
//! by label. [`origins`] says which origins a label with its [`EngineOptions`] will call, so that
//! the egress policy exists before there is a client; [`engine`] then makes the engine, and
//! loading that gives vectors. Adding one touches its folder, one `mod` line and one entry of
//! `PLUGS`.
//!
//! What engines outside this process have in common - cutting texts, batches, repetition, the
//! memory of a failure - is in `remote`; their folders hold requests and answers.
//!
//! Not here: batching policy of the callers, the cache, and what search does without vectors.

use std::sync::Arc;

use atlas_domain::ProviderError;
use atlas_embed::Engine;

mod bedrock;
mod fallback;
mod local;
mod ollama;
mod openai;
mod options;
mod remote;
#[cfg(test)]
mod testing;

pub use atlas_vendor::{Origins, Sockets};
pub use fallback::FallbackEngine;
pub use local::{Backend, LocalEmbedder, LocalEngine, LocalOptions, Precision, calibrate, calibration_texts};
pub use options::{EngineOptions, RemoteOptions};

/// A kind of engine: what it needs, and how it is made.
struct Plug {
    /// The value of `EMBEDDING_PROVIDER` that names it.
    label: &'static str,
    /// Every origin it calls with these options.
    origins: fn(&EngineOptions) -> Result<Origins, ProviderError>,
    /// Checks the options and makes it. Opens no connection.
    make: fn(&EngineOptions, Option<Sockets>) -> Made,
}

type Made = Result<Arc<dyn Engine>, ProviderError>;

/// Every engine, the default first. A newcomer is one entry here and one folder.
const PLUGS: &[Plug] = &[
    Plug {
        label: local::LABEL,
        origins: |_| Ok(Origins::default()),
        make: |options, _| Ok(Arc::new(LocalEngine::new(options.local.clone()))),
    },
    Plug {
        label: fallback::LABEL,
        origins: |_| Ok(Origins::default()),
        make: |_, _| Ok(Arc::new(FallbackEngine)),
    },
    openai::OPENAI,
    openai::AZURE,
    openai::COMPATIBLE,
    ollama::PLUG,
    bedrock::PLUG,
];

/// The values of `EMBEDDING_PROVIDER`, the default first.
pub fn labels() -> impl Iterator<Item = &'static str> {
    PLUGS.iter().map(|plug| plug.label)
}

/// The origins that a label will call with these options; none for an engine in this process.
pub fn origins(label: &str, options: &EngineOptions) -> Result<Origins, ProviderError> {
    (find(label)?.origins)(options)
}

/// The engine of a label, not loaded yet. `sockets` may be absent where [`origins`] names none.
pub fn engine(
    label: &str,
    options: &EngineOptions,
    sockets: Option<Sockets>,
) -> Result<Arc<dyn Engine>, ProviderError> {
    (find(label)?.make)(options, sockets)
}

fn find(label: &str) -> Result<&'static Plug, ProviderError> {
    let wanted = label.trim().to_ascii_lowercase();
    PLUGS.iter().find(|plug| plug.label == wanted).ok_or_else(|| {
        let shown: String = wanted.chars().take(40).collect();
        let known: Vec<_> = labels().collect();
        ProviderError::setting(
            "EMBEDDING_PROVIDER",
            format!("{shown:?} is not known; there are {}", known.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use atlas_aws::AwsIdentityOptions;

    use super::*;

    #[test]
    fn engines_in_this_process_call_nobody() {
        for label in ["local", "fallback", " Local "] {
            let options = EngineOptions::default();
            assert_eq!(origins(label, &options).expect("listed"), Origins::default(), "{label}");
            assert_eq!(
                engine(label, &options, None).expect("listed").label(),
                label.trim().to_ascii_lowercase()
            );
        }
    }

    #[test]
    fn an_unknown_label_is_answered_with_the_known_ones() {
        let error = engine("word2vec", &EngineOptions::default(), None).err().expect("unknown");
        assert_eq!(error.named_setting(), Some("EMBEDDING_PROVIDER"));
        for label in labels() {
            assert!(error.to_string().contains(label), "{error}");
        }
    }

    #[test]
    fn a_dimension_that_a_model_cannot_have_is_refused_with_those_it_can() {
        for (label, model, allowed) in [
            ("openai", "text-embedding-3-small", Some("1 to 1536")),
            ("compatible", "Qwen/Qwen3-Embedding-0.6B", Some("32 to 1024")),
            ("ollama", "nomic-embed-text", Some("64 to 768")),
            ("bedrock", "amazon.titan-embed-text-v2:0", Some("256 or 512 or 1024")),
            // A deployment's name says little about its model, and an unknown model is not judged.
            ("azure", "text-embedding-3-small", None),
            ("compatible", "some-model", None),
        ] {
            let mut options = testing::options("http://127.0.0.1:1", model);
            options.remote.aws = AwsIdentityOptions {
                region: Some("us-east-1".to_owned()),
                access_key_id: Some("AKIDTESTKEY00001".to_owned()),
                secret_access_key: Some("test-key-secret".into()),
                ..AwsIdentityOptions::default()
            };
            options.remote.dimensions = Some(2000);
            let sockets = testing::sockets(origins(label, &options).expect("listed").calls);
            let error = engine(label, &options, Some(sockets)).err();
            let named = error.as_ref().and_then(ProviderError::named_setting);
            assert_eq!(named, allowed.map(|_| "EMBEDDING_DIMENSIONS"), "{label} {model}");
            let words = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(words.contains(allowed.unwrap_or_default()), "{label}: {words}");
        }
    }

    #[test]
    fn an_engine_outside_needs_its_client() {
        let key = Some(secrecy::SecretString::from("test-key"));
        let remote = RemoteOptions {
            openai_api_key: key,
            catalog: Arc::new(atlas_vendor::Catalog::shipped()),
            ..RemoteOptions::default()
        };
        let options = EngineOptions { remote, ..EngineOptions::default() };
        assert_eq!(origins("openai", &options).expect("OpenAI's own").calls.len(), 1);
        assert!(engine("openai", &options, None).is_err());
    }
}
