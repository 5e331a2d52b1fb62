//! Every family and back end against candle's own models of random weights.

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{bert, distilbert, xlm_roberta};

use super::super::checkpoint::Checkpoint;
use super::super::device::OnDevice;
use super::tiny::Tiny;
use super::*;

/// The hidden states that candle's own model has for one sequence.
pub(super) fn oracle(dir: &Path, tiny: Tiny, ids: &[u32]) -> Tensor {
    let config = std::fs::read(dir.join("config.json")).expect("written");
    let weights = std::fs::read(dir.join("model.safetensors")).expect("written");
    let builder = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu).expect("valid");
    let builder = match tiny.prefix.trim_end_matches('.') {
        "" => builder,
        prefix => builder.pp(prefix),
    };
    let ids = Tensor::new(ids, &Device::Cpu).and_then(|ids| ids.unsqueeze(0)).expect("one row");
    let zeros = ids.zeros_like().expect("same shape");
    let states = match tiny.model_type {
        "bert" => {
            // candle has a word of its own for GELU by tanh.
            let config =
                String::from_utf8(config).expect("text").replace("gelu_approximate", "geluapproximate");
            let config = serde_json::from_str(&config).expect("complete");
            bert::BertModel::load(builder, &config).and_then(|model| model.forward(&ids, &zeros, None))
        }
        "distilbert" => {
            let config = serde_json::from_slice(&config).expect("complete");
            // Here a one hides a token.
            let hidden = zeros.to_dtype(DType::U8).expect("a cast");
            distilbert::DistilBertModel::load(builder, &config).and_then(|model| model.forward(&ids, &hidden))
        }
        _ => {
            let config = serde_json::from_slice(&config).expect("complete");
            let ones = ids.ones_like().expect("same shape");
            xlm_roberta::XLMRobertaModel::new(&config, builder)
                .and_then(|model| model.forward(&ids, &ones, &zeros, None, None, None))
        }
    };
    states.and_then(|states| states.i(0)).expect("one sequence")
}

/// The lowest cosine that a precision may have to the oracle: random weights are harsher on codes
/// than trained ones.
fn bar(precision: Precision) -> f64 {
    match precision {
        Precision::Auto | Precision::F32 => 0.999_999,
        Precision::Exact => 0.9998,
        Precision::Fast | Precision::Max => 0.995,
    }
}

async fn check(tiny: Tiny, precision: Precision, backend: Backend) {
    let dir = tiny.write();
    let options = LocalOptions { precision, backend, ..options(dir.path(), 1) };
    let embedder = LocalEmbedder::load(&options).expect("loads");
    // Without the unknown word: to candle's XLM-RoBERTa its id is padding.
    let text = "the node is down the disks full a";
    let states = oracle(dir.path(), tiny, &embedder.tokens.encode(text).expect("any text"));
    let expected = states.mean(0).and_then(|mean| mean.to_vec1::<f32>()).expect("f32");
    let vector = &embed(&embedder, &["disk", text, ""]).await[1];
    let cosine = dot(vector, &expected) / dot(&expected, &expected).sqrt();
    assert!(cosine > bar(precision), "{cosine} for {tiny:?} {precision} {backend}");
}

/// The states of candle's own model, and of [`OnDevice`] beside sequences of other lengths.
fn check_on_device(tiny: Tiny) {
    let dir = tiny.write();
    let files = ModelFiles::read(&options(dir.path(), 1)).expect("complete");
    let checkpoint = Checkpoint::open(&files.weights, &files.config).expect("complete");
    for pooling in [Pooling::Mean, Pooling::Cls] {
        let model =
            OnDevice::load(&checkpoint, files.max_tokens, pooling, Device::Cpu).expect("every size runs");
        let sequences: [&[u32]; 4] = [&[2, 3], &[2, 4, 5, 6, 7, 8, 9, 3], &[2, 9, 3], &[2, 5, 3]];
        let mut vectors = vec![f32::NAN; sequences.len() * tiny.hidden];
        model.encode(&sequences, &mut vectors).expect("runs");
        for (ids, vector) in sequences.iter().zip(vectors.chunks_exact(tiny.hidden)) {
            let states = oracle(dir.path(), tiny, ids);
            let expected = match pooling {
                Pooling::Cls => states.i(0),
                Pooling::Mean | Pooling::Remote => states.sum(0),
            };
            let expected = expected.and_then(|row| row.to_vec1::<f32>()).expect("f32");
            let cosine = dot(vector, &expected) / (dot(&expected, &expected) * dot(vector, vector)).sqrt();
            assert!(cosine > bar(Precision::F32), "{cosine} for {tiny:?} {pooling:?} {ids:?}");
        }
    }
}

async fn check_everywhere(tiny: Tiny) {
    check_on_device(tiny);
    check(tiny, Precision::F32, Backend::Reference).await;
    for instructions in Instructions::available() {
        for precision in [Precision::F32, Precision::Exact, Precision::Fast, Precision::Max] {
            check(tiny, precision, Backend::Fused(instructions)).await;
        }
    }
}

const WIDE: Tiny = Tiny { hidden: 128, heads: 4, wide: 192, ..Tiny::BERT };

