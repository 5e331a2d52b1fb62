//! Folders with random models of two layers and a vocabulary of a dozen words.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::write;

const WORDS: [&str; 12] =
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "disk", "full", "node", "down", "##s", "is", "the", "a"];
const POSITIONS: usize = 16;

/// What kind of model to write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiny {
    pub(super) model_type: &'static str,
    /// Before every tensor's name.
    pub(super) prefix: &'static str,
    pub(super) hidden: usize,
    pub(super) heads: usize,
    pub(super) wide: usize,
    pub(super) act: &'static str,
}

impl Tiny {
    pub(super) const BERT: Self =
        Self { model_type: "bert", prefix: "", hidden: 24, heads: 4, wide: 40, act: "gelu" };

    pub(super) fn write(self) -> TempDir {
        let dir = tempfile::tempdir().expect("a writable temp dir");
        write(dir.path(), "tokenizer.json", &tokenizer().to_string());
        write(dir.path(), "config.json", &self.config().to_string());
        self.weights(dir.path());
        dir
    }

    fn is_distil(self) -> bool {
        self.model_type == "distilbert"
    }

    /// Rows of the token type table.
    fn token_types(self) -> usize {
        match self.model_type {
            "bert" => 2,
            "distilbert" => 0,
            _ => 1,
        }
    }

    fn config(self) -> Value {
        if self.is_distil() {
            return json!({
                "model_type": self.model_type, "vocab_size": WORDS.len(), "dim": self.hidden, "n_layers": 2,
                "n_heads": self.heads, "hidden_dim": self.wide, "activation": self.act,
                "max_position_embeddings": POSITIONS, "initializer_range": 0.02, "pad_token_id": 0,
                "sinusoidal_pos_embds": false,
            });
        }
        let (pad, eps) = if self.model_type == "bert" { (0, 1e-12) } else { (1, 1e-5) };
        json!({
            "model_type": self.model_type, "vocab_size": WORDS.len(), "hidden_size": self.hidden,
            "num_hidden_layers": 2, "num_attention_heads": self.heads, "intermediate_size": self.wide,
            "hidden_act": self.act, "max_position_embeddings": POSITIONS, "type_vocab_size": self.token_types(),
            "layer_norm_eps": eps, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
            "initializer_range": 0.02, "pad_token_id": pad, "position_embedding_type": "absolute",
        })
    }

    fn weights(self, dir: &Path) {
        let Self { hidden, wide, .. } = self;
        let mut tensors = HashMap::new();
        let mut seed = 7_u64;
        let mut add = |name: String, shape: &[usize], base: f32, spread: f32| {
            let values: Vec<f32> = (0..shape.iter().product::<usize>())
                .map(|_| {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    base + spread * ((seed >> 40) as f32 / (1 << 24) as f32 - 0.5)
                })
                .collect();
            let tensor = Tensor::from_vec(values, shape, &Device::Cpu).expect("shape fits");
            tensors.insert(format!("{}{name}", self.prefix), tensor);
        };
        for (name, rows) in
            [("word", WORDS.len()), ("position", POSITIONS), ("token_type", self.token_types())]
        {
            if rows > 0 {
                add(format!("embeddings.{name}_embeddings.weight"), &[rows, hidden], 0.0, 1.0);
            }
        }
        add("embeddings.LayerNorm.weight".into(), &[hidden], 1.0, 0.5);
        add("embeddings.LayerNorm.bias".into(), &[hidden], 0.0, 0.5);
        let (layers, parts) = match self.is_distil() {
            true => (
                "transformer.layer",
                [
                    "attention.q_lin",
                    "attention.k_lin",
                    "attention.v_lin",
                    "attention.out_lin",
                    "sa_layer_norm",
                    "ffn.lin1",
                    "ffn.lin2",
                    "output_layer_norm",
                ],
            ),
            false => (
                "encoder.layer",
                [
                    "attention.self.query",
                    "attention.self.key",
                    "attention.self.value",
                    "attention.output.dense",
                    "attention.output.LayerNorm",
                    "intermediate.dense",
                    "output.dense",
                    "output.LayerNorm",
                ],
            ),
        };
        let square = vec![hidden, hidden];
        let shapes = [
            square.clone(),
            square.clone(),
            square.clone(),
            square,
            vec![hidden],
            vec![wide, hidden],
            vec![hidden, wide],
            vec![hidden],
        ];
        for layer in 0..2 {
            for (part, shape) in parts.iter().zip(&shapes) {
                // Dense layers keep the size of their rows, norms begin at one.
                let (base, spread) = match shape.get(1) {
                    Some(inputs) => (0.0, 4.0 / (*inputs as f32).sqrt()),
                    None => (1.0, 0.5),
                };
                add(format!("{layers}.{layer}.{part}.weight"), shape, base, spread);
                add(format!("{layers}.{layer}.{part}.bias"), &shape[..1], 0.0, 0.5);
            }
        }
        candle_core::safetensors::save(&tensors, dir.join("model.safetensors")).expect("writable");
    }
}

fn tokenizer() -> Value {
    let vocab: Map<String, Value> =
        WORDS.iter().enumerate().map(|(id, word)| ((*word).into(), id.into())).collect();
    let special = |word: &str, id: usize| json!({ "id": word, "ids": [id], "tokens": [word] });
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "decoder": null,
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "[CLS]", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
                { "SpecialToken": { "id": "[SEP]", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3) } },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab },
    })
}
