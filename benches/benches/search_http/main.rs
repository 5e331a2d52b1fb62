//! `POST /api/search` over HTTP with 100,000 chunks: hybrid with the local engine, and by keywords.
//!
//! The server runs in this process on threads of its own, as `serve` runs it; one client blocks on
//! one socket and asks questions it has not asked before. Texts are made here from a vocabulary in
//! which few words are frequent. Their vectors are made here too, around centres: embedding the
//! texts would take half an hour and the time of a search does not depend on what a vector means.
//! Questions go through the real engine.
//!
//! ```text
//! cargo bench -p atlas-benches --bench search_http
//! cargo bench -p atlas-benches --bench search_http -- --chunks 10000
//! cargo bench -p atlas-benches --bench search_http -- --chunks 1000000 --data DIR
//! ```
//!
//! With a directory the chunks stay, and the first run ends when the vectors have their file: the
//! second run says what opening from there takes.
#![expect(clippy::print_stdout, reason = "a bench prints its numbers")]

mod corpus;

use std::path::Path;
use std::time::{Duration, Instant};

use atlas_benches::{Connection, serve};
use serde_json::{Value, json};

const CHUNKS: usize = 100_000;
const WARM_UP: usize = 50;
const TURNS: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument =
        |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
    let n_chunks = argument("--chunks").map_or(CHUNKS, |count| count.parse().expect("a number of chunks"));
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let kept = argument("--data").map(Path::new);
    let folder = kept.unwrap_or(temporary.path());
    if !folder.join("tenants").exists() {
        let began = Instant::now();
        corpus::fill(folder, n_chunks);
        println!("{n_chunks} chunks written in {:.1} s", began.elapsed().as_secs_f64());
    }
    let began = Instant::now();
    let address = serve(folder, &[]);
    let mut connection = Connection::open(address);
    if kept.is_some() {
        // Opens the tenant; the answer may be without what is still being read.
        let answer = connection.post("/api/search", "application/json", br#"{"query": "anything"}"#);
        let is_whole = answer.body.contains(r#""degraded":[]"#);
        println!("first answer after {:.2} s, every leg: {is_whole}", began.elapsed().as_secs_f64());
        wait_for_file(&folder.join("index/default/vectors/runbooks"));
        // The old connection has been idle for too long by then.
        connection = Connection::open(address);
    }
    // The first question waits until both legs cover everything.
    search(&mut connection, &json!({"query": "anything", "refresh": true}));
    println!("opened in {:.2} s", began.elapsed().as_secs_f64());

    let mut report = json!({ "chunks": n_chunks });
    let ways = [
        ("hybrid, one corpus", json!({"corpora": ["runbooks"]})),
        ("hybrid, all corpora", json!({})),
        ("keywords, one corpus", json!({"corpora": ["runbooks"], "legs": ["exact", "lexical"]})),
        ("keywords, all corpora", json!({"legs": ["exact", "lexical"]})),
    ];
    for (number, (name, body)) in ways.into_iter().enumerate() {
        let mut questions = corpus::questions(number as u64 + 1);
        let mut times = Vec::with_capacity(TURNS);
        for turn in 0..WARM_UP + TURNS {
            let mut body = body.clone();
            body["query"] = Value::String(questions.next().expect("there is always another"));
            let (took, hits) = search(&mut connection, &body);
            assert_eq!(hits, 10, "{name}: {body}");
            if turn >= WARM_UP {
                times.push(took);
            }
        }
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
        let (p50, p99) = (at(0.5), at(0.99));
        println!("{name}: p50 {p50:.2} ms, p99 {p99:.2} ms");
        report[name] = json!({"p50_ms": p50, "p99_ms": p99});
    }
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/search_http.json");
    std::fs::write(&place, report.to_string()).expect("target can be written");
}

/// Waits until the vectors have their file.
fn wait_for_file(folder: &Path) {
    let is_file = |path: &Path| path.extension().is_some_and(|extension| extension == "vectors");
    let began = Instant::now();
    while !std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| is_file(&entry.path())) {
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("the vectors had their file after {:.1} s", began.elapsed().as_secs_f64());
}

/// Searches; how long the whole answer took and how many hits it has.
fn search(connection: &mut Connection, body: &Value) -> (Duration, usize) {
    let answer = connection.post("/api/search", "application/json", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.body);
    let found: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(found["degraded"], json!([]), "every leg takes part");
    (answer.took, found["hits"].as_array().map_or(0, Vec::len))
}
