//! The engine against sentence-transformers, against candle's own BERT, and on broken folders.

use std::path::Path;

use atlas_guard::Guard;
use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::BertModel;

use super::*;

async fn embed(embedder: &LocalEmbedder, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let cleared = Guard::new().clear(texts, embedder.destination()).expect("in process");
    embedder.embed(cleared, Purpose::Passage, Priority::Bulk).await.expect("any text is accepted")
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(feature = "bundled-model")]
mod bundled {
    use std::sync::LazyLock;

    use serde::Deserialize;

    use super::super::options::hex_digest;
    use super::*;

    /// One thread, loaded once: the tests share the machine.
    static BUNDLED: LazyLock<LocalEmbedder> = LazyLock::new(|| {
        LocalEmbedder::load(&LocalOptions { model_dir: None, threads: Some(1) })
            .expect("the committed model loads")
    });

    #[derive(Deserialize)]
    struct Golden {
        text: String,
        vector: Vec<f32>,
    }

    fn golden() -> Vec<Golden> {
        serde_json::from_str(include_str!("../../fixtures/golden.json")).expect("written by make_golden.py")
    }

    #[tokio::test]
    async fn vectors_agree_with_sentence_transformers_in_fp32() {
        let golden = golden();
        let texts: Vec<&str> = golden.iter().map(|case| case.text.as_str()).collect();
        let vectors = embed(&BUNDLED, &texts).await;
        assert_eq!(vectors.len(), golden.len());
        for (vector, case) in vectors.iter().zip(&golden) {
            let cosine = dot(vector, &case.vector) / dot(&case.vector, &case.vector).sqrt();
            // 0.99999: f16 weights cost about 1e-6, a wrong cut or pooling far more.
            assert!(cosine >= 0.99999, "{cosine} for {:.60?}", case.text);
        }
    }

    #[tokio::test]
    async fn vectors_have_unit_length_and_the_dimension_of_the_space() {
        for vector in embed(&BUNDLED, &["", "disk full", "🔥"]).await {
            assert_eq!(vector.len(), BUNDLED.space().dimension);
            assert!((dot(&vector, &vector) - 1.0).abs() < 1e-6);
        }
    }

    #[tokio::test]
    async fn neighbours_in_a_batch_do_not_change_a_vector() {
        let texts = ["disk full on db-3", "a", "p99 latency above 2s ".repeat(40).leak(), "", "上がった"];
        let together = embed(&BUNDLED, &texts).await;
        for (text, in_batch) in texts.iter().zip(&together) {
            let alone = &embed(&BUNDLED, &[text]).await[0];
            let largest = alone.iter().zip(in_batch).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest < 1e-5, "{largest} for {text:.40?}");
        }
    }

    #[tokio::test]
    async fn meaning_is_closer_than_words() {
        let vectors = embed(
            &BUNDLED,
            &["the volume has no space left", "disk is full", "the album is full of space rock"],
        )
        .await;
        assert!(dot(&vectors[0], &vectors[1]) > dot(&vectors[0], &vectors[2]));
    }

    #[tokio::test]
    async fn text_beyond_the_limit_changes_nothing_and_the_last_piece_within_it_does() {
        let room = BUNDLED.tokens().max_tokens();
        assert_eq!(room, 254, "256 word pieces, two of them special");
        let full = "disk ".repeat(room);
        assert_eq!(BUNDLED.tokens().count_tokens(&full), room);
        let vectors = embed(
            &BUNDLED,
            &[&full, &format!("{full}hidden"), &format!("{}hidden", "disk ".repeat(room - 1))],
        )
        .await;
        assert!(dot(&vectors[0], &vectors[1]) > 0.999_999);
        assert!(dot(&vectors[0], &vectors[2]) < 0.999_9);
    }

    #[test]
    fn a_text_of_megabytes_is_read_as_its_beginning() {
        let long = "error in shard seven\n".repeat(100_000);
        let ids = BUNDLED.tokens.encode(&long).expect("any text");
        assert_eq!(ids, BUNDLED.tokens.encode(&long[..20_000]).expect("any text"));
        assert_eq!((ids.len(), ids[0], ids[255]), (256, 101, 102));
    }

    #[test]
    fn tokens_are_counted_whole_and_without_the_special_ones() {
        for (text, n_tokens) in [("", 0), (" \t\n", 0), ("disk full", 2), (&"disk ".repeat(1_000), 1_000)] {
            assert_eq!(BUNDLED.tokens().count_tokens(text), n_tokens, "{text:.20?}");
        }
    }

    #[derive(Deserialize)]
    struct Card {
        dimension: usize,
        sha256: Digests,
    }

    #[derive(Deserialize)]
    struct Digests {
        weights: String,
        tokenizer: String,
        config: String,
    }

    #[test]
    fn the_committed_files_are_those_of_the_card() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/all-MiniLM-L6-v2");
        let read = |file: &str| std::fs::read(dir.join(file)).expect("committed");
        let card: Card = toml::from_slice(&read("model.toml")).expect("a card");
        assert_eq!(hex_digest(&read("model.safetensors")), card.sha256.weights);
        assert_eq!(hex_digest(&read("tokenizer.json")), card.sha256.tokenizer);
        assert_eq!(hex_digest(&read("config.json")), card.sha256.config);

        let space = BUNDLED.space();
        assert_eq!((space.engine.as_str(), space.model.as_str()), ("local", "all-MiniLM-L6-v2"));
        assert_eq!((space.dimension, space.pooling), (card.dimension, Pooling::Mean));
        assert_eq!(space.revision, card.sha256.weights[..16]);
    }

    #[test]
    fn a_folder_with_the_same_files_gives_the_same_space() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/all-MiniLM-L6-v2");
        let loaded =
            LocalEmbedder::load(&LocalOptions { model_dir: Some(dir), threads: Some(1) }).expect("loads");
        assert_eq!(loaded.space(), BUNDLED.space());
    }
}

