//! The local engine through its contract: tokenising, queue, model, pooling.
//!
//! Throughput counts the tokens the model sees, special ones included.

use std::hint::black_box;
use std::time::Duration;

use atlas_benches::Prose;
use atlas_embed::{Embedder, Priority, Purpose};
use atlas_engines::{LocalEmbedder, LocalOptions};
use atlas_guard::Guard;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

fn embed(runtime: &Runtime, embedder: &LocalEmbedder, texts: &[String], priority: Priority) -> Vec<Vec<f32>> {
    let cleared = Guard::new().clear(texts.to_vec(), embedder.destination()).expect("in process");
    runtime.block_on(embedder.embed(cleared, Purpose::Passage, priority)).expect("the engine runs")
}

/// The model's input: at most its limit, with `[CLS]` and `[SEP]`.
fn n_tokens(embedder: &LocalEmbedder, texts: &[String]) -> u64 {
    let counter = embedder.tokens();
    texts.iter().map(|text| counter.count_tokens(text).min(counter.max_tokens()) as u64 + 2).sum()
}

fn embedding(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let embedder = LocalEmbedder::load(&LocalOptions::default()).expect("the bundled model");

    let mut group = criterion.benchmark_group("embed/32 texts of equal length");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));
    for tokens in [16, 64, 256] {
        let mut prose = Prose::new(tokens);
        let texts: Vec<String> = (0..32).map(|_| prose.text(tokens as usize - 2)).collect();
        group.throughput(Throughput::Elements(n_tokens(&embedder, &texts)));
        group.bench_with_input(
            BenchmarkId::from_parameter(format!("{tokens} tokens")),
            &texts,
            |bencher, texts| {
                bencher.iter(|| black_box(embed(&runtime, &embedder, texts, Priority::Bulk)));
            },
        );
    }
    group.finish();

    let mut group = criterion.benchmark_group("embed/mixed lengths");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));
    for n_texts in [1, 8, 32, 128] {
        let texts = Prose::new(11).mixed(n_texts);
        group.throughput(Throughput::Elements(n_tokens(&embedder, &texts)));
        group.bench_with_input(
            BenchmarkId::from_parameter(format!("{n_texts} texts")),
            &texts,
            |bencher, texts| {
                bencher.iter(|| black_box(embed(&runtime, &embedder, texts, Priority::Bulk)));
            },
        );
    }
    group.finish();

    let mut group = criterion.benchmark_group("embed/one query");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for tokens in [8, 16, 32] {
        let query = [Prose::new(3).text(tokens - 2)];
        group.bench_with_input(
            BenchmarkId::from_parameter(format!("{tokens} tokens")),
            &query,
            |bencher, query| {
                bencher.iter(|| black_box(embed(&runtime, &embedder, query, Priority::Interactive)));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, embedding);
criterion_main!(benches);
