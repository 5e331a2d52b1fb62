//! Tensors out of a safetensors file.

use atlas_kernels::encoder::Stored;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Why the weights cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum WeightsError {
    #[error("is damaged or cut short ({0})")]
    Damaged(safetensors::SafeTensorError),
    #[error("has no tensor {0}")]
    Missing(String),
    #[error("has {name} of shape {found:?} where config.json announces {expected:?}")]
    Shape { name: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("keeps {name} as {found}; use f32, f16 or bf16")]
    Type { name: String, found: Dtype },
    #[error("cannot be laid out in memory ({0})")]
    Layout(#[from] candle_core::Error),
}

/// The tensors of a model file, which is borrowed: what stays in memory is the converted copy.
pub(super) struct Weights<'a> {
    file: SafeTensors<'a>,
    /// Before every name; empty in checkpoints of the encoder alone.
    prefix: &'static str,
}

impl<'a> Weights<'a> {
    /// Reads the file, whose names may begin with `prefix`.
    pub(super) fn parse(bytes: &'a [u8], prefix: &'static str) -> Result<Self, WeightsError> {
        let file = SafeTensors::deserialize(bytes).map_err(WeightsError::Damaged)?;
        let prefix = if file.names().iter().any(|name| name.starts_with(prefix)) { prefix } else { "" };
        Ok(Self { file, prefix })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.file.tensor(&format!("{}{name}", self.prefix)).is_ok()
    }

    /// A tensor as f32 in the order of the file.
    pub(super) fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let view = self.view(name, shape)?;
        let data = view.data();
        match view.dtype() {
            Dtype::F32 => Ok(data.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect()),
            Dtype::F16 => {
                let halves: Vec<f16> =
                    data.as_chunks().0.iter().map(|word| f16::from_le_bytes(*word)).collect();
                let mut floats = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut floats);
                Ok(floats)
            }
            Dtype::BF16 => {
                Ok(data.as_chunks().0.iter().map(|word| bf16::from_le_bytes(*word).to_f32()).collect())
            }
            found => Err(WeightsError::Type { name: name.to_owned(), found }),
        }
    }

    /// A tensor's bytes where they lie in the file, and their type.
    pub(super) fn stored(&self, name: &str, shape: &[usize]) -> Result<(&'a [u8], Stored), WeightsError> {
        let view = self.view(name, shape)?;
        let stored = match view.dtype() {
            Dtype::F32 => Stored::F32,
            Dtype::F16 => Stored::F16,
            Dtype::BF16 => Stored::Bf16,
            found => return Err(WeightsError::Type { name: name.to_owned(), found }),
        };
        Ok((view.data(), stored))
    }

    fn view(&self, name: &str, shape: &[usize]) -> Result<TensorView<'a>, WeightsError> {
        let name = format!("{}{name}", self.prefix);
        let view = self.file.tensor(&name).map_err(|_| WeightsError::Missing(name.clone()))?;
        if view.shape() != shape {
            return Err(WeightsError::Shape { name, found: view.shape().to_vec(), expected: shape.to_vec() });
        }
        Ok(view)
    }
}
