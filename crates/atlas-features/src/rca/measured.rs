//! What the evidence pack holds, measured on recorded cases (`rca-holmesgpt`).
//!
//! The judgement. The terms of an expected finding are its words of four letters or more and its
//! numbers and names, without those of the question and without words of the judge's own
//! instructions. Its supporting span is the five lines that hold most of them; a finding has one if
//! they hold at least half, and two. A case has one if a finding of it has. The pack holds the span
//! if it holds every line with a term of the spans of all its findings. For the opposite, every
//! line with such a term is deleted.
//!
//! How many candidates evidence is chosen from was settled on these same cases, so the shares are
//! no forecast for others.

use std::collections::BTreeSet;
use std::path::Path;

use atlas_domain::{Incident, RecordId, Timestamp};
use serde_json::Value;

use super::{evidence, pack, rules};
use crate::alerts::correlation::Topology;
use crate::rca::answer::Verdict;
use crate::testing::{self, Bench};
use crate::{IncidentDraft, LogLine, from_markdown};

const BUDGET_TOKENS: usize = 8_000;
const WINDOW: usize = 5;
const LINE_CHARACTERS: usize = 1_000;

/// Words of expectations that are about the answer and not about the case.
const OF_THE_JUDGE: [&str; 24] = [
    "answer",
    "should",
    "must",
    "mention",
    "mentions",
    "include",
    "includes",
    "output",
    "result",
    "says",
    "user",
    "specifically",
    "following",
    "either",
    "form",
    "with",
    "that",
    "this",
    "from",
    "have",
    "been",
    "because",
    "which",
    "issue",
];

struct Case {
    id: String,
    question: String,
    expected: Vec<String>,
    lines: Vec<String>,
    documents: Vec<String>,
}

fn terms(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric() && !"-_".contains(c))
        .map(|word| word.trim_matches(['-', '_']).to_lowercase())
        .filter(|word| {
            word.chars().count() >= 4 || word.chars().any(|c| c.is_ascii_digit()) && word.len() > 1
        })
        .filter(|word| !OF_THE_JUDGE.contains(&word.as_str()))
        .collect()
}

fn cases(dir: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(dir.join("cases.jsonl")).expect("cases");
    let values = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a case"));
    let cases = values.filter_map(|value| {
        let files = value["evidence"].as_array().filter(|files| !files.is_empty())?;
        let (mut lines, mut documents) = (Vec::new(), Vec::new());
        for file in files {
            let name = file["file"].as_str()?;
            let text = String::from_utf8_lossy(&std::fs::read(dir.join(name)).ok()?).replace("\\n", "\n");
            match name.ends_with(".md") {
                true => documents.push(text),
                false => lines.extend(
                    text.lines()
                        .filter(|line| !line.trim().is_empty())
                        .map(|line| line.trim().chars().take(LINE_CHARACTERS).collect::<String>()),
                ),
            }
        }
        let id = value["_id"].as_str()?.to_owned();
        let question = match &value["question"] {
            Value::String(question) => question.clone(),
            Value::Array(questions) => questions.first()?.as_str()?.to_owned(),
            // An investigation has an alert; its name is in the name of the case.
            _ => id.rsplit('/').next()?.replace(['_', '-'], " "),
        };
        let expected =
            value["expected"].as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Some(Case { id, question, expected, lines, documents })
    });
    cases.collect()
}

fn all_lines(case: &Case) -> Vec<&str> {
    let documents = case.documents.iter().flat_map(|text| text.lines());
    case.lines.iter().map(String::as_str).chain(documents).collect()
}

/// The spans of all findings that have one.
fn spans(case: &Case) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    let spans: Vec<_> = case.expected.iter().filter_map(|finding| span(case, finding)).collect();
    let lines = spans.iter().flat_map(|(lines, _)| lines.iter().cloned()).collect();
    let found = spans.iter().flat_map(|(_, found)| found.iter().cloned()).collect();
    (!spans.is_empty()).then_some((lines, found))
}

