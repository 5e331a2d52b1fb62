//! The local engine through its contract - tokenising, queue, model, pooling - on each back end
//! and in each precision that this processor has.
//!
//! Criterion's throughput counts the tokens the model sees, special ones included. Beside it a
//! line per measurement says what share of the processor's own peak that is, and how near the
//! vectors are to the reference.

use std::cell::{Cell, OnceCell};
use std::hint::black_box;
use std::time::{Duration, Instant};

use atlas_benches::{Workload, workloads};
use atlas_embed::{Embedder, Priority, Purpose};
use atlas_engines::{Backend, LocalEmbedder, LocalOptions, Precision};
use atlas_guard::Guard;
use atlas_kernels::encoder::{Instructions, Kind};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

/// Operations of all-MiniLM-L6-v2 per token: three parts of the same size - attention's dense
/// layers, and the two of the feed-forward block - and attention itself per token of the text.
const OPS_PER_PART: f64 = 6.0 * 2.0 * 384.0 * 1536.0;
const OPS_PER_TOKEN_OF_TEXT: f64 = 6.0 * 2.0 * 2.0 * 384.0;

struct Bench {
    runtime: Runtime,
    workloads: [Workload; 4],
    /// Vectors of the reference, made when first needed.
    oracle: OnceCell<Vec<Vec<Vec<f32>>>>,
}

/// One way to compute the model.
struct Way {
    backend: Backend,
    precision: Precision,
}

/// All that a person may get, and the reference. Not `exact` and `fast` without bf16
/// instructions, which are slower than `f32` there, and not the portable set, whose use are tests.
fn ways() -> Vec<Way> {
    let mut ways = vec![Way { backend: Backend::Reference, precision: Precision::F32 }];
    for instructions in Instructions::available() {
        if instructions.name() == "portable" {
            continue;
        }
        for precision in [Precision::F32, Precision::Exact, Precision::Fast, Precision::Max] {
            if instructions.has_bf16() || matches!(precision, Precision::F32 | Precision::Max) {
                ways.push(Way { backend: Backend::Fused(instructions), precision });
            }
        }
    }
    ways
}

impl Way {
    fn load(&self) -> LocalEmbedder {
        let options =
            LocalOptions { precision: self.precision, backend: self.backend, ..LocalOptions::default() };
        LocalEmbedder::load(&options).expect("the bundled model")
    }

    /// Seconds that the operations of these texts take when every instruction multiplies;
    /// `None` where the instructions are candle's choice.
    fn least_time(&self, lengths: &[usize], threads: usize) -> Option<f64> {
        let Backend::Fused(instructions) = self.backend else { return None };
        let peak = |kind| threads as f64 * atlas_kernels::encoder::peak(instructions, kind);
        let floats = if instructions.has_bf16() { Kind::Bf16 } else { Kind::F32 };
        let (dense, narrow, attention) = match self.precision {
            Precision::F32 => (Kind::F32, Kind::F32, Kind::F32),
            Precision::Exact => (Kind::Bf16, Kind::Bf16, Kind::Bf16),
            Precision::Fast => (Kind::Int8, floats, floats),
            Precision::Max | Precision::Auto => (Kind::Int8, Kind::Int8, floats),
        };
        let tokens: f64 = lengths.iter().map(|n| *n as f64).sum();
        let squares: f64 = lengths.iter().map(|n| (*n as f64).powi(2)).sum();
        Some(
            2.0 * OPS_PER_PART * tokens / peak(dense)
                + OPS_PER_PART * tokens / peak(narrow)
                + OPS_PER_TOKEN_OF_TEXT * squares / peak(attention),
        )
    }
}

impl Bench {
    fn embed(&self, embedder: &LocalEmbedder, texts: &[String], priority: Priority) -> Vec<Vec<f32>> {
        let cleared = Guard::new().clear(texts.to_vec(), embedder.destination()).expect("in process");
        let answer = embedder.embed(cleared, Purpose::Passage, priority);
        self.runtime.block_on(answer).expect("the engine runs")
    }

    /// W1 as people ask, one after the other; the others as imports come, at once.
    fn run(&self, embedder: &LocalEmbedder, workload: &Workload) {
        if workload.name == "W1" {
            for text in &workload.texts {
                black_box(self.embed(embedder, std::slice::from_ref(text), Priority::Interactive));
            }
        } else {
            black_box(self.embed(embedder, &workload.texts, Priority::Bulk));
        }
    }

    fn oracle(&self) -> &[Vec<Vec<f32>>] {
        self.oracle.get_or_init(|| {
            let reference = Way { backend: Backend::Reference, precision: Precision::F32 }.load();
            let of = |workload: &Workload| self.embed(&reference, &workload.texts, Priority::Bulk);
            self.workloads.iter().map(of).collect()
        })
    }

    /// The smallest and the mean cosine to the reference.
    fn cosines(&self, number: usize, vectors: &[Vec<f32>]) -> (f64, f64) {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let oracle = &self.oracle()[number];
        let cosines: Vec<f64> =
            vectors.iter().zip(oracle).map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()).collect();
        let smallest = cosines.iter().copied().fold(f64::INFINITY, f64::min);
        (smallest, cosines.iter().sum::<f64>() / cosines.len() as f64)
    }
}

fn embedding(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let counter = LocalEmbedder::load(&LocalOptions::default()).expect("the bundled model");
    let workloads = workloads(|text| counter.input_tokens(text));
    drop(counter);
    let bench = Bench { runtime, workloads, oracle: OnceCell::new() };

    let mut group = criterion.benchmark_group("embed");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1200));
    for way in ways() {
        let embedder = way.load();
        let threads = embedder.stats().engine.map_or(1, |engine| engine.threads);
        for (number, workload) in bench.workloads.iter().enumerate() {
            let lengths: Vec<usize> = workload.texts.iter().map(|text| embedder.input_tokens(text)).collect();
            let tokens: usize = lengths.iter().sum();
            let best = Cell::new(Duration::MAX);
            group.throughput(Throughput::Elements(tokens as u64));
            let id = BenchmarkId::new(format!("{} {}", way.backend, way.precision), workload.name);
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|n_runs| {
                    let mut total = Duration::ZERO;
                    for _ in 0..n_runs {
                        let started = Instant::now();
                        bench.run(&embedder, workload);
                        let time = started.elapsed();
                        best.set(best.get().min(time));
                        total += time;
                    }
                    total
                });
            });
            // Left out by the command line.
            if best.get() == Duration::MAX {
                continue;
            }
            let seconds = best.get().as_secs_f64();
            // A query runs on one thread.
            let threads = if workload.name == "W1" { 1 } else { threads };
            let share = way.least_time(&lengths, threads).map_or_else(
                || "share of the peak unknown".to_owned(),
                |least| format!("{:.0} % of the peak", 100.0 * least / seconds),
            );
            let vectors = bench.embed(&embedder, &workload.texts, Priority::Bulk);
            let (smallest, mean) = bench.cosines(number, &vectors);
            eprintln!(
                "{} {} {} ({}): best {:.0} tokens/s, {:.3} ms a text, {share} on {threads} threads, \
                 cosine min {smallest:.6} mean {mean:.6}",
                way.backend,
                way.precision,
                workload.name,
                workload.about,
                tokens as f64 / seconds,
                1e3 * seconds / lengths.len() as f64,
            );
        }
    }
    group.finish();
}

criterion_group!(benches, embedding);
criterion_main!(benches);
