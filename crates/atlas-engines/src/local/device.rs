//! BERT from candle's own operations, on any device that candle has.
//!
//! The rows of all sequences lie one after the other in one matrix, as on the reference path: what
//! a batch costs is its tokens. Only attention needs rectangles. Sequences of about one length, to
//! the next power of two, share one, so that less than half of a rectangle is padding; what its
//! padding computes is masked and left behind.

use atlas_domain::Pooling;
use atlas_kernels::encoder::Stored;
use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::{layer_norm, softmax_last_dim};

use super::checkpoint::{self, Checkpoint};
use super::config::HiddenAct;
use super::weights::WeightsError;

/// Shorter sequences are padded to this: rectangles smaller than a tile of a product save nothing.
const SHORTEST: usize = 16;

/// A score that softmax turns to zero.
const HIDDEN: f32 = -1e9;

/// The loaded encoder, in f32.
pub(super) struct OnDevice {
    device: Device,
    words: Tensor,
    /// Positions with the embedding of token type 0 added.
    positions: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
    heads: usize,
    hidden: usize,
    eps: f32,
    activation: HiddenAct,
    pooling: Pooling,
}

struct Layer {
    qkv: Dense,
    output: Dense,
    attention_norm: Norm,
    widen: Dense,
    narrow: Dense,
    output_norm: Norm,
}

struct Dense {
    weight: Tensor,
    bias: Tensor,
}

struct Norm {
    gain: Tensor,
    shift: Tensor,
}

impl Dense {
    /// From layers that read the same rows.
    fn load(parts: &[&checkpoint::Dense], device: &Device) -> Result<Self> {
        let outputs: usize = parts.iter().map(|part| part.bias.len()).sum();
        let weight: Vec<f32> = parts.iter().flat_map(|part| part.weight.iter().copied()).collect();
        let bias: Vec<f32> = parts.iter().flat_map(|part| part.bias.iter().copied()).collect();
        let shape = (outputs, weight.len() / outputs);
        Ok(Self {
            weight: Tensor::from_vec(weight, shape, device)?.t()?.contiguous()?,
            bias: Tensor::new(bias, device)?,
        })
    }

    fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        rows.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

impl Norm {
    fn load(norm: checkpoint::Norm, device: &Device) -> Result<Self> {
        Ok(Self { gain: Tensor::new(norm.gain, device)?, shift: Tensor::new(norm.shift, device)? })
    }

    fn forward(&self, rows: &Tensor, eps: f32) -> Result<Tensor> {
        layer_norm(rows, &self.gain, &self.shift, eps)
    }
}

impl Layer {
    fn load(layer: checkpoint::Layer, device: &Device) -> Result<Self> {
        Ok(Self {
            qkv: Dense::load(&[&layer.query, &layer.key, &layer.value], device)?,
            output: Dense::load(&[&layer.output], device)?,
            attention_norm: Norm::load(layer.attention_norm, device)?,
            widen: Dense::load(&[&layer.widen], device)?,
            narrow: Dense::load(&[&layer.narrow], device)?,
            output_norm: Norm::load(layer.output_norm, device)?,
        })
    }
}

/// Sequences of about one length.
struct Rectangle {
    /// Which sequences of the batch.
    members: Vec<usize>,
    width: usize,
    /// The row of each place; padding reads the batch's first row.
    rows: Tensor,
    /// 0 where a token is, [`HIDDEN`] elsewhere: `(members, 1, 1, width)`.
    mask: Tensor,
    /// 1 where a token is: `(members, width, 1)`.
    present: Tensor,
}

impl Rectangle {
    fn new(members: Vec<usize>, sequences: &[&[u32]], starts: &[u32], device: &Device) -> Result<Self> {
        let width = members.iter().map(|member| sequences[*member].len()).max().unwrap_or(0);
        let n_places = members.len() * width;
        let (mut rows, mut mask) = (vec![0_u32; n_places], vec![HIDDEN; n_places]);
        for (place, member) in members.iter().enumerate() {
            let own = place * width..place * width + sequences[*member].len();
            mask[own.clone()].fill(0.0);
            rows[own].iter_mut().zip(starts[*member]..).for_each(|(row, number)| *row = number);
        }
        let present: Vec<f32> = mask.iter().map(|mask| if *mask == 0.0 { 1.0 } else { 0.0 }).collect();
        Ok(Self {
            rows: Tensor::from_vec(rows, n_places, device)?,
            mask: Tensor::from_vec(mask, (members.len(), 1, 1, width), device)?,
            present: Tensor::from_vec(present, (members.len(), width, 1), device)?,
            members,
            width,
        })
    }
}

/// How the rows of a batch become rectangles and rows again.
struct Plan {
    rectangles: Vec<Rectangle>,
    /// Of each row, its place in the rectangles laid end to end.
    back: Tensor,
}

impl Plan {
    fn new(sequences: &[&[u32]], device: &Device) -> Result<Self> {
        let mut starts = Vec::with_capacity(sequences.len());
        let mut n_tokens = 0;
        for sequence in sequences {
            starts.push(n_tokens as u32);
            n_tokens += sequence.len();
        }
        let mut by_width: std::collections::BTreeMap<usize, Vec<usize>> = std::collections::BTreeMap::new();
        for (number, sequence) in sequences.iter().enumerate() {
            by_width.entry(sequence.len().next_power_of_two().max(SHORTEST)).or_default().push(number);
        }
        let rectangles = by_width
            .into_values()
            .map(|members| Rectangle::new(members, sequences, &starts, device))
            .collect::<Result<Vec<_>>>()?;
        let mut back = vec![0_u32; n_tokens];
        let mut first = 0_u32;
        for rectangle in &rectangles {
            for member in &rectangle.members {
                let own = starts[*member] as usize..starts[*member] as usize + sequences[*member].len();
                back[own].iter_mut().zip(first..).for_each(|(back, place)| *back = place);
                first += rectangle.width as u32;
            }
        }
        Ok(Self { rectangles, back: Tensor::from_vec(back, n_tokens, device)? })
    }
}

impl OnDevice {
    /// Builds the model on a device; positions beyond `max_tokens` are left behind.
    pub(super) fn load(
        checkpoint: &Checkpoint<'_>,
        max_tokens: usize,
        pooling: Pooling,
        device: Device,
    ) -> std::result::Result<Self, WeightsError> {
        let config = checkpoint.config();
        let hidden = config.hidden_size;
        let (words, stored) = checkpoint.words()?;
        let dtype = match stored {
            Stored::F32 => DType::F32,
            Stored::F16 => DType::F16,
            Stored::Bf16 => DType::BF16,
        };
        let layers = (0..config.num_hidden_layers)
            .map(|number| Ok(Layer::load(checkpoint.layer(number)?, &device)?))
            .collect::<std::result::Result<_, WeightsError>>()?;
        Ok(Self {
            words: Tensor::from_raw_buffer(words, dtype, &[config.vocab_size, hidden], &device)?,
            positions: Tensor::from_vec(checkpoint.positions(max_tokens)?, (max_tokens, hidden), &device)?,
            norm: Norm::load(checkpoint.embedding_norm()?, &device)?,
            layers,
            heads: config.num_attention_heads,
            hidden,
            eps: config.layer_norm_eps,
            activation: config.hidden_act,
            pooling,
            device,
        })
    }

