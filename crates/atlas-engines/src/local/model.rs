//! BERT from candle's tensors, driven for sentences on CPU cores.
//!
//! The rows of all sequences of a batch lie one after the other in one matrix: dense layers see
//! every token and no padding, only attention looks at the borders. So a batch costs its tokens,
//! whatever their spread over the sequences, there is no mask, and a vector does not depend on
//! its neighbours. Weights are transposed once at load, the layout that `gemm` reads without
//! packing; query, key and value are one product. candle's own BERT is the oracle of the tests.

use candle_core::{DType, Device, Result, Tensor};
use serde::Deserialize;

use super::ops::{Activation, AddNorm, Bias, Softmax};
use super::weights::{Weights, WeightsError};

/// What the engine reads of `config.json`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    #[serde(default = "bert")]
    pub(super) model_type: String,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: HiddenAct,
    pub(super) max_position_embeddings: usize,
    type_vocab_size: usize,
    #[serde(default = "eps")]
    layer_norm_eps: f32,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HiddenAct {
    Gelu,
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_approximate")]
    GeluNew,
    Relu,
}

fn bert() -> String {
    "bert".into()
}

fn absolute() -> String {
    "absolute".into()
}

fn eps() -> f32 {
    1e-12
}

impl Config {
    /// What about it the engine cannot run.
    pub(super) fn unsupported(&self) -> Option<String> {
        if self.model_type != "bert" {
            return Some(format!("model_type is {:?}; this engine runs \"bert\"", self.model_type));
        }
        if self.position_embedding_type != "absolute" {
            return Some(format!(
                "position_embedding_type {:?} is not supported",
                self.position_embedding_type
            ));
        }
        let sizes = [self.hidden_size, self.num_attention_heads, self.intermediate_size, self.vocab_size];
        if sizes.contains(&0) || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Some(
                "its sizes do not fit together: hidden_size must be a multiple of num_attention_heads".into(),
            );
        }
        None
    }
}

/// The loaded encoder.
pub(super) struct Bert {
    /// In the type of the file: rows are widened after the look-up, which saves a third of the
    /// memory of a small model.
    words: Tensor,
    /// Positions with the embedding of token type 0 added.
    positions: Tensor,
    norm: Tensor,
    layers: Vec<Layer>,
    heads: usize,
    head_width: usize,
    add_norm: AddNorm,
    activation: Activation,
}

struct Layer {
    qkv: Dense,
    attention_out: Tensor,
    attention_norm: Tensor,
    widen: Dense,
    narrow: Tensor,
    out_norm: Tensor,
}

struct Dense {
    weight: Tensor,
    bias: Tensor,
}

impl Dense {
    fn forward(&self, rows: &Tensor, activation: Activation) -> Result<Tensor> {
        let rows = rows.matmul(&self.weight)?;
        rows.inplace_op2(&self.bias, &Bias(activation))?;
        Ok(rows)
    }
}

