//! What computes the model.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use atlas_domain::Pooling;
use atlas_kernels::encoder::{Instructions, Stored, Workspace};

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::fused::Fused;
use super::model::Bert;
use super::options::{ModelFiles, Place};
use super::precision::Precision;
use super::smoothing::Smoothing;
use super::weights::WeightsError;
use super::worker::Cause;

/// Which implementation runs the model. The vectors of all of them belong to one space per
/// precision; users have no reason to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// The fastest that this processor and the model allow.
    #[default]
    Best,
    /// candle's tensors in f32: every processor, every model, and the oracle of the others.
    Reference,
    /// The fused encoder on one instruction set.
    Fused(Instructions),
    /// candle's operations on the first CUDA device.
    #[cfg(feature = "cuda")]
    Cuda,
}

/// What runs a model, once that is decided.
enum Choice {
    Reference,
    Fused(Instructions),
    #[cfg(feature = "cuda")]
    Cuda(candle_core::Device),
}

impl Backend {
    /// Every choice on this processor.
    pub fn available() -> Vec<Self> {
        let fused = Instructions::available().into_iter().map(Self::Fused);
        let every = [Self::Best, Self::Reference].into_iter().chain(fused);
        #[cfg(feature = "cuda")]
        let every = every.chain(cuda().is_ok().then_some(Self::Cuda));
        every.collect()
    }

    fn word(self) -> &'static str {
        match self {
            Self::Best => "best",
            Self::Reference => "reference",
            Self::Fused(instructions) => instructions.name(),
            #[cfg(feature = "cuda")]
            Self::Cuda => "cuda",
        }
    }

    /// What runs the model, and in which precision. A CUDA device is the best for the precision that
    /// it has, and for `auto`.
    fn choose(self, config: &Config, precision: Precision) -> Result<(Choice, Precision), String> {
        #[cfg(feature = "cuda")]
        match (self, precision) {
            (Self::Cuda, _) => {
                let device = cuda().map_err(|error| format!("the CUDA device cannot be used: {error}"))?;
                return Ok((Choice::Cuda(device), precision.resolve(&[Precision::F32])?));
            }
            (Self::Best, Precision::Auto | Precision::F32) => match cuda() {
                Ok(device) => return Ok((Choice::Cuda(device), Precision::F32)),
                Err(error) => tracing::info!(%error, "no CUDA device; the embedding model runs on the CPU"),
            },
            _ => {}
        }
        let (instructions, possible) = self.instructions(config)?;
        let choice = instructions.map_or(Choice::Reference, Choice::Fused);
        Ok((choice, precision.resolve(possible)?))
    }

    /// The processor's instructions to use, if any, and the precisions that are then possible.
    fn instructions(self, config: &Config) -> Result<(Option<Instructions>, &'static [Precision]), String> {
        const ALL: &[Precision] = &[Precision::F32, Precision::Exact, Precision::Fast, Precision::Max];
        // bf16 made of float products is slower than floats, and no more exact.
        const NO_BF16: &[Precision] = &[Precision::F32, Precision::Max];
        let unsupported = Fused::unsupported(config);
        match (self, unsupported) {
            (Self::Best, None) => Ok(match Instructions::detect() {
                Some(best) => (Some(best), if best.has_bf16() { ALL } else { NO_BF16 }),
                None => (None, &[Precision::F32]),
            }),
            (Self::Best, Some(reason)) => {
                tracing::info!(reason, "the embedding model runs on the reference path, which is slower");
                Ok((None, &[Precision::F32]))
            }
            (Self::Reference, _) => Ok((None, &[Precision::F32])),
            (Self::Fused(instructions), None) => Ok((Some(instructions), ALL)),
            (Self::Fused(_), Some(reason)) => Err(reason),
            #[cfg(feature = "cuda")]
            (Self::Cuda, _) => Ok((None, &[Precision::F32])),
        }
    }
}

#[cfg(feature = "cuda")]
fn cuda() -> candle_core::Result<candle_core::Device> {
    candle_core::Device::new_cuda(0)
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let available = Self::available();
        available.iter().copied().find(|backend| backend.word() == text).ok_or_else(|| {
            let words: Vec<&str> = available.iter().map(|backend| backend.word()).collect();
            format!("this processor has no back end {text:?}; it has {}", words.join(", "))
        })
    }
}

/// A model ready to run.
pub(super) enum Model {
    Reference {
        bert: Bert,
        pooling: Pooling,
    },
    Fused(Fused),
    #[cfg(feature = "cuda")]
    Cuda(super::device::OnDevice),
}

