//! Factors that even out ranges before numbers become 8-bit codes (SmoothQuant, arXiv
//! 2211.10438): a few channels of a BERT are ten times as wide as the others, and would cost all
//! of them three bits.
//!
//! A file `smoothing.safetensors` beside the weights has four vectors per layer,
//! `layer.N.{qkv,output,widen,narrow}`: what the rows before that product are multiplied with.
//! `atlasai-tp model calibrate` writes it; without one, codes are a little less exact.

use half::f16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::config::Config;

/// The factors of one layer.
pub(super) struct Factors {
    pub(super) qkv: Vec<f32>,
    pub(super) output: Vec<f32>,
    pub(super) widen: Vec<f32>,
    pub(super) narrow: Vec<f32>,
}

/// The factors of a model.
pub(super) struct Smoothing(Vec<Factors>);

impl Smoothing {
    /// Reads the file of a model of these sizes; the error says what is wrong with it.
    pub(super) fn parse(bytes: &[u8], config: &Config) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let factors = |name: String, width: usize| -> Result<Vec<f32>, String> {
            let view = file.tensor(&name).map_err(|_| format!("it has no tensor {name}"))?;
            if view.dtype() != Dtype::F16 || view.shape() != [width] {
                return Err(format!("{name} is not {width} numbers in f16"));
            }
            let factors: Vec<f32> =
                view.data().as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect();
            match factors.iter().all(|factor| factor.is_normal() && *factor > 0.0) {
                true => Ok(factors),
                false => Err(format!("{name} has a factor that is not positive")),
            }
        };
        let layers = (0..config.num_hidden_layers).map(|layer| {
            Ok(Factors {
                qkv: factors(format!("layer.{layer}.qkv"), config.hidden_size)?,
                output: factors(format!("layer.{layer}.output"), config.hidden_size)?,
                widen: factors(format!("layer.{layer}.widen"), config.hidden_size)?,
                narrow: factors(format!("layer.{layer}.narrow"), config.intermediate_size)?,
            })
        });
        layers.collect::<Result<_, String>>().map(Self)
    }

    pub(super) fn layer(&self, number: usize) -> &Factors {
        &self.0[number]
    }

    /// The file of these factors.
    pub(super) fn write(layers: &[Factors]) -> Vec<u8> {
        let half = |factors: &[f32]| -> Vec<u8> {
            factors.iter().flat_map(|factor| f16::from_f32(*factor).to_le_bytes()).collect()
        };
        let tensors: Vec<(String, Vec<u8>)> = layers
            .iter()
            .enumerate()
            .flat_map(|(layer, factors)| {
                [
                    ("qkv", &factors.qkv),
                    ("output", &factors.output),
                    ("widen", &factors.widen),
                    ("narrow", &factors.narrow),
                ]
                .map(|(part, factors)| (format!("layer.{layer}.{part}"), half(factors)))
            })
            .collect();
        let views = tensors.iter().map(|(name, bytes)| {
            let view = TensorView::new(Dtype::F16, vec![bytes.len() / 2], bytes);
            (name.as_str(), view.expect("two bytes per number"))
        });
        safetensors::serialize(views, None).expect("names are distinct and sizes fit")
    }
}