/// The lines of the best window that hold a term, and the terms.
fn span(case: &Case, finding: &str) -> Option<(Vec<String>, BTreeSet<String>)> {
    let asked = terms(&case.question);
    let wanted: BTreeSet<String> = terms(finding).difference(&asked).cloned().collect();
    let lines = all_lines(case);
    let held: Vec<BTreeSet<String>> =
        lines.iter().map(|line| terms(line).intersection(&wanted).cloned().collect()).collect();
    let windows = held.windows(WINDOW.min(held.len()).max(1)).enumerate();
    let union = |sets: &[BTreeSet<String>]| sets.iter().flatten().cloned().collect::<BTreeSet<String>>();
    let (at, best) = windows.max_by_key(|(at, sets)| (union(sets).len(), std::cmp::Reverse(*at)))?;
    let found = union(best);
    let enough = found.len() >= wanted.len().div_ceil(2) && found.len() >= 2.min(wanted.len());
    let told = (at..at + best.len()).filter(|line| !held[*line].is_empty());
    (enough && !found.is_empty()).then(|| (told.map(|line| lines[line].to_owned()).collect(), found))
}

fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text of the pack, and what the rules make of it.
async fn packed(case: &Case, without: &BTreeSet<String>) -> (String, usize, Verdict) {
    let bench = Bench::new();
    let now = Timestamp::now();
    let stays = |line: &&str| terms(line).is_disjoint(without);
    let lines = case.lines.iter().map(String::as_str).filter(stays).enumerate();
    let lines = lines.map(|(position, line)| LogLine {
        at: Timestamp::from_microsecond(now.as_microsecond() + position as i64).ok(),
        message: line.to_owned(),
        ..LogLine::default()
    });
    bench.features.logs().ingest(&bench.scope, lines.collect()).await.expect("lines");
    let documents = case.documents.iter().enumerate().filter_map(|(position, text)| {
        let text: String = text.lines().filter(stays).collect::<Vec<_>>().join("\n");
        from_markdown(RecordId::new(format!("doc-{position}")).ok()?, &text, None).ok()
    });
    let documents: Vec<_> = documents.collect();
    if !documents.is_empty() {
        bench.features.runbooks().import(&bench.scope, documents).await.expect("documents");
    }
    let title: String = case.question.chars().take(400).collect();
    let draft: IncidentDraft = serde_json::from_value(serde_json::json!({"title": title})).expect("a draft");
    let incident: Incident =
        bench.features.incidents().create(&bench.scope, draft).await.expect("an incident").item;
    bench.retrieval.settled(&bench.scope).await.expect("caught up");
    let found = evidence::gather(&bench.retrieval, &bench.scope, &incident).await.expect("evidence");
    let pack = pack::pack(found.candidates, BUDGET_TOKENS);
    let tokens = pack.evidence.iter().map(|item| pack::tokens(&item.text)).sum();
    let verdict = rules::analyse(&incident, &pack.evidence, &Topology::default()).verdict;
    let text: Vec<String> = pack.evidence.iter().map(|item| squeezed(&item.text)).collect();
    (text.join("\n"), tokens, verdict)
}

#[tokio::test]
#[ignore = "a measurement of minutes; `cargo xtask measure` runs it"]
#[expect(clippy::print_stdout, reason = "a measurement is read by whoever runs it")]
async fn the_pack_of_a_recorded_case_is_measured() {
    let Some(dir) = testing::corpora("rca-holmesgpt") else { return };
    let (mut n, mut with_span, mut held, mut likely, mut fell, mut inconclusive, mut all_tokens) =
        (0, 0, 0, 0, 0, 0, 0);
    for case in cases(&dir) {
        n += 1;
        let Some((lines, found)) = spans(&case) else { continue };
        with_span += 1;
        let (text, tokens, verdict) = packed(&case, &BTreeSet::new()).await;
        all_tokens += tokens;
        let is_held = lines.iter().all(|line| text.contains(&squeezed(line)));
        held += usize::from(is_held);
        if !is_held {
            println!(
                "missed {}: {} of {} lines, {tokens} tokens",
                case.id,
                lines.iter().filter(|line| text.contains(&squeezed(line))).count(),
                lines.len()
            );
        }
        let (_, _, after) = packed(&case, &found).await;
        inconclusive += usize::from(after == Verdict::Inconclusive);
        if verdict == Verdict::Likely {
            likely += 1;
            fell += usize::from(after == Verdict::Inconclusive);
        }
    }
    println!(
        "cases {n}, with a span {with_span}, held {held}, mean tokens {}",
        all_tokens / with_span.max(1)
    );
    println!(
        "likely {likely}, of them inconclusive without the span {fell}; inconclusive without it {inconclusive}"
    );
}
