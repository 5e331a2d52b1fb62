//! Automation: one entry point, the same on a desk and in CI.
//!
//! `cargo xtask ci` is the whole check. Each step can be run alone.

#![expect(clippy::print_stdout, reason = "progress of a tool that people and CI watch")]

mod accuracy;
mod crash;
mod fuzz;
mod kernels;
mod layers;
mod model;
mod plot;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Checks and automation of this repository")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything CI checks: format, layers, clippy, docs, tests.
    Ci,
    /// Fails on a dependency between crates that the design does not allow.
    Layers,
    /// The SIMD code under AddressSanitizer, Miri and a fuzzer; prints SKIPPED where one is missing.
    Kernels {
        /// Seconds of fuzzing.
        #[arg(long, default_value_t = 180)]
        fuzz_seconds: u32,
    },
    /// Kills, power cuts at every write and damaged files, in full; `cargo test` takes a sample.
    Crash {
        /// Kills of the server.
        #[arg(long, default_value_t = 1000)]
        kills: u32,
        /// Flipped bits and cuts of derived files.
        #[arg(long, default_value_t = 10_000)]
        damages: u32,
    },
    /// Every reader of files and the query parser under a fuzzer; prints SKIPPED without one.
    Fuzz {
        /// Seconds for each target.
        #[arg(long, default_value_t = 600)]
        seconds: u32,
        /// One target only.
        #[arg(long)]
        target: Option<String>,
    },
    /// What each embedding precision costs on STS-B and SciFact; prints SKIPPED without the corpora.
    Accuracy {
        /// Folder of the corpora.
        #[arg(long, default_value = "../shared/corpora")]
        corpora: PathBuf,
    },
    /// What takes minutes and depends on the corpora: weights of correlation, evidence of recorded
    /// cases; prints SKIPPED without the corpora.
    Measure,
    /// Works against real servers written by others; prints SKIPPED where one is missing.
    Peers {
        /// Folder with the scripts that start the peers.
        #[arg(long, default_value = "../shared/peers")]
        scripts: PathBuf,
    },
    /// Rotates keys and endpoints under load, and watches the memory of a server while it does.
    Soak {
        /// Rotations under load.
        #[arg(long, default_value_t = 1000)]
        rotations: u32,
        /// Seconds of rotating once a second.
        #[arg(long, default_value_t = 600)]
        seconds: u32,
    },
    /// Tables and pictures of committed measurements.
    Bench {
        #[command(subcommand)]
        task: BenchTask,
    },
    /// Embedding models in `models/`.
    Model {
        #[command(subcommand)]
        task: ModelTask,
    },
}

#[derive(Subcommand)]
enum BenchTask {
    /// From benches/results/embedding.json: the README's table, printed, and embedding.svg.
    Plot,
}

#[derive(Subcommand)]
enum ModelTask {
    /// Converts a downloaded sentence model to the f16 files kept in `models/`.
    Import {
        /// Folder with `model.safetensors`, `tokenizer.json` and `config.json`.
        dir: PathBuf,
        /// Where to write; default `models/all-MiniLM-L6-v2`.
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = steps::repository_root();
    let outcome = match arguments.task {
        Task::Ci => steps::ci(&root),
        Task::Layers => layers::check(&root),
        Task::Kernels { fuzz_seconds } => kernels::check(&root, fuzz_seconds),
        Task::Crash { kills, damages } => crash::check(&root, kills, damages),
        Task::Fuzz { seconds, target } => fuzz::check(&root, seconds, target.as_deref()),
        Task::Accuracy { corpora } => accuracy::check(&root, &corpora),
        Task::Measure => steps::measure(&root),
        Task::Peers { scripts } => steps::peers(&root, &scripts),
        Task::Soak { rotations, seconds } => steps::soak(&root, rotations, seconds),
        Task::Bench { task: BenchTask::Plot } => plot::plot(&root),
        Task::Model { task: ModelTask::Import { dir, out } } => {
            let out = out.unwrap_or_else(|| root.join("models/all-MiniLM-L6-v2"));
            model::import(&dir, &out)
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
