//! A BERT encoder in one pass: token ids in, pooled states out.
//!
//! One thread takes a unit of work, whole sequences of about 256 tokens together, through the
//! whole network; nothing is shared and there is no barrier. The rows of all sequences lie one
//! after the other: dense layers see every token and no padding, attention looks at the borders,
//! so a unit costs its tokens and a vector does not depend on its neighbours. Weights are packed
//! once; what follows a matrix product happens while its result is in registers.
//!
//! Why not layer by layer through a tensor library: `benches` has the factor. Feed-forward layers
//! run in slices of the inner dimension, so that their intermediate rows stay in the cache; for
//! codes each slice has its own scales, which is more exact too.

mod aligned;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod backend;
mod forward;
mod gemm;
mod instructions;
mod linear;
mod numbers;
mod peak;
mod portable;
mod rows;
mod simd;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use aligned::Aligned;
use linear::Linear;

pub use forward::{Pool, Workspace};
pub use instructions::Instructions;
pub use linear::{Dense, Kind};
pub use peak::peak;
pub use rows::{Activation, Stored};

/// The numbers that the products of a model run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Floats throughout.
    F32,
    /// bf16 throughout.
    Bf16,
    /// Codes, the second feed-forward layer in bf16.
    Mixed,
    /// Codes throughout. Attention stays in bf16.
    Int8,
}

impl Precision {
    /// Every precision, most exact first.
    pub const ALL: [Self; 4] = [Self::F32, Self::Bf16, Self::Mixed, Self::Int8];

    /// Of the second feed-forward layer.
    fn narrow(self) -> Kind {
        match self {
            Self::F32 => Kind::F32,
            Self::Bf16 | Self::Mixed => Kind::Bf16,
            Self::Int8 => Kind::Int8,
        }
    }

    /// Of all other dense layers.
    fn dense(self) -> Kind {
        match self {
            Self::F32 => Kind::F32,
            Self::Bf16 => Kind::Bf16,
            Self::Mixed | Self::Int8 => Kind::Int8,
        }
    }
}

/// Sizes of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Numbers of a state; a multiple of 64.
    pub hidden: usize,
    /// Attention heads; each is a multiple of 32 wide.
    pub heads: usize,
    /// Width of the feed-forward layer; a multiple of 64.
    pub intermediate: usize,
    /// Tokens of the longest sequence.
    pub max_tokens: usize,
    /// Follows the first feed-forward layer.
    pub activation: Activation,
    /// Keeps the division of a layer norm finite.
    pub eps: f32,
}

impl Shape {
    /// What of it the encoder cannot run; another implementation must.
    pub fn unsupported(&self) -> Option<String> {
        let multiple = |what: &str, size: usize, of: usize| {
            (size == 0 || !size.is_multiple_of(of)).then(|| format!("{what} {size} is no multiple of {of}"))
        };
        (self.heads == 0)
            .then(|| "a model has an attention head".to_owned())
            .or_else(|| multiple("hidden size", self.hidden, 64))
            .or_else(|| multiple("intermediate size", self.intermediate, 64))
            .or_else(|| multiple("hidden size", self.hidden, self.heads))
            .or_else(|| multiple("head width", self.hidden / self.heads, 32))
    }

    /// Width of a slice of the feed-forward layer: the largest multiple of 64 up to 512 that
    /// divides it.
    fn slice(&self) -> usize {
        (1..=8).rev().map(|n| 64 * n).find(|slice| self.intermediate.is_multiple_of(*slice)).unwrap_or(64)
    }
}

/// Gain and shift of a layer norm.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// One factor per number of a state.
    pub gain: &'a [f32],
    /// One summand per number of a state.
    pub shift: &'a [f32],
}

/// The token table and what is added to it.
#[derive(Debug)]
pub struct Embeddings<'a> {
    /// `vocabulary * hidden` numbers in the type of the file; may be the file's own pages.
    pub words: Cow<'static, [u8]>,
    /// Their type.
    pub stored: Stored,
    /// `max_tokens * hidden`, the token type's row already added.
    pub positions: &'a [f32],
    /// Of the sum.
    pub norm: Norm<'a>,
}

/// One transformer layer as a model file has it.
#[derive(Debug, Clone, Copy)]
pub struct LayerWeights<'a> {
    /// Query, key and value.
    pub qkv: [Dense<'a>; 3],
    /// After attention.
    pub output: Dense<'a>,
    /// After the residual of attention.
    pub attention_norm: Norm<'a>,
    /// First feed-forward layer.
    pub widen: Dense<'a>,
    /// Second feed-forward layer.
    pub narrow: Dense<'a>,
    /// After the residual of the feed-forward layers.
    pub output_norm: Norm<'a>,
}

