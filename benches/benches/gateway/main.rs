//! What `/v1/chat/completions` adds in front of a provider that answers at once.
//!
//! Everything is on loopback and in this process, each part on threads of its own: a provider
//! (raw sockets), the server as it runs in production (keywords only, its log formatted and thrown
//! away), and clients that block on a socket. Direct requests and requests through the server take
//! turns, so that whatever else the machine does meets both.
//!
//! `added` is the difference of the same percentile of both. Raw numbers go to
//! `target/gateway.json`.
//!
//! A core of a virtual machine that sleeps between two packets takes 30 to 50 us to wake, and a
//! request through the server wakes twice as many threads as a direct one. To see the server and
//! not the machine, keep the cores awake with one idle-class spinner each:
//! `chrt -i 0 taskset -c 0 sh -c 'while :; do :; done'`.
//!
//! ```text
//! cargo bench -p atlas-benches --bench gateway
//! cargo bench -p atlas-benches --bench gateway -- --litellm http://127.0.0.1:14000
//! ```
//!
//! With `--litellm` the provider listens on 14020, where the configuration of
//! `peers/litellm.sh` expects one under the name `via-llama`, and LiteLLM takes its turn too.
#![expect(clippy::print_stdout, reason = "a bench prints its numbers")]

mod client;
mod paced;
mod provider;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atlas_benches::{TOKEN, serve};
use client::{Connection, Target};
use serde_json::{Value, json};

const WARM_UP: usize = 500;
const TURNS: usize = 4_000;
/// LiteLLM takes milliseconds; this many turns are enough for its percentiles.
const PEER_TURNS: usize = 300;
const CONCURRENCY: [usize; 3] = [1, 8, 32];
const RATE_TIME: Duration = Duration::from_secs(3);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let peer = arguments.iter().position(|word| word == "--litellm").and_then(|at| arguments.get(at + 1));
    let peer: Option<SocketAddr> = peer.map(|url| {
        url.trim_start_matches("http://").trim_end_matches('/').parse().expect("http://address:port")
    });

    let provider = provider::start(if peer.is_some() { 14_020 } else { 0 });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("http://{provider}/v1");
    let settings = [
        ("EMBEDDING_PROVIDER", "fallback"),
        ("BYOC_PROVIDER", "openai"),
        ("BYOC_ENDPOINT_URL", url.as_str()),
        ("BYOC_API_KEY", "test-key"),
        ("BYOC_MODEL", "fake-1"),
    ];
    let ours = serve(folder.path(), &settings);
    let direct = Target { address: provider, token: "test-key", model: "fake-1" };
    let ours = Target { address: ours, token: TOKEN, model: "fake-1" };
    let peer = peer.map(|address| Target { address, token: "sk-test-master", model: "via-llama" });

    let mut report = json!({});
    for (name, stream) in [("unary", false), ("first_token", true)] {
        report[name] = in_turns(name, stream, direct, ours, peer);
    }
    let mut rates = json!({});
    for (name, target) in [("direct", Some(direct)), ("ours", Some(ours)), ("litellm", peer)] {
        let Some(target) = target else { continue };
        for n_connections in CONCURRENCY {
            let rate = requests_per_second(target, n_connections);
            println!("requests per second, {name}, {n_connections} connections: {rate:.0}");
            rates[name][n_connections.to_string()] = json!(rate);
        }
    }
    report["requests_per_second"] = rates;
    report["paced"] = paced::measure(direct, ours);

    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/gateway.json");
    std::fs::write(&place, report.to_string()).expect("target can be written");
}

/// Times of one request after the other, every target in its turn.
fn in_turns(name: &str, stream: bool, direct: Target, ours: Target, peer: Option<Target>) -> Value {
    let ask = |target: Target| (Connection::open(target), target.request(stream, ""));
    let (mut direct, mut ours) = (ask(direct), ask(ours));
    let mut peer = peer.map(ask);
    let once = |(connection, request): &mut (Connection, Vec<u8>)| {
        let answer = connection.ask(request);
        if stream { answer.first_token.expect("a token") } else { answer.whole }
    };
    for _ in 0..WARM_UP {
        once(&mut direct);
        once(&mut ours);
    }
    let (mut direct_times, mut our_times, mut peer_times) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        direct_times.push(once(&mut direct));
        our_times.push(once(&mut ours));
        if let Some(peer) = peer.as_mut().filter(|_| turn % (TURNS / PEER_TURNS) == 0) {
            peer_times.push(once(peer));
        }
    }
    let direct = Percentiles::of(&direct_times);
    let ours = Percentiles::of(&our_times);
    println!("{name}: direct {direct}, through us {ours}, added {}", ours.minus(&direct));
    let mut result = json!({
        "direct_us": micros(&direct_times), "ours_us": micros(&our_times),
        "added_p50_us": ours.minus(&direct).p50, "added_p99_us": ours.minus(&direct).p99,
    });
    if !peer_times.is_empty() {
        let peer = Percentiles::of(&peer_times);
        let (added, our_added) = (peer.minus(&direct), ours.minus(&direct));
        println!(
            "{name}: through LiteLLM {peer}, added {added}: {:.1} times ours at p50",
            added.p50 / our_added.p50
        );
        result["litellm_us"] = micros(&peer_times);
        result["litellm_added_p50_ratio"] = json!(added.p50 / our_added.p50);
    }
    result
}

fn requests_per_second(target: Target, n_connections: usize) -> f64 {
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..n_connections)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let (mut connection, request) = (Connection::open(target), target.request(false, ""));
                while !stop.load(Ordering::Relaxed) {
                    connection.ask(&request);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    // Connecting and warming up is not counted.
    std::thread::sleep(RATE_TIME / 10);
    let (began, before) = (Instant::now(), answered.load(Ordering::Relaxed));
    std::thread::sleep(RATE_TIME);
    let rate = (answered.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("a client that does not panic");
    }
    rate
}

fn micros(times: &[Duration]) -> Value {
    times.iter().map(|time| time.as_nanos() as f64 / 1e3).collect()
}

/// Microseconds.
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Percentiles {
    pub(crate) fn of(times: &[Duration]) -> Self {
        let mut times = times.to_vec();
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_nanos() as f64 / 1e3;
        Self { p50: at(50), p99: at(99) }
    }

    fn minus(&self, other: &Self) -> Self {
        Self { p50: self.p50 - other.p50, p99: self.p99 - other.p99 }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.0} us p99 {:.0} us", self.p50, self.p99)
    }
}
