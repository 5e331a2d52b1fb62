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
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its numbers")]

mod client;
mod corpus;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use atlas_config::{LogFormat, Settings};
use client::Connection;
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

const CHUNKS: usize = 100_000;
const WARM_UP: usize = 50;
const TURNS: usize = 1_000;
const TOKEN: &str = "a-token-for-the-bench";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let chunks = arguments.iter().position(|word| word == "--chunks").and_then(|at| arguments.get(at + 1));
    let n_chunks = chunks.map_or(CHUNKS, |count| count.parse().expect("a number of chunks"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let began = Instant::now();
    corpus::fill(folder.path(), n_chunks);
    println!("{n_chunks} chunks written in {:.1} s", began.elapsed().as_secs_f64());
    let began = Instant::now();
    let address = server(folder.path());
    let mut connection = Connection::open(address, TOKEN);
    // The first question waits until both legs cover everything.
    connection.search(&json!({"query": "anything", "refresh": true}));
    println!("opened in {:.1} s", began.elapsed().as_secs_f64());

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
            let (took, hits) = connection.search(&body);
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

fn server(data: &Path) -> SocketAddr {
    // Production writes a line per request; formatting it is part of the cost, the disk is not.
    atlas_server::log::init(EnvFilter::new("info"), LogFormat::Json, std::io::sink);
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.set_nonblocking(true).expect("a socket option");
    let address = listener.local_addr().expect("an address");
    let place = data.to_str().expect("UTF-8").to_owned();
    std::thread::spawn(move || {
        let values = BTreeMap::from([("TP_DATA_DIR", place.as_str()), ("ADMIN_TOKEN", TOKEN)]);
        let settings = Settings::read(&values).expect("usable settings");
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        runtime.block_on(async {
            let app = atlas_server::wiring::start(settings).await.expect("started");
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            atlas_server::server::serve(listener, app, std::future::pending()).await.expect("serves");
        });
    });
    address
}

/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(120);