impl Bert {
    /// Reads the tensors that `config` announces; positions beyond `max_tokens` are left behind.
    pub(super) fn load(
        weights: &Weights<'_>,
        config: &Config,
        max_tokens: usize,
    ) -> std::result::Result<Self, WeightsError> {
        let (hidden, wide) = (config.hidden_size, config.intermediate_size);
        let mut positions = weights
            .floats("embeddings.position_embeddings.weight", &[config.max_position_embeddings, hidden])?;
        positions.truncate(max_tokens * hidden);
        let types =
            weights.floats("embeddings.token_type_embeddings.weight", &[config.type_vocab_size, hidden])?;
        for position in positions.chunks_exact_mut(hidden) {
            for (value, of_type) in position.iter_mut().zip(&types) {
                *value += of_type;
            }
        }
        // Rows bias, gain, shift; the embeddings have no bias.
        let norm = |bias: Vec<f32>, name: &str| -> std::result::Result<Tensor, WeightsError> {
            let mut rows = bias;
            rows.extend(weights.floats(&format!("{name}.weight"), &[hidden])?);
            rows.extend(weights.floats(&format!("{name}.bias"), &[hidden])?);
            Ok(Tensor::from_vec(rows, (3, hidden), &Device::Cpu)?)
        };
        let layers = (0..config.num_hidden_layers).map(|number| {
            let name = |part: &str| format!("encoder.layer.{number}.{part}");
            let mut qkv = Vec::new();
            let mut qkv_bias = Vec::new();
            for part in ["query", "key", "value"] {
                qkv.push(weights.transposed(
                    &name(&format!("attention.self.{part}.weight")),
                    hidden,
                    hidden,
                )?);
                qkv_bias.extend(weights.floats(&name(&format!("attention.self.{part}.bias")), &[hidden])?);
            }
            Ok(Layer {
                qkv: Dense { weight: Tensor::cat(&qkv, 1)?, bias: Tensor::new(qkv_bias, &Device::Cpu)? },
                attention_out: weights.transposed(&name("attention.output.dense.weight"), hidden, hidden)?,
                attention_norm: norm(
                    weights.floats(&name("attention.output.dense.bias"), &[hidden])?,
                    &name("attention.output.LayerNorm"),
                )?,
                widen: Dense {
                    weight: weights.transposed(&name("intermediate.dense.weight"), wide, hidden)?,
                    bias: Tensor::new(
                        weights.floats(&name("intermediate.dense.bias"), &[wide])?,
                        &Device::Cpu,
                    )?,
                },
                narrow: weights.transposed(&name("output.dense.weight"), hidden, wide)?,
                out_norm: norm(
                    weights.floats(&name("output.dense.bias"), &[hidden])?,
                    &name("output.LayerNorm"),
                )?,
            })
        });
        Ok(Self {
            words: weights.as_stored("embeddings.word_embeddings.weight", &[config.vocab_size, hidden])?,
            positions: Tensor::from_vec(positions, (max_tokens, hidden), &Device::Cpu)?,
            norm: norm(vec![0.0; hidden], "embeddings.LayerNorm")?,
            layers: layers.collect::<std::result::Result<_, WeightsError>>()?,
            heads: config.num_attention_heads,
            head_width: hidden / config.num_attention_heads,
            add_norm: AddNorm { eps: config.layer_norm_eps },
            activation: match config.hidden_act {
                HiddenAct::Gelu => Activation::Gelu,
                HiddenAct::GeluNew => Activation::GeluTanh,
                HiddenAct::Relu => Activation::Relu,
            },
        })
    }

    /// The last hidden states of all sequences, one row per token, in order.
    pub(super) fn forward(&self, sequences: &[&[u32]]) -> Result<Tensor> {
        let ids = sequences.concat();
        let n_tokens = ids.len();
        let places: Vec<u32> = sequences.iter().flat_map(|ids| 0..ids.len() as u32).collect();
        let place = Tensor::from_vec(places, n_tokens, &Device::Cpu)?;
        let mut rows = self
            .words
            .index_select(&Tensor::from_vec(ids, n_tokens, &Device::Cpu)?, 0)?
            .to_dtype(DType::F32)?;
        rows.inplace_op3(&self.positions.index_select(&place, 0)?, &self.norm, &self.add_norm)?;
        for layer in &self.layers {
            let qkv = layer.qkv.forward(&rows, Activation::Identity)?;
            let attended = self.attend(&qkv, sequences)?.matmul(&layer.attention_out)?;
            attended.inplace_op3(&rows, &layer.attention_norm, &self.add_norm)?;
            rows = layer.widen.forward(&attended, self.activation)?.matmul(&layer.narrow)?;
            rows.inplace_op3(&attended, &layer.out_norm, &self.add_norm)?;
        }
        Ok(rows)
    }

    /// Every token looks at the tokens of its own sequence.
    fn attend(&self, qkv: &Tensor, sequences: &[&[u32]]) -> Result<Tensor> {
        let softmax = Softmax { scale: 1.0 / (self.head_width as f32).sqrt() };
        let qkv = qkv.reshape(((), 3 * self.heads, self.head_width))?;
        let mut start = 0;
        let mut contexts = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            // Views (head, token, width) into the one matrix; `gemm` takes the strides as they are.
            let own = qkv.narrow(0, start, sequence.len())?.transpose(0, 1)?;
            let [query, key, value] = [0, 1, 2].map(|part| own.narrow(0, part * self.heads, self.heads));
            let scores = query?.matmul(&key?.transpose(1, 2)?)?;
            scores.inplace_op1(&softmax)?;
            contexts.push(scores.matmul(&value?)?.transpose(0, 1)?.flatten_from(1)?);
            start += sequence.len();
        }
        match contexts.as_slice() {
            [context] => Ok(context.clone()),
            contexts => Tensor::cat(contexts, 0),
        }
    }
}
