//! The model in the binary.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so, and a measured figure is shown")]

use std::sync::LazyLock;

use serde::Deserialize;

use super::super::options::hex_digest;
use super::*;

/// One thread, loaded once: the tests share the machine.
static BUNDLED: LazyLock<LocalEmbedder> = LazyLock::new(|| {
    LocalEmbedder::load(&LocalOptions { threads: Some(1), ..LocalOptions::default() })
        .expect("the committed model loads")
});

#[derive(Deserialize)]
struct Golden {
    text: String,
    vector: Vec<f32>,
}

fn golden() -> Vec<Golden> {
    serde_json::from_str(include_str!("../../../fixtures/golden.json")).expect("written by make_golden.py")
}

/// What this processor can run, of the back ends with a name: the others are said.
fn named(words: &[&str]) -> Vec<Backend> {
    let named = words.iter().filter_map(|word| match word.parse() {
        Ok(backend) => Some(backend),
        Err(reason) => {
            println!("SKIPPED: {reason}");
            None
        }
    });
    named.collect()
}

/// Every precision of the fused encoder.
pub(super) const PRECISIONS: [Precision; 4] =
    [Precision::F32, Precision::Exact, Precision::Fast, Precision::Max];

/// The lowest and the mean cosine to fp32 that a precision may have.
pub(super) fn bars(precision: Precision) -> (f64, f64) {
    match precision {
        // f16 weights cost about 1e-6, a wrong cut or pooling far more.
        Precision::Auto | Precision::F32 => (0.99999, 0.99999),
        Precision::Exact => (0.9998, 0.9999),
        Precision::Fast => (0.999, 0.9995),
        Precision::Max => (0.997, 0.999),
    }
}

pub(super) fn bundled(precision: Precision, backend: Backend) -> LocalEmbedder {
    LocalEmbedder::load(&LocalOptions { model_dir: None, threads: Some(1), precision, backend })
        .expect("the committed model loads")
}

/// Holds vectors to the bars, and says where they are.
#[track_caller]
pub(super) fn judge(what: &str, precision: Precision, cosines: &[f64]) {
    let (lowest_bar, mean_bar) = bars(precision);
    let lowest = cosines.iter().copied().fold(f64::INFINITY, f64::min);
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    println!("{what}, {precision}: {} texts, cosine min {lowest:.6} mean {mean:.6}", cosines.len());
    assert!(lowest >= lowest_bar, "{what}, {precision}: the lowest cosine is {lowest}");
    assert!(mean >= mean_bar, "{what}, {precision}: the mean cosine is {mean}");
}

/// One word piece at most.
fn is_hardly_a_text(text: &str) -> bool {
    BUNDLED.tokens.encode(text).expect("any text").len() <= 3
}

async fn check_golden(backend: Backend, precisions: &[Precision]) {
    let golden = golden();
    let texts: Vec<&str> = golden.iter().map(|case| case.text.as_str()).collect();
    for precision in precisions {
        let vectors = embed(&bundled(*precision, backend), &texts).await;
        let cosines: Vec<f64> = vectors
            .iter()
            .zip(&golden)
            .map(|(vector, case)| dot(vector, &case.vector) / dot(&case.vector, &case.vector).sqrt())
            .collect();
        assert_eq!(cosines.len(), golden.len());
        // In two special tokens with little between them no errors even out; nobody embeds such
        // texts, and they get half as much room again.
        let (without, with): (Vec<_>, Vec<_>) =
            cosines.into_iter().zip(&texts).partition(|(_, text)| is_hardly_a_text(text));
        let (lowest_bar, _) = bars(*precision);
        for (cosine, text) in without {
            assert!(1.0 - cosine <= 1.5 * (1.0 - lowest_bar), "{backend} {precision} {text:?}: {cosine}");
        }
        let cosines: Vec<f64> = with.into_iter().map(|(cosine, _)| cosine).collect();
        judge(&format!("golden, {backend}"), *precision, &cosines);
    }
}

#[tokio::test]
async fn the_reference_agrees_with_sentence_transformers_in_fp32() {
    check_golden(Backend::Reference, &[Precision::F32]).await;
}

#[tokio::test]
async fn avx512_with_bf16_agrees_with_sentence_transformers_in_fp32() {
    for backend in named(&["avx512-bf16"]) {
        check_golden(backend, &PRECISIONS).await;
    }
}

#[tokio::test]
async fn avx512_without_bf16_agrees_with_sentence_transformers_in_fp32() {
    for backend in named(&["avx512-vnni"]) {
        check_golden(backend, &PRECISIONS).await;
    }
}

#[tokio::test]
async fn avx2_agrees_with_sentence_transformers_in_fp32() {
    for backend in named(&["avx2"]) {
        check_golden(backend, &PRECISIONS).await;
    }
}

#[tokio::test]
async fn auto_is_exact_where_the_processor_multiplies_bf16_and_f32_elsewhere() {
    let has_bf16 = Instructions::detect().is_some_and(Instructions::has_bf16);
    let expected = if has_bf16 { "exact" } else { "f32" };
    assert_eq!(BUNDLED.space().precision, expected);
    check_golden(Backend::Best, &[if has_bf16 { Precision::Exact } else { Precision::F32 }]).await;
}

