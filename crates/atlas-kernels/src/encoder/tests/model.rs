//! Models of random weights, and what they compute by definition.

use std::borrow::Cow;

use super::{Noise, definition};
use crate::encoder::{
    Activation, Dense, Embeddings, Encoder, Instructions, LayerWeights, Norm, Pool, Precision, Shape, Stored,
    Workspace,
};

#[derive(Debug, Clone)]
pub(super) struct Layer {
    weights: Vec<f32>,
    bias: Vec<f32>,
    smoothing: Option<Vec<f32>>,
}

impl Layer {
    fn new(noise: &mut Noise, inputs: usize, outputs: usize) -> Self {
        // Keeps the size of what passes.
        let size = 1.7 / (inputs as f32).sqrt();
        Self {
            weights: noise.floats(inputs * outputs, size),
            bias: noise.floats(outputs, 0.2),
            smoothing: None,
        }
    }

    fn borrow(&self) -> Dense<'_> {
        Dense { weight: &self.weights, bias: &self.bias, smoothing: self.smoothing.as_deref() }
    }

    fn apply(&self, x: &[f64]) -> Vec<f64> {
        definition::dense(&self.weights, &self.bias, x)
    }
}

type Gains = (Vec<f32>, Vec<f32>);

fn norm(noise: &mut Noise, hidden: usize) -> Gains {
    (noise.floats(hidden, 0.3).into_iter().map(|x| 1.0 + x).collect(), noise.floats(hidden, 0.1))
}

fn borrow(norm: &Gains) -> Norm<'_> {
    Norm { gain: &norm.0, shift: &norm.1 }
}

/// A whole model; every part can be replaced to see that the encoder refuses it.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) shape: Shape,
    pub(super) words: Vec<f32>,
    pub(super) positions: Vec<f32>,
    pub(super) norm: Gains,
    /// Query, key, value, output, both feed-forward layers.
    pub(super) layers: Vec<([Layer; 6], [Gains; 2])>,
}

pub(super) const VOCABULARY: usize = 50;

impl Model {
    pub(super) fn new(shape: Shape, n_layers: usize, seed: u64) -> Self {
        let noise = &mut Noise(seed);
        let (hidden, wide) = (shape.hidden, shape.intermediate);
        Self {
            shape,
            words: noise.floats(VOCABULARY * hidden, 1.0),
            positions: noise.floats(shape.max_tokens * hidden, 0.3),
            norm: norm(noise, hidden),
            layers: (0..n_layers)
                .map(|_| {
                    let sizes = [(hidden, hidden); 4].into_iter().chain([(hidden, wide), (wide, hidden)]);
                    let layers: Vec<Layer> = sizes.map(|(from, to)| Layer::new(noise, from, to)).collect();
                    let layers = layers.try_into().expect("six sizes are six layers");
                    (layers, [norm(noise, hidden), norm(noise, hidden)])
                })
                .collect(),
        }
    }

    /// The same model with smoothing before every product of codes.
    pub(super) fn smoothed(mut self, seed: u64) -> Self {
        let noise = &mut Noise(seed);
        for (layers, _) in &mut self.layers {
            for layer in layers {
                let inputs = layer.weights.len() / layer.bias.len();
                layer.smoothing = Some(noise.floats(inputs, 0.3).into_iter().map(|x| 1.0 + x).collect());
            }
        }
        self
    }

    pub(super) fn drop_bias(&mut self, of: usize) {
        self.layers[0].0[of].bias.pop();
    }

    pub(super) fn drop_weight(&mut self, of: usize) {
        self.layers[0].0[of].weights.pop();
    }

    pub(super) fn drop_smoothing(&mut self, of: usize) {
        self.layers[0].0[of].smoothing = Some(vec![1.0]);
    }