    /// Writes pooled states, not normalised, one after the other.
    pub(super) fn encode(&self, sequences: &[&[u32]], vectors: &mut [f32]) -> Result<()> {
        let plan = Plan::new(sequences, &self.device)?;
        let rows = self.forward(sequences, &plan)?;
        for rectangle in &plan.rectangles {
            let shape = (rectangle.members.len(), rectangle.width, self.hidden);
            let states = rows.index_select(&rectangle.rows, 0)?.reshape(shape)?;
            let pooled = match self.pooling {
                Pooling::Cls => states.narrow(1, 0, 1)?.squeeze(1)?,
                // The sum serves as the mean: the length is divided away.
                Pooling::Mean | Pooling::Remote => states.broadcast_mul(&rectangle.present)?.sum(1)?,
            };
            let pooled: Vec<f32> = pooled.flatten_all()?.to_vec1()?;
            for (member, vector) in rectangle.members.iter().zip(pooled.chunks_exact(self.hidden)) {
                vectors[member * self.hidden..][..self.hidden].copy_from_slice(vector);
            }
        }
        Ok(())
    }

    fn forward(&self, sequences: &[&[u32]], plan: &Plan) -> Result<Tensor> {
        let ids = sequences.concat();
        let n_tokens = ids.len();
        let places: Vec<u32> = sequences.iter().flat_map(|ids| 0..ids.len() as u32).collect();
        let positions = self.positions.index_select(&Tensor::from_vec(places, n_tokens, &self.device)?, 0)?;
        let words = self.words.index_select(&Tensor::from_vec(ids, n_tokens, &self.device)?, 0)?;
        let mut rows = self.norm.forward(&(words.to_dtype(DType::F32)? + positions)?, self.eps)?;
        for layer in &self.layers {
            let context = self.attend(&layer.qkv.forward(&rows)?, plan)?;
            let attended = (layer.output.forward(&context)? + rows)?;
            let attended = layer.attention_norm.forward(&attended, self.eps)?;
            let wide = layer.widen.forward(&attended)?;
            let wide = match self.activation {
                HiddenAct::Gelu => wide.gelu_erf()?,
                HiddenAct::GeluNew => wide.gelu()?,
                HiddenAct::Relu => wide.relu()?,
            };
            let narrow = (layer.narrow.forward(&wide)? + attended)?;
            rows = layer.output_norm.forward(&narrow, self.eps)?;
        }
        Ok(rows)
    }

    /// Every token looks at the tokens of its own sequence.
    fn attend(&self, qkv: &Tensor, plan: &Plan) -> Result<Tensor> {
        let head_width = self.hidden / self.heads;
        let scale = 1.0 / (head_width as f64).sqrt();
        let mut contexts = Vec::with_capacity(plan.rectangles.len());
        for rectangle in &plan.rectangles {
            let (n_members, width) = (rectangle.members.len(), rectangle.width);
            // (3, members, heads, places, head's width)
            let qkv = qkv
                .index_select(&rectangle.rows, 0)?
                .reshape((n_members, width, 3, self.heads, head_width))?
                .permute((2, 0, 3, 1, 4))?
                .contiguous()?;
            let [query, key, value] = [qkv.get(0)?, qkv.get(1)?, qkv.get(2)?];
            let scores = (query.matmul(&key.t()?)? * scale)?.broadcast_add(&rectangle.mask)?;
            let context = softmax_last_dim(&scores)?.matmul(&value)?;
            contexts.push(context.transpose(1, 2)?.reshape((n_members * width, self.hidden))?);
        }
        Tensor::cat(&contexts, 0)?.index_select(&plan.back, 0)
    }
}