#[test]
fn every_precision_is_a_space_of_its_own_whatever_computes_it() {
    let Some(best) = Instructions::detect() else { return println!("SKIPPED: no fused back end here") };
    let spaces = PRECISIONS.map(|precision| bundled(precision, Backend::Fused(best)).space().clone());
    for (number, space) in spaces.iter().enumerate() {
        assert!(!spaces[..number].contains(space), "{space:?}");
        let is_smoothed = space.revision != spaces[0].revision;
        assert_eq!(is_smoothed, matches!(space.precision.as_str(), "fast" | "max"), "{space:?}");
    }
    assert_eq!(bundled(Precision::F32, Backend::Reference).space(), &spaces[0]);
    for backend in named(&["avx512-vnni", "avx2"]) {
        assert_eq!(bundled(Precision::Max, backend).space(), &spaces[3]);
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
    let long = "p99 latency above 2s ".repeat(40);
    let texts = ["disk full on db-3", "a", &long, "", "上がった", "disk full on db-3"];
    for precision in [Precision::Auto, Precision::F32, Precision::Fast, Precision::Max] {
        // A precision that this processor lacks is nobody's vector.
        let options = LocalOptions { threads: Some(1), precision, ..LocalOptions::default() };
        let Ok(embedder) = LocalEmbedder::load(&options) else { continue };
        let together = embed(&embedder, &texts).await;
        assert_eq!(together[0], together[5], "{precision}");
        for (text, in_batch) in texts.iter().zip(&together) {
            let alone = &embed(&embedder, &[text]).await[0];
            match embedder.backend() {
                Backend::Fused(_) => assert_eq!(alone, in_batch, "{precision} {text:.40?}"),
                // `gemm` chooses its blocks by the size of the whole batch.
                _ => assert!(1.0 - dot(alone, in_batch) < 1e-6, "{precision} {text:.40?}"),
            }
        }
    }
}

#[tokio::test]
async fn meaning_is_closer_than_words() {
    let vectors =
        embed(&BUNDLED, &["the volume has no space left", "disk is full", "the album is full of space rock"])
            .await;
    assert!(dot(&vectors[0], &vectors[1]) > dot(&vectors[0], &vectors[2]));
}

#[tokio::test]
async fn text_beyond_the_limit_changes_nothing_and_the_last_piece_within_it_does() {
    let room = BUNDLED.tokens().max_tokens();
    assert_eq!(room, 254, "256 word pieces, two of them special");
    let full = "disk ".repeat(room);
    assert_eq!(BUNDLED.tokens().count_tokens(&full), room);
    let vectors =
        embed(&BUNDLED, &[&full, &format!("{full}hidden"), &format!("{}hidden", "disk ".repeat(room - 1))])
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
    smoothing: String,
}

#[test]
fn the_committed_files_are_those_of_the_card() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/all-MiniLM-L6-v2");
    let read = |file: &str| std::fs::read(dir.join(file)).expect("committed");
    let card: Card = toml::from_slice(&read("model.toml")).expect("a card");
    assert_eq!(hex_digest(&read("model.safetensors")), card.sha256.weights);
    assert_eq!(hex_digest(&read("tokenizer.json")), card.sha256.tokenizer);
    assert_eq!(hex_digest(&read("config.json")), card.sha256.config);
    assert_eq!(hex_digest(&read("smoothing.safetensors")), card.sha256.smoothing);

    let space = BUNDLED.space();
    assert_eq!((space.engine.as_str(), space.model.as_str()), ("local", "all-MiniLM-L6-v2"));
    assert_eq!((space.dimension, space.pooling), (card.dimension, Pooling::Mean));
    assert_eq!(space.revision, card.sha256.weights[..16]);
}

#[test]
fn a_folder_with_the_same_files_gives_the_same_space() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/all-MiniLM-L6-v2");
    let options = LocalOptions { precision: Precision::Auto, backend: Backend::Best, ..options(&dir, 1) };
    assert_eq!(LocalEmbedder::load(&options).expect("loads").space(), BUNDLED.space());
}

#[test]
fn a_folder_without_smoothing_gives_another_space_to_codes_only() {
    let Some(best) = Instructions::detect() else { return println!("SKIPPED: no fused back end here") };
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/all-MiniLM-L6-v2");
    let dir = tempfile::tempdir().expect("a writable temp dir");
    for file in ["config.json", "tokenizer.json", "model.toml", "model.safetensors"] {
        std::fs::copy(whole.join(file), dir.path().join(file)).expect("copied");
    }
    for precision in PRECISIONS {
        let options = LocalOptions { precision, backend: Backend::Fused(best), ..options(dir.path(), 1) };
        let space = LocalEmbedder::load(&options).expect("loads").space().clone();
        let is_same = &space == bundled(precision, Backend::Fused(best)).space();
        assert_eq!(is_same, matches!(precision, Precision::F32 | Precision::Exact), "{precision}");
    }
}
