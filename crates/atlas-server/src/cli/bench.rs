//! `bench embed`: how fast the model in this process is, on texts of the reader's choice.
//!
//! The engine is used as the server uses it, without what stands around it there: no store, no
//! cache, no HTTP.

mod texts;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use atlas_config::Settings;
use atlas_embed::{Embedder, Priority, Purpose};
use atlas_engines::{Backend, LocalEmbedder, LocalOptions};
use atlas_guard::Guard;
use serde::Serialize;

use super::Output;
use super::arguments::BenchEmbedArguments;

/// Texts before the clock starts: caches are warm, buffers have grown.
const WARM_UP_TEXTS: usize = 256;
/// Texts that are timed alone. A workload with fewer is repeated.
const TEXTS_ALONE: usize = 200;

/// A line of the answer.
#[derive(Debug, Serialize)]
struct Row<'a> {
    engine: &'a str,
    wl: &'a str,
    threads: usize,
    texts: usize,
    /// What the model sees: special tokens included, cut at its limit.
    tokens: usize,
    texts_s: f64,
    tokens_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    load_s: f64,
    /// The largest the process has been so far, where the system tells.
    rss_mb: Option<f64>,
}

struct Bench {
    embedder: LocalEmbedder,
    guard: Guard,
    reps: u16,
}

/// Measures and prints.
pub(crate) async fn run(
    arguments: BenchEmbedArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let embedding = &settings.embedding;
    let workloads = texts::read(&arguments.texts)?;
    // Before the minutes of work that it will hold.
    let mut vectors = arguments.vectors.as_deref().map(VectorFile::create).transpose()?;
    let options = LocalOptions {
        model_dir: embedding.model_path.clone(),
        threads: arguments.threads.map(usize::from).or(embedding.threads.map(std::num::NonZero::get)),
        precision: match arguments.precision {
            Some(precision) => precision,
            None => embedding.precision.parse().map_err(anyhow::Error::msg)?,
        },
        backend: arguments.backend,
    };
    let started = Instant::now();
    let embedder = tokio::task::spawn_blocking(move || LocalEmbedder::load(&options)).await??;
    let load_s = started.elapsed().as_secs_f64();
    let engine = match arguments.backend {
        Backend::Best => format!("atlas-{}", embedder.space().precision),
        backend => format!("atlas-{}-{backend}", embedder.space().precision),
    };
    let threads = embedder.stats().engine.map_or(1, |engine| engine.threads);
    let bench = Bench { embedder, guard: Guard::new(), reps: arguments.reps };

    if !arguments.json {
        output.line(&format!("{engine}, threads: {threads}, loaded in {load_s:.3} s"))?;
        output.line(&format!(
            "{:<12} {:>7} {:>9} {:>10} {:>10} {:>9} {:>9} {:>7}",
            "workload", "texts", "tokens", "texts/s", "tokens/s", "p50 ms", "p99 ms", "RSS MB"
        ))?;
    }
    for workload in &workloads {
        let tokens: usize = workload.texts.iter().map(|text| bench.embedder.input_tokens(text)).sum();
        let (best, made) = bench.together(&workload.texts).await?;
        if let Some(file) = &mut vectors {
            file.write(&workload.name, &made)?;
        }
        let (p50, p99) = bench.alone(&workload.texts).await?;
        let n_texts = workload.texts.len();
        let row = Row {
            engine: &engine,
            wl: &workload.name,
            threads,
            texts: n_texts,
            tokens,
            texts_s: n_texts as f64 / best.as_secs_f64(),
            tokens_s: tokens as f64 / best.as_secs_f64(),
            p50_ms: p50.as_secs_f64() * 1e3,
            p99_ms: p99.as_secs_f64() * 1e3,
            load_s,
            rss_mb: peak_memory_mb(),
        };
        if arguments.json {
            output.json(&row)?;
        } else {
            output.line(&row.shown())?;
        }
    }
    vectors.map_or(Ok(()), VectorFile::finish)
}

impl Row<'_> {
    fn shown(&self) -> String {
        let rss_mb = self.rss_mb.map_or_else(|| "-".to_owned(), |rss_mb| format!("{rss_mb:.0}"));
        format!(
            "{:<12} {:>7} {:>9} {:>10.1} {:>10.0} {:>9.3} {:>9.3} {rss_mb:>7}",
            self.wl, self.texts, self.tokens, self.texts_s, self.tokens_s, self.p50_ms, self.p99_ms
        )
    }
}

impl Bench {
    /// The time of one call, without the copy of the texts that it consumes.
    async fn time(&self, texts: &[String], priority: Priority) -> anyhow::Result<(Duration, Vec<Vec<f32>>)> {
        let cleared = self.guard.clear(texts.to_vec(), self.embedder.destination())?;
        let started = Instant::now();
        let vectors = self.embedder.embed(cleared, Purpose::Passage, priority).await?;
        Ok((started.elapsed(), vectors))
    }

    /// The best time for all texts in one call, and their vectors.
    async fn together(&self, texts: &[String]) -> anyhow::Result<(Duration, Vec<Vec<f32>>)> {
        self.time(&texts[..texts.len().min(WARM_UP_TEXTS)], Priority::Bulk).await?;
        let (mut best, mut vectors) = self.time(texts, Priority::Bulk).await?;
        for _ in 1..self.reps {
            let (time, again) = self.time(texts, Priority::Bulk).await?;
            best = best.min(time);
            vectors = again;
        }
        Ok((best, vectors))
    }

    /// p50 and p99 of texts that nobody accompanies.
    async fn alone(&self, texts: &[String]) -> anyhow::Result<(Duration, Duration)> {
        let mut times = Vec::with_capacity(TEXTS_ALONE);
        // Spread over a long list, which may be sorted; over and over through a short one.
        let step = (texts.len() / TEXTS_ALONE).max(1);
        for text in texts.iter().step_by(step).cycle().take(TEXTS_ALONE) {
            times.push(self.time(std::slice::from_ref(text), Priority::Interactive).await?.0);
        }
        times.sort_unstable();
        Ok((percentile(&times, 50), percentile(&times, 99)))
    }
}

/// The smallest time that so many percent do not exceed. `sorted` is not empty.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

/// `None` where there is no such file.
fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// JSON lines of vectors.
struct VectorFile {
    name: String,
    file: BufWriter<File>,
}

#[derive(Serialize)]
struct VectorLine<'a> {
    workload: &'a str,
    index: usize,
    vector: &'a [f32],
}

impl VectorFile {
    fn create(path: &std::path::Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        if path.is_dir() {
            bail!("{name} is a folder; --vectors wants a file");
        }
        let file = File::create(path).with_context(|| format!("{name} cannot be written"))?;
        Ok(Self { name, file: BufWriter::new(file) })
    }

    fn write(&mut self, workload: &str, vectors: &[Vec<f32>]) -> anyhow::Result<()> {
        for (index, vector) in vectors.iter().enumerate() {
            serde_json::to_writer(&mut self.file, &VectorLine { workload, index, vector })
                .map_err(std::io::Error::from)
                .and_then(|()| self.file.write_all(b"\n"))
                .with_context(|| format!("{} cannot be written", self.name))?;
        }
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<()> {
        self.file.flush().with_context(|| format!("{} cannot be written", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 50), Duration::from_millis(100));
        assert_eq!(percentile(&times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&times[..1], 99), Duration::from_millis(1));
    }
}
