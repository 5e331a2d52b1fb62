//! `cargo xtask accuracy`: what a precision costs where it matters, in judgements and rankings.
//!
//! Cosines to the reference are tests of `atlas-engines`; these are the minutes-long figures that
//! people compare models by. The corpora are not part of the repository.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::steps::cargo;

/// Precisions that are compared with `f32`.
const PRECISIONS: [&str; 3] = ["exact", "fast", "max"];

struct Measure {
    what: &'static str,
    /// Below the folder of corpora.
    path: &'static str,
    arguments: &'static [&'static str],
    figure: &'static str,
    /// How far a precision may be from `f32`.
    tolerance: f64,
}

const MEASURES: [Measure; 2] = [
    Measure {
        what: "STS-B test, Spearman",
        path: "sts-benchmark/test.jsonl",
        arguments: &["sts"],
        figure: "spearman",
        tolerance: 0.002,
    },
    Measure {
        what: "SciFact, nDCG@10 of the vector leg",
        path: "beir-scifact",
        arguments: &["retrieval", "--legs", "vector", "--chunking", "none"],
        figure: "ndcg@10",
        tolerance: 0.005,
    },
];

/// Runs `atlasai-tp eval` once per measure and precision.
pub(crate) fn check(root: &Path, corpora: &Path) -> anyhow::Result<()> {
    let corpora = root.join(corpora);
    let mut far = Vec::new();
    for measure in &MEASURES {
        let path = corpora.join(measure.path);
        if !path.exists() {
            println!("SKIPPED: {}, {} is not there", measure.what, path.display());
            continue;
        }
        let exact = figure(root, measure, &path, "f32")?;
        println!("{}: f32 {exact:.4}", measure.what);
        for precision in PRECISIONS {
            let found = figure(root, measure, &path, precision)?;
            println!("{}: {precision} {found:.4} ({:+.4})", measure.what, found - exact);
            if (found - exact).abs() > measure.tolerance {
                far.push(format!("{} in {precision}", measure.what));
            }
        }
    }
    if !far.is_empty() {
        bail!("too far from f32: {}", far.join(", "));
    }
    Ok(())
}

fn figure(root: &Path, measure: &Measure, path: &Path, precision: &str) -> anyhow::Result<f64> {
    let mut eval = cargo(&["run", "--quiet", "--release", "-p", "atlas-server", "--", "eval"]);
    eval.args(measure.arguments).arg(path).arg("--json").current_dir(root);
    eval.env("EMBEDDING_PROVIDER", "local").env("EMBEDDING_PRECISION", precision);
    let output = eval.output().context("cannot start atlasai-tp")?;
    if !output.status.success() {
        bail!("{} in {precision}: {}", measure.what, String::from_utf8_lossy(&output.stderr).trim());
    }
    let report: Value = serde_json::from_slice(&output.stdout).context("a report is JSON")?;
    report[measure.figure].as_f64().with_context(|| format!("the report has no {}", measure.figure))
}
