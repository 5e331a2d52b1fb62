//! Precisions against the reference on texts that other people wrote: runbooks, alerts, log lines
//! and postmortems of `../shared/corpora`, where there is one.

#![expect(clippy::print_stdout, reason = "a test that is skipped says so, and a measured figure is shown")]

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::bundled::{PRECISIONS, bundled, judge};
use super::*;

fn corpora() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    dir.is_dir().then_some(dir)
}

/// About `n` of the texts, evenly.
fn spread(texts: Vec<String>, n: usize) -> impl Iterator<Item = String> {
    let step = texts.len().div_ceil(n).max(1);
    texts.into_iter().step_by(step).filter(|text| !text.trim().is_empty())
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("part of the corpus")).into_owned()
}

/// A field of every line of a file.
fn fields(path: &Path, name: &str) -> Vec<String> {
    let field = |line: &str| -> Option<String> {
        let value: Value = serde_json::from_str(line).expect("a JSON object a line");
        Some(value.get(name)?.as_str()?.to_owned())
    };
    read(path).lines().filter_map(field).collect()
}

fn files(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("part of the corpus") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
    into.sort();
}

/// About 400 texts: whole documents, which the model cuts, and single lines.
fn texts(corpora: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    files(&corpora.join("runbooks-prometheus-operator"), &mut paths);
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let runbooks = paths.iter().map(|path| read(path)).collect();
    let alerts = fields(&corpora.join("alerts-kube-prometheus/alerts.jsonl"), "description");
    let postmortems = fields(&corpora.join("postmortems-icco/postmortems.jsonl"), "text");
    let mut logs = Vec::new();
    files(&corpora.join("loghub"), &mut logs);
    let lines = logs
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .flat_map(|path| spread(read(path).lines().map(str::to_owned).collect(), 15));
    spread(runbooks, 90).chain(spread(alerts, 100)).chain(spread(postmortems, 90)).chain(lines).collect()
}

#[tokio::test]
async fn every_precision_stays_close_to_the_reference_on_texts_of_others() {
    let Some(best) = Instructions::detect() else { return println!("SKIPPED: no fused back end here") };
    let Some(corpora) = corpora() else { return println!("SKIPPED: no ../shared/corpora here") };
    let texts = texts(&corpora);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let reference = embed(&bundled(Precision::F32, Backend::Reference), &texts).await;
    for precision in PRECISIONS {
        let vectors = embed(&bundled(precision, Backend::Fused(best)), &texts).await;
        let cosines: Vec<f64> = vectors.iter().zip(&reference).map(|(a, b)| dot(a, b)).collect();
        judge("corpora", precision, &cosines);
    }
}
