//! The tensors of a checkpoint by their meaning, whatever its family calls them.
//!
//! Every back end builds from this, so that a family is described once.

use atlas_kernels::encoder::Stored;

use super::config::{Config, Family};
use super::weights::{Weights, WeightsError};

/// A dense layer: `outputs` rows of `inputs` weights.
pub(super) struct Dense {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// Gain and shift of a layer norm.
pub(super) struct Norm {
    pub(super) gain: Vec<f32>,
    pub(super) shift: Vec<f32>,
}

/// A transformer layer, widened to floats.
pub(super) struct Layer {
    pub(super) query: Dense,
    pub(super) key: Dense,
    pub(super) value: Dense,
    pub(super) output: Dense,
    pub(super) attention_norm: Norm,
    pub(super) widen: Dense,
    pub(super) narrow: Dense,
    pub(super) output_norm: Norm,
}

/// Names of a family, below its prefix.
struct Names {
    /// In checkpoints of a whole task model.
    prefix: &'static str,
    layers: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    output: &'static str,
    attention_norm: &'static str,
    widen: &'static str,
    narrow: &'static str,
    output_norm: &'static str,
}

const BERT: Names = Names {
    prefix: "bert.",
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    widen: "intermediate.dense",
    narrow: "output.dense",
    output_norm: "output.LayerNorm",
};

const ROBERTA: Names = Names { prefix: "roberta.", ..BERT };

const DISTILBERT: Names = Names {
    prefix: "distilbert.",
    layers: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    widen: "ffn.lin1",
    narrow: "ffn.lin2",
    output_norm: "output_layer_norm",
};

/// A model file read as `config.json` announces it. What stays in memory are converted copies.
pub(super) struct Checkpoint<'a> {
    weights: Weights<'a>,
    config: Config,
    names: &'static Names,
}

impl<'a> Checkpoint<'a> {
    pub(super) fn open(bytes: &'a [u8], config: &Config) -> Result<Self, WeightsError> {
        let names = match config.family() {
            Family::Bert => &BERT,
            Family::DistilBert => &DISTILBERT,
            Family::Roberta => &ROBERTA,
        };
        Ok(Self { weights: Weights::parse(bytes, names.prefix)?, config: config.clone(), names })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// The word table where it lies in the file: rows are widened after the look-up, which saves a
    /// third of the memory of a small model.
    pub(super) fn words(&self) -> Result<(&'a [u8], Stored), WeightsError> {
        let shape = [self.config.vocab_size, self.config.hidden_size];
        self.weights.stored("embeddings.word_embeddings.weight", &shape)
    }

    /// Rows of the first `max_tokens` positions, with the row of token type 0 added: the sentence
    /// is the only one.
    pub(super) fn positions(&self, max_tokens: usize) -> Result<Vec<f32>, WeightsError> {
        let hidden = self.config.hidden_size;
        let shape = [self.config.max_position_embeddings, hidden];
        let mut positions = self.weights.floats("embeddings.position_embeddings.weight", &shape)?;
        positions.drain(..self.config.first_position() * hidden);
        positions.truncate(max_tokens * hidden);
        if let Some(rows) = self.config.token_types() {
            let types = self.weights.floats("embeddings.token_type_embeddings.weight", &[rows, hidden])?;
            for position in positions.chunks_exact_mut(hidden) {
                position.iter_mut().zip(&types).for_each(|(value, of_type)| *value += of_type);
            }
        }
        Ok(positions)
    }

    /// Of the sum of words and positions.
    pub(super) fn embedding_norm(&self) -> Result<Norm, WeightsError> {
        self.norm("embeddings.LayerNorm")
    }

    pub(super) fn layer(&self, number: usize) -> Result<Layer, WeightsError> {
        let names = self.names;
        let (hidden, wide) = (self.config.hidden_size, self.config.intermediate_size);
        let name = |part: &str| format!("{}.{number}.{part}", names.layers);
        let dense = |part: &str, outputs: usize, inputs: usize| -> Result<Dense, WeightsError> {
            Ok(Dense {
                weight: self.weights.floats(&name(&format!("{part}.weight")), &[outputs, inputs])?,
                bias: self.weights.floats(&name(&format!("{part}.bias")), &[outputs])?,
            })
        };
        Ok(Layer {
            query: dense(names.query, hidden, hidden)?,
            key: dense(names.key, hidden, hidden)?,
            value: dense(names.value, hidden, hidden)?,
            output: dense(names.output, hidden, hidden)?,
            attention_norm: self.norm(&name(names.attention_norm))?,
            widen: dense(names.widen, wide, hidden)?,
            narrow: dense(names.narrow, hidden, wide)?,
            output_norm: self.norm(&name(names.output_norm))?,
        })
    }

    fn norm(&self, name: &str) -> Result<Norm, WeightsError> {
        let shape = [self.config.hidden_size];
        // Checkpoints that began in TensorFlow keep its names.
        let [gain, shift] = match self.weights.has(&format!("{name}.gamma")) {
            true => ["gamma", "beta"],
            false => ["weight", "bias"],
        };
        Ok(Norm {
            gain: self.weights.floats(&format!("{name}.{gain}"), &shape)?,
            shift: self.weights.floats(&format!("{name}.{shift}"), &shape)?,
        })
    }
}