/// A loaded model and what became of the choices.
pub(super) struct Loaded {
    pub(super) model: Model,
    pub(super) precision: Precision,
    /// Never [`Backend::Best`].
    pub(super) backend: Backend,
    /// Whether codes are smoothed, which makes other vectors.
    pub(super) is_smoothed: bool,
}

impl Model {
    pub(super) fn load(
        files: &ModelFiles,
        precision: Precision,
        backend: Backend,
    ) -> Result<Loaded, atlas_embed::EmbedError> {
        let place = Place(&files.place);
        let config = &files.config;
        let (choice, precision) =
            backend.choose(config, precision).map_err(|reason| place.unusable(reason))?;
        let unusable = |error| files.unusable(error);
        let checkpoint = Checkpoint::open(&files.weights, config).map_err(unusable)?;
        let instructions = match choice {
            Choice::Fused(instructions) => instructions,
            Choice::Reference => {
                let bert = Bert::load(&checkpoint, files.max_tokens).map_err(unusable)?;
                let model = Self::Reference { bert, pooling: files.pooling };
                return Ok(Loaded { model, precision, backend: Backend::Reference, is_smoothed: false });
            }
            #[cfg(feature = "cuda")]
            Choice::Cuda(device) => {
                let loaded =
                    super::device::OnDevice::load(&checkpoint, files.max_tokens, files.pooling, device);
                let model = Self::Cuda(loaded.map_err(unusable)?);
                return Ok(Loaded { model, precision, backend: Backend::Cuda, is_smoothed: false });
            }
        };
        let smoothing = match (&files.smoothing, precision) {
            (Some(bytes), Precision::Fast | Precision::Max) => {
                Some(Smoothing::parse(bytes, config).map_err(|reason| {
                    place.unusable(format!(
                        "smoothing.safetensors does not fit the model: {reason}; write it again with \
                         `atlasai-tp model calibrate`, or remove it"
                    ))
                })?)
            }
            _ => None,
        };
        let words = words(files).map_err(unusable)?;
        let fused = Fused::load(&checkpoint, words, files, (instructions, precision), smoothing.as_ref())
            .map_err(unusable)?;
        Ok(Loaded {
            model: Self::Fused(fused),
            precision,
            backend: Backend::Fused(instructions),
            is_smoothed: smoothing.is_some(),
        })
    }

    /// What a thread keeps for this model.
    pub(super) fn workspace(&self) -> Option<Workspace> {
        match self {
            Self::Reference { .. } => None,
            Self::Fused(fused) => Some(fused.workspace()),
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => None,
        }
    }

    /// Pooled states, not normalised.
    pub(super) fn encode(
        &self,
        sequences: &[&[u32]],
        workspace: &mut Option<Workspace>,
        vectors: &mut [f32],
    ) -> Result<(), Cause> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.encode(sequences, vectors)?,
            Self::Fused(fused) => {
                fused.encode(sequences, workspace.get_or_insert_with(|| fused.workspace()), vectors);
            }
            Self::Reference { bert, pooling } => {
                let width = bert.width();
                let states: Vec<f32> = bert.forward(sequences)?.flatten_all()?.to_vec1()?;
                let mut rest = states.as_slice();
                for (sequence, vector) in sequences.iter().zip(vectors.chunks_exact_mut(width)) {
                    let (own, others) = rest.split_at(sequence.len() * width);
                    rest = others;
                    match pooling {
                        Pooling::Cls => vector.copy_from_slice(&own[..width]),
                        Pooling::Mean | Pooling::Remote => sum(own, vector),
                    }
                }
            }
        }
        Ok(())
    }
}

/// The word table: the binary's own pages for the bundled model, a copy of a file's.
fn words(files: &ModelFiles) -> Result<(Cow<'static, [u8]>, Stored), WeightsError> {
    Ok(match &files.weights {
        Cow::Borrowed(pages) => {
            let pages: &'static [u8] = pages;
            let (bytes, stored) = Checkpoint::open(pages, &files.config)?.words()?;
            (Cow::Borrowed(bytes), stored)
        }
        Cow::Owned(file) => {
            let (bytes, stored) = Checkpoint::open(file, &files.config)?.words()?;
            (Cow::Owned(bytes.to_vec()), stored)
        }
    })
}

/// The sum serves as the mean: the length is divided away.
fn sum(states: &[f32], into: &mut [f32]) {
    into.fill(0.0);
    for state in states.chunks_exact(into.len()) {
        into.iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
    }
}
