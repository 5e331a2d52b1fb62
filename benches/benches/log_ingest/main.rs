//! Log lines through the HTTP API: how many are acknowledged durably in a second, how long the
//! search takes to catch up, and how fast it answers over all of them.
//!
//! Everything is on loopback and in this process: the server as it runs in production (keywords
//! only), and senders that block on a socket. The lines are those of the loghub samples where
//! they are present and made up otherwise, each copy with a time and numbers of its own; the
//! senders make them while they send, on the same cores.
//!
//! ```text
//! cargo bench -p atlas-benches --bench log_ingest
//! cargo bench -p atlas-benches --bench log_ingest -- --lines 200000 --senders 2 --body 1000
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints its numbers")]

mod lines;
mod questions;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use atlas_benches::{Connection, bytes_under, serve};
use lines::Lines;
use serde_json::json;

/// A run that takes longer than this has nothing to say about twenty thousand lines a second.
const LONGEST: Duration = Duration::from_secs(900);

fn main() {
    let number = |name: &str, default: usize| {
        let arguments: Vec<String> = std::env::args().collect();
        let given = arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
        given.map_or(default, |text| text.parse().expect("a whole number"))
    };
    let (n_lines, n_senders) = (number("--lines", 1_000_000), number("--senders", 4));
    let body = number("--body", 2_500);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address = serve(folder.path(), &[("EMBEDDING_PROVIDER", "fallback")]);
    let source = Lines::read();
    println!("{} different lines of {}", source.len(), source.origin());

    let cpu_before = cpu_seconds();
    let began = Instant::now();
    let bodies = AtomicUsize::new(0);
    let n_bodies = n_lines.div_ceil(body);
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..n_senders)
            .map(|sender| {
                let (source, bodies) = (&source, &bodies);
                scope.spawn(move || {
                    let mut connection = Connection::open(address);
                    let mut times = Vec::new();
                    loop {
                        let number = bodies.fetch_add(1, Ordering::Relaxed);
                        if number >= n_bodies || began.elapsed() > LONGEST {
                            return times;
                        }
                        let lines = source.body(number * body, body.min(n_lines - number * body), sender);
                        let answer = connection.post("/api/logs", "application/x-ndjson", &lines);
                        assert_eq!(answer.status, 200, "{}", answer.body);
                        times.push(answer.took);
                    }
                })
            })
            .collect();
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender that does not panic")).collect()
    });
    let acknowledged = began.elapsed().as_secs_f64();
    times.sort_unstable();
    let mut connection = Connection::open(address);
    // The legs follow the change log in order: the last line is found when all are.
    let last = source.marker(n_lines - 1);
    while !questions::finds(&mut connection, &last) {
        assert!(began.elapsed() < LONGEST, "the search did not catch up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let searchable = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds().zip(cpu_before).map(|(after, before)| after - before);
    println!(
        "{n_lines} lines, {n_senders} senders, {body} lines a body: acknowledged {:.0} lines/s, searchable {:.0} \
         lines/s; a body p50 {:.0} ms p99 {:.0} ms; {:.1} us of CPU a line, senders included",
        n_lines as f64 / acknowledged,
        n_lines as f64 / searchable,
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[(times.len() - 1) * 99 / 100].as_secs_f64() * 1e3,
        cpu.unwrap_or(f64::NAN) * 1e6 / n_lines as f64,
    );
    let (store, index) =
        (bytes_under(&folder.path().join("tenants")), bytes_under(&folder.path().join("index")));
    let per_line = |bytes: u64| bytes as f64 / n_lines as f64;
    println!("disk a line: store {:.1} bytes, index {:.1} bytes", per_line(store), per_line(index));
    let answers = questions::ask(&mut connection, &source, n_lines);

    let report = json!({
        "lines": n_lines, "senders": n_senders, "body": body,
        "acknowledged_lines_s": n_lines as f64 / acknowledged,
        "searchable_lines_s": n_lines as f64 / searchable,
        "cpu_s": cpu, "store_bytes": store, "index_bytes": index, "questions_ms": answers,
    });
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/log_ingest.json");
    std::fs::write(&place, report.to_string()).expect("target can be written");
    // The server's threads end with the process; the folder has to go before.
    drop(folder);
}

/// User and system time of this process, where the system tells: ticks of a hundredth of a second.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}