#[tokio::test]
async fn bert_agrees_with_candles() {
    check_everywhere(WIDE).await;
    check_everywhere(Tiny { hidden: 64, heads: 2, wide: 64, prefix: "bert.", act: "relu", ..WIDE }).await;
    check_everywhere(Tiny { hidden: 64, heads: 1, act: "gelu_approximate", ..WIDE }).await;
}

/// candle's DistilBERT computes `gelu` by `tanh`, which is another function, hence `relu`.
#[tokio::test]
async fn distilbert_agrees_with_candles() {
    let tiny = Tiny { model_type: "distilbert", act: "relu", ..WIDE };
    check_everywhere(tiny).await;
    check_everywhere(Tiny { prefix: "distilbert.", hidden: 64, heads: 2, ..tiny }).await;
}

#[tokio::test]
async fn roberta_begins_its_positions_after_the_padding_and_agrees_with_candles() {
    let tiny = Tiny { model_type: "xlm-roberta", ..WIDE };
    check_everywhere(tiny).await;
    check_everywhere(Tiny { model_type: "roberta", prefix: "roberta.", hidden: 64, heads: 2, ..tiny }).await;
    check_everywhere(Tiny { model_type: "camembert", prefix: "roberta.", ..tiny }).await;
    let dir = tiny.write();
    let embedder = load(dir.path()).expect("loads");
    assert_eq!(embedder.tokens().max_tokens(), 12, "16 rows, two of them for padding, two special tokens");
}

#[tokio::test]
async fn a_size_that_the_fused_encoder_cannot_run_takes_the_reference_path_and_says_so() {
    for (hidden, act) in [(8, "gelu"), (24, "relu"), (100, "gelu")] {
        let tiny = Tiny { hidden, act, ..Tiny::BERT };
        check(tiny, Precision::Auto, Backend::Best).await;
        let dir = tiny.write();
        let embedder = LocalEmbedder::load(&LocalOptions {
            precision: Precision::Auto,
            backend: Backend::Best,
            ..options(dir.path(), 1)
        });
        let embedder = embedder.expect("loads");
        assert_eq!(embedder.backend(), Backend::Reference);
        assert_eq!((embedder.space().precision.as_str(), embedder.space().dimension), ("f32", hidden));
    }
}

#[test]
fn a_back_end_that_cannot_run_the_model_is_refused_with_the_reason() {
    let dir = Tiny::BERT.write();
    for instructions in Instructions::available() {
        let backend = Backend::Fused(instructions);
        let error = LocalEmbedder::load(&LocalOptions { backend, ..options(dir.path(), 1) });
        assert!(error.expect_err("hidden size 24").to_string().contains("hidden size 24"));
    }
}

#[test]
fn the_best_back_end_of_this_processor_is_chosen() {
    let dir = WIDE.write();
    let chosen = LocalEmbedder::load(&LocalOptions { backend: Backend::Best, ..options(dir.path(), 1) });
    let best = Instructions::detect().map_or(Backend::Reference, Backend::Fused);
    assert_eq!(chosen.expect("loads").backend(), best);
}

/// A sentencepiece vocabulary as XLM-RoBERTa's: pieces with scores, words marked by an underline.
#[test]
fn a_unigram_tokenizer_is_read() {
    let tiny = Tiny { model_type: "xlm-roberta", ..WIDE };
    let dir = tiny.write();
    let pieces = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("\u{2581}disk", -2.0),
        ("\u{2581}full", -2.5),
        ("\u{2581}", -4.0),
        ("dis", -5.0),
        ("k", -5.0),
        ("s", -5.0),
    ];
    let special = |word: &str, id: usize| serde_json::json!({ "id": word, "ids": [id], "tokens": [word] });
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always" },
        "decoder": { "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always" },
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } },
                { "SpecialToken": { "id": "</s>", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
            "special_tokens": { "<s>": special("<s>", 0), "</s>": special("</s>", 2) } },
        "model": { "type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": false },
    });
    write(dir.path(), "tokenizer.json", &tokenizer.to_string());
    let embedder = load(dir.path()).expect("loads");
    assert_eq!(embedder.tokens.encode("disk disks full").expect("any text"), [0, 4, 4, 9, 5, 2]);
}

/// Byte-level BPE as RoBERTa's, whose words are found by a regular expression.
#[test]
fn a_byte_level_tokenizer_is_read() {
    let tiny = Tiny { model_type: "roberta", ..WIDE };
    let dir = tiny.write();
    let vocab = serde_json::json!({ "<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "d": 4, "i": 5, "\u{120}": 6,
        "di": 7, "\u{120}di": 8, "a": 9 });
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "post_processor": { "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
            "trim_offsets": true, "add_prefix_space": false },
        "model": { "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "vocab": vocab, "merges": ["d i", "\u{120} di"] },
    });
    write(dir.path(), "tokenizer.json", &tokenizer.to_string());
    let embedder = load(dir.path()).expect("loads");
    assert_eq!(embedder.tokens.encode("di did").expect("any text"), [0, 7, 8, 4, 2]);
}