/// A packed model. Cheap to share between threads, each with its own [`Workspace`].
#[derive(Debug)]
pub struct Encoder {
    shape: Shape,
    precision: Precision,
    instructions: Instructions,
    words: Cow<'static, [u8]>,
    stored: Stored,
    positions: Aligned<f32>,
    norm: PackedNorm,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct PackedNorm {
    gain: Aligned<f32>,
    shift: Aligned<f32>,
}

impl PackedNorm {
    fn new(norm: Norm<'_>) -> Self {
        Self { gain: Aligned::from_slice(norm.gain), shift: Aligned::from_slice(norm.shift) }
    }
}

#[derive(Debug)]
struct Layer {
    qkv: Linear,
    output: Linear,
    attention_norm: PackedNorm,
    /// Slices of the feed-forward layers: outputs of the first, inputs of the second.
    widen: Vec<Linear>,
    narrow: Vec<Linear>,
    output_norm: PackedNorm,
}

impl Encoder {
    /// A model without layers.
    ///
    /// # Panics
    /// When the shape is [unsupported](Shape::unsupported) or a slice has another length than the
    /// shape says.
    pub fn new(
        instructions: Instructions,
        precision: Precision,
        shape: Shape,
        embeddings: Embeddings<'_>,
    ) -> Self {
        if let Some(reason) = shape.unsupported() {
            panic!("{reason}");
        }
        assert_eq!(embeddings.positions.len(), shape.max_tokens * shape.hidden, "a row per position");
        assert_eq!(embeddings.norm.gain.len(), shape.hidden, "a gain per number");
        assert_eq!(embeddings.norm.shift.len(), shape.hidden, "a shift per number");
        assert!(
            embeddings.words.len().is_multiple_of(shape.hidden * embeddings.stored.bytes()),
            "whole rows of words"
        );
        Self {
            shape,
            precision,
            instructions,
            words: embeddings.words,
            stored: embeddings.stored,
            positions: Aligned::from_slice(embeddings.positions),
            norm: PackedNorm::new(embeddings.norm),
            layers: Vec::new(),
        }
    }

    /// Packs the next layer.
    ///
    /// # Panics
    /// When a slice has another length than the shape says.
    pub fn push_layer(&mut self, weights: &LayerWeights<'_>) {
        let Shape { hidden, heads, intermediate, .. } = self.shape;
        for (dense, inputs, outputs) in [
            (weights.qkv[0], hidden, hidden),
            (weights.qkv[1], hidden, hidden),
            (weights.qkv[2], hidden, hidden),
            (weights.output, hidden, hidden),
            (weights.widen, hidden, intermediate),
            (weights.narrow, intermediate, hidden),
        ] {
            assert_eq!(dense.weight.len(), inputs * outputs, "a weight per input and output");
            assert_eq!(dense.bias.len(), outputs, "a bias per output");
            assert!(dense.smoothing.is_none_or(|factors| factors.len() == inputs), "a factor per input");
        }
        for norm in [weights.attention_norm, weights.output_norm] {
            assert!(norm.gain.len() == hidden && norm.shift.len() == hidden, "a norm per state");
        }
        let (dense, narrow) = (self.precision.dense(), self.precision.narrow());
        let packing = |kind| self.instructions.packing(kind);

        // The softmax is a power of two, and the scale of the scores is one of the weights'.
        let scale = std::f32::consts::LOG2_E / ((hidden / heads) as f32).sqrt();
        let mut qkv_weight: Vec<f32> = weights.qkv[0].weight.iter().map(|x| x * scale).collect();
        let mut qkv_bias: Vec<f32> = weights.qkv[0].bias.iter().map(|x| x * scale).collect();
        for part in &weights.qkv[1..] {
            qkv_weight.extend_from_slice(part.weight);
            qkv_bias.extend_from_slice(part.bias);
        }
        let qkv = Dense { weight: &qkv_weight, bias: &qkv_bias, smoothing: weights.qkv[0].smoothing };

        let slice = self.shape.slice();
        let no_bias = vec![0.0; hidden];
        let slices = |from: usize| from * slice..(from + 1) * slice;
        self.layers.push(Layer {
            qkv: Linear::pack(qkv, dense, packing(dense), 0..hidden),
            output: Linear::pack(weights.output, dense, packing(dense), 0..hidden),
            attention_norm: PackedNorm::new(weights.attention_norm),
            widen: (0..intermediate / slice)
                .map(|number| {
                    let rows = slices(number);
                    let part = Dense {
                        weight: &weights.widen.weight[rows.start * hidden..rows.end * hidden],
                        bias: &weights.widen.bias[rows],
                        smoothing: weights.widen.smoothing,
                    };
                    Linear::pack(part, dense, packing(dense), 0..hidden)
                })
                .collect(),
            narrow: (0..intermediate / slice)
                .map(|number| {
                    let bias = if number == 0 { weights.narrow.bias } else { &no_bias };
                    Linear::pack(Dense { bias, ..weights.narrow }, narrow, packing(narrow), slices(number))
                })
                .collect(),
            output_norm: PackedNorm::new(weights.output_norm),
        });
    }

    /// Sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Numbers of the products.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Rows of the word table.
    pub fn vocabulary(&self) -> usize {
        self.words.len() / (self.shape.hidden * self.stored.bytes())
    }
}