/// A folder with a random model of two layers and a vocabulary of a dozen words.
fn tiny(hidden: usize, act: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a writable temp dir");
    let words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "disk", "full", "node", "down", "##s", "is", "the", "a"];
    let vocab: serde_json::Map<_, _> =
        words.iter().enumerate().map(|(id, word)| ((*word).into(), id.into())).collect();
    let special = |word: &str, id: usize| serde_json::json!({ "id": word, "ids": [id], "tokens": [word] });
    let tokenizer = serde_json::json!({
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
    });
    let (n_words, wide, positions) = (words.len(), 40, 16);
    let config = serde_json::json!({
        "model_type": "bert", "vocab_size": n_words, "hidden_size": hidden, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": wide, "hidden_act": act, "max_position_embeddings": positions,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "initializer_range": 0.02,
        "pad_token_id": 0,
    });
    write(dir.path(), "tokenizer.json", &tokenizer.to_string());
    write(dir.path(), "config.json", &config.to_string());

    let mut tensors = std::collections::HashMap::new();
    let mut seed = 7_u64;
    let mut add = |name: String, shape: &[usize]| {
        let values: Vec<f32> = (0..shape.iter().product::<usize>())
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 40) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).expect("shape fits"));
    };
    for (name, rows) in [("word", n_words), ("position", positions), ("token_type", 2)] {
        add(format!("embeddings.{name}_embeddings.weight"), &[rows, hidden]);
    }
    add("embeddings.LayerNorm.weight".into(), &[hidden]);
    add("embeddings.LayerNorm.bias".into(), &[hidden]);
    for layer in 0..2 {
        for (name, shape) in [
            ("attention.self.query", vec![hidden, hidden]),
            ("attention.self.key", vec![hidden, hidden]),
            ("attention.self.value", vec![hidden, hidden]),
            ("attention.output.dense", vec![hidden, hidden]),
            ("attention.output.LayerNorm", vec![hidden]),
            ("intermediate.dense", vec![wide, hidden]),
            ("output.dense", vec![hidden, wide]),
            ("output.LayerNorm", vec![hidden]),
        ] {
            add(format!("encoder.layer.{layer}.{name}.weight"), &shape);
            add(format!("encoder.layer.{layer}.{name}.bias"), &shape[..1]);
        }
    }
    candle_core::safetensors::save(&tensors, dir.path().join("model.safetensors")).expect("writable");
    dir
}

fn write(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().expect("in a folder")).expect("writable");
    std::fs::write(path, text).expect("writable");
}

fn load(dir: &Path) -> Result<LocalEmbedder, EmbedError> {
    LocalEmbedder::load(&LocalOptions { model_dir: Some(dir.to_owned()), threads: Some(1) })
}

/// The hidden states that candle's own BERT has for one sequence.
fn oracle(dir: &Path, ids: &[u32]) -> Tensor {
    let config = std::fs::read(dir.join("config.json")).expect("written above");
    let weights = std::fs::read(dir.join("model.safetensors")).expect("written above");
    let builder = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu).expect("valid");
    let model =
        BertModel::load(builder, &serde_json::from_slice(&config).expect("complete")).expect("complete");
    let ids = Tensor::new(ids, &Device::Cpu).and_then(|ids| ids.unsqueeze(0)).expect("one row");
    let states = model.forward(&ids, &ids.zeros_like().expect("same shape"), None).expect("runs");
    states.i(0).expect("one sequence")
}

#[tokio::test]
async fn other_sizes_and_activations_agree_with_candles_bert() {
    for (hidden, act) in [(8, "gelu"), (24, "relu"), (100, "gelu")] {
        let dir = tiny(hidden, act);
        let embedder = load(dir.path()).expect("loads");
        let text = "the node is down. Disks full!";
        let states = oracle(dir.path(), &embedder.tokens.encode(text).expect("any text"));
        let expected = states.mean(0).and_then(|mean| mean.to_vec1::<f32>()).expect("f32");
        let vector = &embed(&embedder, &["disk", text, ""]).await[1];
        let cosine = dot(vector, &expected) / dot(&expected, &expected).sqrt();
        assert!(cosine > 0.999_999, "{cosine} for {hidden} {act}");
        assert_eq!(embedder.space().dimension, hidden);
    }
}

