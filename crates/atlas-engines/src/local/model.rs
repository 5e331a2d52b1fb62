//! BERT from candle's tensors, driven for sentences on CPU cores.
//!
//! The rows of all sequences of a batch lie one after the other in one matrix: dense layers see
//! every token and no padding, only attention looks at the borders. So a batch costs its tokens,
//! whatever their spread over the sequences, there is no mask, and a vector does not depend on
//! its neighbours. Weights are transposed once at load, the layout that `gemm` reads without
//! packing; query, key and value are one product. candle's own BERT is the oracle of the tests.

use candle_core::{DType, Device, Result, Tensor};

use atlas_kernels::encoder::Stored;

use super::checkpoint::{self, Checkpoint};
use super::config::HiddenAct;
use super::ops::{Activation, AddNorm, Bias, Softmax};
use super::weights::WeightsError;

/// The products of a layer, by what reads their left side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Site {
    Qkv,
    Output,
    Widen,
    Narrow,
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

impl Layer {
    fn build(layer: checkpoint::Layer) -> std::result::Result<Self, WeightsError> {
        let [query, key, value] = [layer.query, layer.key, layer.value];
        let qkv = [&query, &key, &value].map(transposed).into_iter().collect::<Result<Vec<_>>>()?;
        let qkv_bias = [query.bias, key.bias, value.bias].concat();
        Ok(Self {
            qkv: Dense { weight: Tensor::cat(&qkv, 1)?, bias: Tensor::new(qkv_bias, &Device::Cpu)? },
            attention_out: transposed(&layer.output)?,
            attention_norm: norm(layer.output.bias, &layer.attention_norm)?,
            widen: Dense {
                weight: transposed(&layer.widen)?,
                bias: Tensor::new(layer.widen.bias, &Device::Cpu)?,
            },
            narrow: transposed(&layer.narrow)?,
            out_norm: norm(layer.narrow.bias, &layer.output_norm)?,
        })
    }
}

/// A dense layer's weight as `(inputs, outputs)`.
fn transposed(dense: &checkpoint::Dense) -> Result<Tensor> {
    let outputs = dense.bias.len();
    let shape = (outputs, dense.weight.len() / outputs);
    Tensor::from_slice(&dense.weight, shape, &Device::Cpu)?.t()?.contiguous()
}

/// The rows bias, gain and shift. The bias is that of the dense layer before the norm.
fn norm(bias: Vec<f32>, norm: &checkpoint::Norm) -> Result<Tensor> {
    let width = bias.len();
    let rows = [&bias[..], &norm.gain, &norm.shift].concat();
    Tensor::from_vec(rows, (3, width), &Device::Cpu)
}

impl Bert {
    /// Builds the model; positions beyond `max_tokens` are left behind.
    pub(super) fn load(
        checkpoint: &Checkpoint<'_>,
        max_tokens: usize,
    ) -> std::result::Result<Self, WeightsError> {
        let config = checkpoint.config();
        let hidden = config.hidden_size;
        let (words, stored) = checkpoint.words()?;
        let dtype = match stored {
            Stored::F32 => DType::F32,
            Stored::F16 => DType::F16,
            Stored::Bf16 => DType::BF16,
        };
        let layers = (0..config.num_hidden_layers).map(|number| Layer::build(checkpoint.layer(number)?));
        Ok(Self {
            words: Tensor::from_raw_buffer(words, dtype, &[config.vocab_size, hidden], &Device::Cpu)?,
            positions: Tensor::from_vec(
                checkpoint.positions(max_tokens)?,
                (max_tokens, hidden),
                &Device::Cpu,
            )?,
            norm: norm(vec![0.0; hidden], &checkpoint.embedding_norm()?)?,
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

    /// Columns of the hidden states.
    pub(super) fn width(&self) -> usize {
        self.heads * self.head_width
    }

    /// The last hidden states of all sequences, one row per token, in order.
    pub(super) fn forward(&self, sequences: &[&[u32]]) -> Result<Tensor> {
        self.forward_observed(sequences, &mut |_, _, _| {})
    }

    /// [`Self::forward`], showing the left side of every product.
    pub(super) fn forward_observed(
        &self,
        sequences: &[&[u32]],
        observe: &mut dyn FnMut(usize, Site, &Tensor),
    ) -> Result<Tensor> {
        let ids = sequences.concat();
        let n_tokens = ids.len();
        let places: Vec<u32> = sequences.iter().flat_map(|ids| 0..ids.len() as u32).collect();
        let place = Tensor::from_vec(places, n_tokens, &Device::Cpu)?;
        let mut rows = self
            .words
            .index_select(&Tensor::from_vec(ids, n_tokens, &Device::Cpu)?, 0)?
            .to_dtype(DType::F32)?;
        rows.inplace_op3(&self.positions.index_select(&place, 0)?, &self.norm, &self.add_norm)?;
        for (number, layer) in self.layers.iter().enumerate() {
            observe(number, Site::Qkv, &rows);
            let qkv = layer.qkv.forward(&rows, Activation::Identity)?;
            let context = self.attend(&qkv, sequences)?;
            observe(number, Site::Output, &context);
            let attended = context.matmul(&layer.attention_out)?;
            attended.inplace_op3(&rows, &layer.attention_norm, &self.add_norm)?;
            observe(number, Site::Widen, &attended);
            let wide = layer.widen.forward(&attended, self.activation)?;
            observe(number, Site::Narrow, &wide);
            rows = wide.matmul(&layer.narrow)?;
            rows.inplace_op3(&attended, &layer.out_norm, &self.add_norm)?;
        }
        Ok(rows)
    }

    pub(super) fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// The largest weight that each input of a product has, by amount.
    pub(super) fn largest_weights(&self, layer: usize, site: Site) -> Result<Vec<f32>> {
        let layer = &self.layers[layer];
        let weight = match site {
            Site::Qkv => &layer.qkv.weight,
            Site::Output => &layer.attention_out,
            Site::Widen => &layer.widen.weight,
            Site::Narrow => &layer.narrow,
        };
        weight.abs()?.max(1)?.to_vec1()
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
