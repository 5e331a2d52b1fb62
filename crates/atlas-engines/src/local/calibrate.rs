//! Finding the factors of [`Smoothing`] for a model, from texts like those it will see.
//!
//! The query's weights count as the file has them, without the scale of the scores that the
//! encoder folds in: codes have a scale per output, so it would change the balance between
//! query, key and value only. Measured both ways with the bundled model, mean cosines agree to
//! 3e-5.

mod texts;

use std::collections::BTreeMap;

use atlas_embed::EmbedError;

use super::checkpoint::Checkpoint;
use super::model::{Bert, Site};
use super::options::{LocalOptions, ModelFiles, Place};
use super::smoothing::{Factors, Smoothing};
use super::worker::Cause;

pub use texts::calibration_texts;

/// How much of the imbalance the rows give away to the weights. Half is the choice of the paper;
/// on the golden texts of the tests it was no worse than 0.6.
const SHARE: f32 = 0.5;

/// How wide the inputs of a product are, by layer and product.
type Widths = BTreeMap<(usize, Site), Vec<f32>>;

/// Runs the model over the texts, and gives the file `smoothing.safetensors`. `progress` is called
/// with the number of texts that were run.
///
/// A few hundred texts are enough.
pub fn calibrate(
    options: &LocalOptions,
    texts: &[String],
    progress: &dyn Fn(usize),
) -> Result<Vec<u8>, EmbedError> {
    let files = ModelFiles::read(options)?;
    if texts.is_empty() {
        return Err(Place(&files.place).unusable("there is no text to calibrate with"));
    }
    let tokens = files.tokens()?;
    let unusable = |error| files.unusable(error);
    let checkpoint = Checkpoint::open(&files.weights, &files.config).map_err(unusable)?;
    let bert = Bert::load(&checkpoint, files.max_tokens).map_err(unusable)?;

    let mut widths = Widths::new();
    for (number, text) in texts.iter().enumerate() {
        let ids = tokens.encode(text).map_err(failed)?;
        observe(&bert, &ids, &mut widths).map_err(|error| failed(Box::new(error)))?;
        progress(number + 1);
    }
    let factors = |layer: usize, site: Site| -> Result<Vec<f32>, EmbedError> {
        let weights = bert.largest_weights(layer, site).map_err(|error| failed(Box::new(error)))?;
        let rows = widths[&(layer, site)].iter();
        let factor = |row: f32, weight: f32| weight.max(1e-5).powf(1.0 - SHARE) / row.max(1e-5).powf(SHARE);
        Ok(rows.zip(weights).map(|(row, weight)| factor(*row, weight)).collect())
    };
    let layers = (0..bert.n_layers()).map(|layer| {
        Ok(Factors {
            qkv: factors(layer, Site::Qkv)?,
            output: factors(layer, Site::Output)?,
            widen: factors(layer, Site::Widen)?,
            narrow: factors(layer, Site::Narrow)?,
        })
    });
    Ok(Smoothing::write(&layers.collect::<Result<Vec<_>, EmbedError>>()?))
}

/// Adds a text's largest value of every input to their sum, where one odd token would otherwise
/// stretch its channel for all texts (with sums the lowest cosine of `fast` on runbooks, log lines
/// and postmortems is 0.9993, with the largest of all 0.9985). What the activation leaves are
/// mostly zeros and rare peaks: there the peaks count.
fn observe(bert: &Bert, ids: &[u32], widths: &mut Widths) -> candle_core::Result<()> {
    let mut failure = None;
    bert.forward_observed(&[ids], &mut |layer, site, rows| match rows
        .flatten_all()
        .and_then(|rows| rows.to_vec1::<f32>())
    {
        Ok(values) => {
            let width = values.len() / ids.len();
            let mut largest = vec![0.0f32; width];
            for row in values.chunks_exact(width) {
                largest.iter_mut().zip(row).for_each(|(largest, x)| *largest = largest.max(x.abs()));
            }
            let sums = widths.entry((layer, site)).or_insert_with(|| vec![0.0; width]);
            sums.iter_mut().zip(largest).for_each(|(sum, largest)| match site {
                Site::Qkv | Site::Output | Site::Widen => *sum += largest,
                Site::Narrow => *sum = sum.max(largest),
            });
        }
        Err(error) => failure = Some(error),
    })?;
    failure.map_or(Ok(()), Err)
}

fn failed(source: Cause) -> EmbedError {
    EmbedError::Failed { source }
}