#[tokio::test]
async fn sentence_transformers_files_choose_pooling_and_limit() {
    let dir = tiny(24, "gelu");
    write(
        dir.path(),
        "1_Pooling/config.json",
        r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#,
    );
    write(dir.path(), "sentence_bert_config.json", r#"{"max_seq_length": 5, "do_lower_case": false}"#);
    let embedder = load(dir.path()).expect("loads");
    assert_eq!((embedder.space().pooling, embedder.tokens().max_tokens()), (Pooling::Cls, 3));
    assert_eq!(embedder.tokens.encode("disk full node down").expect("any text"), [2, 4, 5, 6, 3]);
    let first = oracle(dir.path(), &[2, 4, 5, 6, 3]).i(0).and_then(|row| row.to_vec1::<f32>()).expect("f32");
    let vector = &embed(&embedder, &["disk full node down"]).await[0];
    assert!(dot(vector, &first) / dot(&first, &first).sqrt() > 0.999_999);
}

#[test]
fn a_folder_without_a_card_is_named_after_itself_and_limited_by_its_positions() {
    let dir = tiny(24, "gelu");
    let embedder = load(dir.path()).expect("loads");
    let name = dir.path().canonicalize().expect("exists");
    assert_eq!(embedder.space().model, name.file_name().expect("a name").to_string_lossy());
    assert_eq!(embedder.tokens().max_tokens(), 14, "16 positions");
    assert_eq!(embedder.space().revision.len(), 16);
}

/// Breaks a good folder and expects an error that names `file` and says `advice`.
#[track_caller]
fn check_broken(breakage: impl FnOnce(&Path), file: &str, advice: &str) {
    let dir = tiny(24, "gelu");
    breakage(dir.path());
    match load(dir.path()) {
        Err(EmbedError::Model { place, reason }) => {
            assert_eq!(place, dir.path().display().to_string());
            assert!(reason.contains(file) && reason.contains(advice), "{reason}");
        }
        other => panic!("expected a model error, got {other:?}"),
    }
}

#[test]
fn a_missing_file_is_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        check_broken(
            |dir| std::fs::remove_file(dir.join(file)).expect("written above"),
            file,
            "EMBEDDING_MODEL_PATH needs",
        );
    }
}

#[test]
fn a_damaged_file_is_named() {
    check_broken(|dir| write(dir, "config.json", "{"), "config.json", "copy it again");
    check_broken(|dir| write(dir, "tokenizer.json", "{}"), "tokenizer.json", "copy it again");
    check_broken(|dir| write(dir, "model.safetensors", "short"), "model.safetensors", "damaged or cut short");
    check_broken(|dir| write(dir, "model.toml", "name = 1"), "model.toml", "xtask model import");
    let cut = |dir: &Path| {
        let bytes = std::fs::read(dir.join("model.safetensors")).expect("written above");
        std::fs::write(dir.join("model.safetensors"), &bytes[..bytes.len() - 4]).expect("writable");
    };
    check_broken(cut, "model.safetensors", "damaged or cut short");
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let edit = |from: &'static str, to: &'static str| {
        move |dir: &Path| {
            let config = std::fs::read_to_string(dir.join("config.json")).expect("written above");
            assert!(config.contains(from));
            write(dir, "config.json", &config.replace(from, to));
        }
    };
    check_broken(edit(r#""vocab_size":12"#, r#""vocab_size":9"#), "tokenizer.json", "different models");
    check_broken(
        edit(r#""hidden_size":24"#, r#""hidden_size":48"#),
        "model.safetensors",
        "config.json announces",
    );
    check_broken(
        edit(r#""num_hidden_layers":2"#, r#""num_hidden_layers":3"#),
        "model.safetensors",
        "has no tensor",
    );
    check_broken(edit(r#""num_attention_heads":4"#, r#""num_attention_heads":5"#), "config.json", "multiple");
    check_broken(edit(r#""model_type":"bert""#, r#""model_type":"t5""#), "config.json", "runs \"bert\"");
    let wrong = "name = \"x\"\npooling = \"mean\"\nmax_tokens = 8\n[sha256]\nweights = \"00\"\n";
    check_broken(|dir| write(dir, "model.toml", wrong), "model.safetensors", "model.toml describes");
    let long = "name = \"x\"\npooling = \"mean\"\nmax_tokens = 17\n";
    check_broken(|dir| write(dir, "model.toml", long), "model.toml", "max_tokens is 17");
    let none = "name = \"x\"\npooling = \"mean\"\nmax_tokens = 2\n";
    check_broken(|dir| write(dir, "model.toml", none), "tokenizer.json", "no room");
}

#[tokio::test]
async fn loading_through_the_contract_gives_vectors() {
    let dir = tiny(24, "gelu");
    let engine = LocalEngine::new(LocalOptions { model_dir: Some(dir.path().to_owned()), threads: Some(2) });
    let Ok(Embedding::Vectors(embedder)) = engine.load().await else { panic!("a good folder") };
    assert_eq!(embedder.space().dimension, 24);
    assert!(!embedder.destination().is_outside());
}
