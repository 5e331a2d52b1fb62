//! The engine against sentence-transformers, against candle's own models, and on broken folders.

#[cfg(feature = "bundled-model")]
mod bundled;
#[cfg(feature = "bundled-model")]
mod corpora;
mod families;
mod tiny;

use std::path::Path;

use atlas_domain::Pooling;
use atlas_guard::Guard;
use atlas_kernels::encoder::Instructions;
use candle_core::IndexOp;

use super::*;
use tiny::Tiny;

fn options(dir: &Path, threads: usize) -> LocalOptions {
    LocalOptions {
        model_dir: Some(dir.to_owned()),
        threads: Some(threads),
        precision: Precision::F32,
        backend: Backend::Reference,
    }
}

async fn embed(embedder: &LocalEmbedder, texts: &[&str]) -> Vec<Vec<f32>> {
    let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
    let cleared = Guard::new().clear(texts, embedder.destination()).expect("in process");
    embedder.embed(cleared, Purpose::Passage, Priority::Bulk).await.expect("any text is accepted")
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn write(dir: &Path, file: &str, text: &str) {
    let path = dir.join(file);
    std::fs::create_dir_all(path.parent().expect("in a folder")).expect("writable");
    std::fs::write(path, text).expect("writable");
}

fn load(dir: &Path) -> Result<LocalEmbedder, EmbedError> {
    LocalEmbedder::load(&options(dir, 1))
}

#[tokio::test]
async fn sentence_transformers_files_choose_pooling_and_limit() {
    let dir = Tiny::BERT.write();
    write(
        dir.path(),
        "1_Pooling/config.json",
        r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#,
    );
    write(dir.path(), "sentence_bert_config.json", r#"{"max_seq_length": 5, "do_lower_case": false}"#);
    let embedder = load(dir.path()).expect("loads");
    assert_eq!((embedder.space().pooling, embedder.tokens().max_tokens()), (Pooling::Cls, 3));
    assert_eq!(embedder.tokens.encode("disk full node down").expect("any text"), [2, 4, 5, 6, 3]);
    let first = families::oracle(dir.path(), Tiny::BERT, &[2, 4, 5, 6, 3])
        .i(0)
        .and_then(|row| row.to_vec1::<f32>())
        .expect("f32");
    let vector = &embed(&embedder, &["disk full node down"]).await[0];
    assert!(dot(vector, &first) / dot(&first, &first).sqrt() > 0.999_999);
}

#[test]
fn a_folder_without_a_card_is_named_after_itself_and_limited_by_its_positions() {
    let dir = Tiny::BERT.write();
    let embedder = load(dir.path()).expect("loads");
    let name = dir.path().canonicalize().expect("exists");
    assert_eq!(embedder.space().model, name.file_name().expect("a name").to_string_lossy());
    assert_eq!(embedder.tokens().max_tokens(), 14, "16 positions");
    assert_eq!(embedder.space().revision.len(), 16);
}

/// Breaks a good folder and expects an error that names `file` and says `advice`.
#[track_caller]
fn check_broken(breakage: impl FnOnce(&Path), file: &str, advice: &str) {
    let dir = Tiny::BERT.write();
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
    check_broken(
        edit(r#""model_type":"bert""#, r#""model_type":"t5""#),
        "config.json",
        "this engine runs bert",
    );
    let wrong = "name = \"x\"\npooling = \"mean\"\nmax_tokens = 8\n[sha256]\nweights = \"00\"\n";
    check_broken(|dir| write(dir, "model.toml", wrong), "model.safetensors", "model.toml describes");
    let long = "name = \"x\"\npooling = \"mean\"\nmax_tokens = 17\n";
    check_broken(|dir| write(dir, "model.toml", long), "model.toml", "max_tokens is 17");
    let none = "name = \"x\"\npooling = \"mean\"\nmax_tokens = 2\n";
    check_broken(|dir| write(dir, "model.toml", none), "tokenizer.json", "no room");
}

#[tokio::test]
async fn loading_through_the_contract_gives_vectors() {
    let dir = Tiny::BERT.write();
    let engine = LocalEngine::new(options(dir.path(), 2));
    let Ok(Embedding::Vectors(embedder)) = engine.load().await else { panic!("a good folder") };
    assert_eq!(embedder.space().dimension, 24);
    assert!(!embedder.destination().is_outside());
}
