//! nDCG@10 of the lexical leg on the evaluation corpora.
//!
//! `cargo run -p atlas-index --example lexical_eval [corpora]`; the corpora are not part of the
//! repository.

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use atlas_domain::{Facets, Filter, RecordId, Timestamp};
use atlas_index::{LexicalChange, LexicalIndex, LexicalQuery};

const SETS: [(&str, &str); 6] = [
    ("beir-scifact", "queries"),
    ("alert2runbook-kube", "queries"),
    ("alert2runbook-kube", "queries_named"),
    ("logqa-hdfs", "queries"),
    ("bugdup-seamonkey", "queries"),
    ("ir-cacm", "queries"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let corpora =
        std::env::args_os().nth(1).map_or_else(|| PathBuf::from("../shared/corpora"), PathBuf::from);
    for (set, queries) in SETS {
        let dir = corpora.join(set);
        if dir.is_dir() {
            evaluate(&dir, queries)?;
        } else {
            println!("SKIPPED: {set} is not there");
        }
    }
    Ok(())
}

fn evaluate(dir: &Path, queries: &str) -> Result<(), Box<dyn Error>> {
    let mut changes = Vec::new();
    for line in fs::read_to_string(dir.join("corpus.jsonl"))?.lines() {
        let (id, title, text) = read(line)?;
        let facets = Facets::at(Timestamp::UNIX_EPOCH);
        changes.push(LexicalChange::Put { id: RecordId::new(id)?, title, text, facets, exact: Vec::new() });
    }
    let mut judged: HashMap<String, HashMap<String, f64>> = HashMap::new();
    for line in fs::read_to_string(dir.join("qrels/test.tsv"))?.lines().skip(1) {
        let mut columns = line.split('\t');
        let (Some(query), Some(record), Some(gain)) = (columns.next(), columns.next(), columns.next()) else {
            continue;
        };
        judged.entry(query.to_owned()).or_default().insert(record.to_owned(), gain.trim().parse()?);
    }
    let index = LexicalIndex::open(None)?.index;
    index.apply(&changes, 1)?;
    let (mut total, mut asked, start) = (0.0, 0u32, Instant::now());
    for line in fs::read_to_string(dir.join(format!("{queries}.jsonl")))?.lines() {
        let (id, _, text) = read(line)?;
        let Some(gains) = judged.get(&id) else { continue };
        // A bug report is no duplicate of itself.
        let hits = index.search(LexicalQuery::words(&text, &Filter::default()), 11)?.hits;
        let ranked = hits.iter().map(|hit| hit.id.as_str()).filter(|hit| *hit != id).take(10);
        total += ndcg(ranked, gains);
        asked += 1;
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let micros = start.elapsed().as_micros() / u128::from(asked.max(1));
    println!(
        "{name} {queries}: nDCG@10 {:.4}, {asked} queries, {micros} us each",
        total / f64::from(asked.max(1))
    );
    Ok(())
}

fn read(line: &str) -> Result<(String, String, String), Box<dyn Error>> {
    let value: serde_json::Value = serde_json::from_str(line)?;
    let field = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    Ok((field("_id"), field("title"), field("text")))
}

fn ndcg<'a>(ranked: impl Iterator<Item = &'a str>, gains: &HashMap<String, f64>) -> f64 {
    let discount = |rank: usize| 1.0 / ((rank + 2) as f64).log2();
    let found: f64 =
        ranked.enumerate().map(|(rank, id)| gains.get(id).unwrap_or(&0.0) * discount(rank)).sum();
    let mut ideal: Vec<f64> = gains.values().copied().collect();
    ideal.sort_by(|a, b| b.total_cmp(a));
    let best: f64 = ideal.iter().take(10).enumerate().map(|(rank, gain)| gain * discount(rank)).sum();
    if best > 0.0 { found / best } else { 0.0 }
}
