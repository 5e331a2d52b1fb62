//! The model in `atlas-kernels`' one-pass encoder: the fast path on CPUs that have one.

use std::borrow::Cow;

use atlas_domain::Pooling;
use atlas_kernels::encoder::{
    Activation, Dense, Embeddings, Encoder as Packed, Instructions, LayerWeights, Norm, Pool,
    Precision as Numbers, Shape, Stored, Workspace,
};

use super::checkpoint::{self, Checkpoint};
use super::config::{Config, HiddenAct};
use super::options::ModelFiles;
use super::precision::Precision;
use super::smoothing::Smoothing;
use super::weights::WeightsError;

/// Tokens of a unit, and room for one that a long text makes longer.
const UNIT: usize = 512;

/// A packed model and how its states become one.
pub(super) struct Fused {
    packed: Packed,
    pool: Pool,
}

fn shape(config: &Config, max_tokens: usize) -> Shape {
    Shape {
        hidden: config.hidden_size,
        heads: config.num_attention_heads,
        intermediate: config.intermediate_size,
        max_tokens,
        activation: match config.hidden_act {
            HiddenAct::Gelu => Activation::Gelu,
            HiddenAct::GeluNew => Activation::GeluTanh,
            HiddenAct::Relu => Activation::Relu,
        },
        eps: config.layer_norm_eps,
    }
}

impl Fused {
    /// Why a model must run on the reference path.
    pub(super) fn unsupported(config: &Config) -> Option<String> {
        shape(config, 1).unsupported()
    }

    /// Packs the model. One layer at a time is widened to floats, so the peak is the packed model
    /// and a layer.
    pub(super) fn load(
        checkpoint: &Checkpoint<'_>,
        (words, stored): (Cow<'static, [u8]>, Stored),
        files: &ModelFiles,
        (instructions, precision): (Instructions, Precision),
        smoothing: Option<&Smoothing>,
    ) -> Result<Self, WeightsError> {
        let (config, max_tokens) = (checkpoint.config(), files.max_tokens);
        let numbers = match precision {
            Precision::Auto | Precision::F32 => Numbers::F32,
            Precision::Exact => Numbers::Bf16,
            Precision::Fast => Numbers::Mixed,
            Precision::Max => Numbers::Int8,
        };
        let positions = checkpoint.positions(max_tokens)?;
        let embedding_norm = checkpoint.embedding_norm()?;
        let mut packed = Packed::new(
            instructions,
            numbers,
            shape(config, max_tokens),
            Embeddings { words, stored, positions: &positions, norm: as_norm(&embedding_norm) },
        );
        for number in 0..config.num_hidden_layers {
            let layer = checkpoint.layer(number)?;
            let factors = smoothing.map(|smoothing| smoothing.layer(number));
            let qkv = factors.map(|factors| factors.qkv.as_slice());
            packed.push_layer(&LayerWeights {
                qkv: [as_dense(&layer.query, qkv), as_dense(&layer.key, qkv), as_dense(&layer.value, qkv)],
                output: as_dense(&layer.output, factors.map(|factors| factors.output.as_slice())),
                attention_norm: as_norm(&layer.attention_norm),
                widen: as_dense(&layer.widen, factors.map(|factors| factors.widen.as_slice())),
                narrow: as_dense(&layer.narrow, factors.map(|factors| factors.narrow.as_slice())),
                output_norm: as_norm(&layer.output_norm),
            });
        }
        let pool = match files.pooling {
            Pooling::Cls => Pool::First,
            Pooling::Mean | Pooling::Remote => Pool::Sum,
        };
        Ok(Self { packed, pool })
    }

    pub(super) fn workspace(&self) -> Workspace {
        Workspace::new(self.packed.shape(), UNIT)
    }

    pub(super) fn encode(&self, sequences: &[&[u32]], workspace: &mut Workspace, vectors: &mut [f32]) {
        self.packed.encode(workspace, sequences, self.pool, vectors);
    }
}

fn as_norm(norm: &checkpoint::Norm) -> Norm<'_> {
    Norm { gain: &norm.gain, shift: &norm.shift }
}

fn as_dense<'a>(dense: &'a checkpoint::Dense, smoothing: Option<&'a [f32]>) -> Dense<'a> {
    Dense { weight: &dense.weight, bias: &dense.bias, smoothing }
}
