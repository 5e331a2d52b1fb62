//! Where the model comes from, and what is known about it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use atlas_domain::Pooling;
use atlas_embed::EmbedError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::backend::Backend;
use super::config::Config;
use super::precision::Precision;
use super::tokens::Tokens;
use super::weights::WeightsError;

/// Settings of the local engine.
#[derive(Debug, Clone, Default)]
pub struct LocalOptions {
    /// `EMBEDDING_MODEL_PATH`: a folder with `config.json`, `tokenizer.json` and
    /// `model.safetensors` of a BERT-family sentence model. `None`: the model in the binary.
    pub model_dir: Option<PathBuf>,
    /// Threads that run the model; `None`: one per core.
    pub threads: Option<usize>,
    /// `EMBEDDING_PRECISION`.
    pub precision: Precision,
    /// What computes it; for tests and benches.
    pub backend: Backend,
}

/// Everything that is read before a model is built. The weights' bytes are dropped afterwards.
pub(super) struct ModelFiles {
    pub(super) place: String,
    pub(super) name: String,
    /// First 16 hexadecimal digits of the weights' sha256.
    pub(super) revision: String,
    pub(super) config: Config,
    pub(super) pooling: Pooling,
    /// Word pieces per input, special tokens included.
    pub(super) max_tokens: usize,
    pub(super) tokenizer: Cow<'static, [u8]>,
    pub(super) weights: Cow<'static, [u8]>,
    /// `smoothing.safetensors`, if there is one.
    pub(super) smoothing: Option<Cow<'static, [u8]>>,
}

/// `model.toml`, which `cargo xtask model import` writes.
#[derive(Debug, Deserialize)]
struct Card {
    name: String,
    pooling: CardPooling,
    max_tokens: usize,
    /// Absent in a card written by hand.
    sha256: Option<CardDigests>,
}

#[derive(Debug, Deserialize)]
struct CardDigests {
    weights: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CardPooling {
    Mean,
    Cls,
}

impl From<CardPooling> for Pooling {
    fn from(pooling: CardPooling) -> Self {
        match pooling {
            CardPooling::Mean => Self::Mean,
            CardPooling::Cls => Self::Cls,
        }
    }
}

/// sentence-transformers' `1_Pooling/config.json`.
#[derive(Debug, Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_cls_token: bool,
}

/// sentence-transformers' `sentence_bert_config.json`.
#[derive(Debug, Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

impl ModelFiles {
    /// Reads the files that the options name.
    pub(super) fn read(options: &LocalOptions) -> Result<Self, EmbedError> {
        match &options.model_dir {
            Some(dir) => Self::in_folder(dir),
            None => Self::bundled(),
        }
    }

    #[cfg(feature = "bundled-model")]
    fn bundled() -> Result<Self, EmbedError> {
        let place = Place("the binary");
        let card: Card =
            place.toml("model.toml", include_bytes!("../../../../models/all-MiniLM-L6-v2/model.toml"))?;
        let weights = include_bytes!("../../../../models/all-MiniLM-L6-v2/model.safetensors");
        // A test holds the card's digests to the files, so start-up need not hash them again.
        let digest = card.sha256.map(|sha256| sha256.weights).unwrap_or_default();
        Self {
            place: place.0.to_owned(),
            name: card.name,
            revision: short(&digest),
            config: place.config(include_bytes!("../../../../models/all-MiniLM-L6-v2/config.json"))?,
            pooling: card.pooling.into(),
            max_tokens: card.max_tokens,
            tokenizer: Cow::Borrowed(include_bytes!("../../../../models/all-MiniLM-L6-v2/tokenizer.json")),
            weights: Cow::Borrowed(weights),
            smoothing: Some(Cow::Borrowed(include_bytes!(
                "../../../../models/all-MiniLM-L6-v2/smoothing.safetensors"
            ))),
        }
        .checked()
    }

    #[cfg(not(feature = "bundled-model"))]
    fn bundled() -> Result<Self, EmbedError> {
        Err(Place("the binary")
            .unusable("this build carries no model; set EMBEDDING_MODEL_PATH to a folder with one"))
    }