    pub(super) fn encoder(&self, on: Instructions, precision: Precision) -> Encoder {
        let words: Vec<u8> = self.words.iter().flat_map(|x| x.to_ne_bytes()).collect();
        let embeddings = Embeddings {
            words: Cow::Owned(words),
            stored: Stored::F32,
            positions: &self.positions,
            norm: borrow(&self.norm),
        };
        let mut encoder = Encoder::new(on, precision, self.shape, embeddings);
        for (layers, norms) in &self.layers {
            encoder.push_layer(&LayerWeights {
                qkv: [layers[0].borrow(), layers[1].borrow(), layers[2].borrow()],
                output: layers[3].borrow(),
                attention_norm: borrow(&norms[0]),
                widen: layers[4].borrow(),
                narrow: layers[5].borrow(),
                output_norm: borrow(&norms[1]),
            });
        }
        encoder
    }

    /// The pooled states of a text by definition.
    pub(super) fn define(&self, ids: &[u32], pool: Pool) -> Vec<f32> {
        let Shape { hidden, heads, eps, activation, .. } = self.shape;
        let normalized = |x: Vec<f64>, norm: &Gains| definition::normalize(&x, &norm.0, &norm.1, eps);
        let added = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
        let row = |table: &[f32], at: usize| -> Vec<f64> {
            table[at * hidden..][..hidden].iter().map(|x| f64::from(*x)).collect()
        };
        let mut states: Vec<Vec<f64>> = ids
            .iter()
            .enumerate()
            .map(|(at, id)| {
                normalized(added(&row(&self.words, *id as usize), &row(&self.positions, at)), &self.norm)
            })
            .collect();
        // The kernels' softmax is to the base of two.
        let scale = std::f64::consts::LOG2_E / ((hidden / heads) as f64).sqrt();
        for ([query, key, value, output, widen, narrow], norms) in &self.layers {
            let qkv: Vec<Vec<f64>> = states
                .iter()
                .map(|x| {
                    let query = query.apply(x).into_iter().map(|x| x * scale);
                    query.chain(key.apply(x)).chain(value.apply(x)).collect()
                })
                .collect();
            let contexts = definition::attend(&qkv, heads);
            for (state, context) in states.iter_mut().zip(contexts) {
                let middle = normalized(added(state, &output.apply(&context)), &norms[0]);
                let wide: Vec<f64> =
                    widen.apply(&middle).into_iter().map(|x| definition::activation(activation, x)).collect();
                *state = normalized(added(&middle, &narrow.apply(&wide)), &norms[1]);
            }
        }
        let pooled = match pool {
            Pool::First => states[0].clone(),
            Pool::Sum => states.iter().fold(vec![0.0; hidden], |sum, state| added(&sum, state)),
        };
        pooled.into_iter().map(|x| x as f32).collect()
    }
}

/// A shape of a small model that reads up to 512 tokens.
pub(super) fn shape(hidden: usize, head_width: usize, intermediate: usize, activation: Activation) -> Shape {
    Shape { hidden, heads: hidden / head_width, intermediate, max_tokens: 512, activation, eps: 1e-12 }
}

/// Ids of a random text.
pub(super) fn text(noise: &mut Noise, n: usize) -> Vec<u32> {
    (0..n).map(|_| noise.below(VOCABULARY) as u32).collect()
}

/// Vectors of texts that pass the network together.
pub(super) fn encode(
    encoder: &Encoder,
    workspace: &mut Workspace,
    texts: &[impl AsRef<[u32]>],
    pool: Pool,
) -> Vec<Vec<f32>> {
    let hidden = encoder.shape().hidden;
    let texts: Vec<&[u32]> = texts.iter().map(AsRef::as_ref).collect();
    let mut pooled = vec![f32::NAN; texts.len() * hidden];
    encoder.encode(workspace, &texts, pool, &mut pooled);
    pooled.chunks_exact(hidden).map(<[f32]>::to_vec).collect()
}

/// The vector of a text that passes alone, in buffers of its own.
pub(super) fn alone(encoder: &Encoder, text: &[u32], pool: Pool) -> Vec<f32> {
    encode(encoder, &mut Workspace::new(encoder.shape(), 1), &[text], pool).concat()
}