    fn in_folder(dir: &Path) -> Result<Self, EmbedError> {
        let shown = dir.display().to_string();
        let place = Place(&shown);
        let config = place.config(&place.required(dir, "config.json")?)?;
        let card: Option<Card> =
            place.optional(dir, "model.toml")?.map(|bytes| place.toml("model.toml", &bytes)).transpose()?;
        let weights = place.required(dir, "model.safetensors")?;
        let digest = hex_digest(&weights);
        if let Some(expected) = card.as_ref().and_then(|card| card.sha256.as_ref())
            && expected.weights != digest
        {
            return Err(place.unusable(
                "model.safetensors is not the file that model.toml describes (sha256 differs); copy the folder again, \
                 or remove model.toml if the weights were replaced on purpose",
            ));
        }
        let (name, pooling, max_tokens) = match card {
            Some(card) => (card.name, card.pooling.into(), card.max_tokens),
            None => {
                let name = dir
                    .canonicalize()
                    .ok()
                    .and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
                let sentence: Option<SentenceConfig> =
                    place.optional_json(dir, "sentence_bert_config.json")?;
                let max_tokens = sentence.and_then(|sentence| sentence.max_seq_length).unwrap_or(512);
                (
                    name.unwrap_or_else(|| shown.clone()),
                    place.pooling(dir)?,
                    max_tokens.min(config.positions()),
                )
            }
        };
        Self {
            name,
            revision: short(&digest),
            pooling,
            max_tokens,
            tokenizer: Cow::Owned(place.required(dir, "tokenizer.json")?),
            weights: Cow::Owned(weights),
            smoothing: place.optional(dir, "smoothing.safetensors")?.map(Cow::Owned),
            config,
            place: shown.clone(),
        }
        .checked()
    }

    /// The tokenizer, which has to belong to the model.
    pub(super) fn tokens(&self) -> Result<Tokens, EmbedError> {
        let place = Place(&self.place);
        let tokens = Tokens::parse(&self.tokenizer, self.max_tokens).map_err(|error| {
            place.unusable(format!(
                "tokenizer.json cannot be used ({error}); copy it again from the model's source"
            ))
        })?;
        if tokens.vocabulary() > self.config.vocab_size {
            return Err(place.unusable(format!(
                "tokenizer.json has {} words and config.json {}; they belong to different models",
                tokens.vocabulary(),
                self.config.vocab_size
            )));
        }
        Ok(tokens)
    }

    /// What is wrong with the weights, and what to do.
    pub(super) fn unusable(&self, error: WeightsError) -> EmbedError {
        Place(&self.place)
            .unusable(format!("model.safetensors {error}; copy it again from the model's source"))
    }

    /// Smoothing makes other codes, so another file of it is another space.
    pub(super) fn smoothed_revision(&self) -> String {
        let digest = self.smoothing.as_deref().map(hex_digest).unwrap_or_default();
        format!("{}-{}", self.revision, &digest[..digest.len().min(8)])
    }

    fn checked(self) -> Result<Self, EmbedError> {
        if self.max_tokens > self.config.positions() {
            return Err(Place(&self.place).unusable(format!(
                "model.toml: max_tokens is {}, but config.json has {} positions",
                self.max_tokens,
                self.config.positions()
            )));
        }
        Ok(self)
    }
}

/// A model folder in errors: each names the file and what to do.
#[derive(Clone, Copy)]
pub(super) struct Place<'a>(pub(super) &'a str);

impl Place<'_> {
    pub(super) fn unusable(self, reason: impl Into<String>) -> EmbedError {
        EmbedError::Model { place: self.0.to_owned(), reason: reason.into() }
    }

    fn required(self, dir: &Path, file: &str) -> Result<Vec<u8>, EmbedError> {
        self.optional(dir, file)?.ok_or_else(|| {
            self.unusable(format!(
                "{file} is missing; EMBEDDING_MODEL_PATH needs config.json, tokenizer.json and model.safetensors"
            ))
        })
    }

    fn optional(self, dir: &Path, file: &str) -> Result<Option<Vec<u8>>, EmbedError> {
        match std::fs::read(dir.join(file)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(self.unusable(format!("{file} cannot be read ({error}); check its permissions")))
            }
        }
    }

    fn config(self, bytes: &[u8]) -> Result<Config, EmbedError> {
        Config::parse(bytes).map_err(|reason| self.unusable(format!("config.json {reason}")))
    }

    fn json<T: DeserializeOwned>(self, file: &str, bytes: &[u8]) -> Result<T, EmbedError> {
        serde_json::from_slice(bytes).map_err(|error| {
            self.unusable(format!("{file} is not what a sentence model has ({error}); copy it again"))
        })
    }

    fn optional_json<T: DeserializeOwned>(self, dir: &Path, file: &str) -> Result<Option<T>, EmbedError> {
        self.optional(dir, file)?.map(|bytes| self.json(file, &bytes)).transpose()
    }

    fn toml<T: DeserializeOwned>(self, file: &str, bytes: &[u8]) -> Result<T, EmbedError> {
        toml::from_slice(bytes).map_err(|error| {
            self.unusable(format!("{file}: {}; write it with `cargo xtask model import`", error.message()))
        })
    }

    fn pooling(self, dir: &Path) -> Result<Pooling, EmbedError> {
        let file = "1_Pooling/config.json";
        match self.optional_json::<PoolingConfig>(dir, file)? {
            None => Ok(Pooling::Mean),
            Some(config) => match (config.pooling_mode_mean_tokens, config.pooling_mode_cls_token) {
                (true, false) => Ok(Pooling::Mean),
                (false, true) => Ok(Pooling::Cls),
                _ => Err(self
                    .unusable(format!("{file}: this engine pools by mean or by cls; choose another model"))),
            },
        }
    }
}

pub(super) fn hex_digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}
