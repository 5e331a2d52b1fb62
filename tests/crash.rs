//! The server is killed while requests are being written, again and again.
//!
//! Writers send one request after the other; each request changes three records at once. When a
//! random number of them was acknowledged the process is killed, with a request of every writer
//! on its way. Then the directory is opened and read: nothing that was acknowledged is missing,
//! nothing is there that was never sent, no request is there in half, and of each writer's
//! requests there is a beginning without gaps.
//!
//! `cargo test` kills 50 times; `cargo xtask crash` a thousand (`ATLAS_KILLS`).

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::SystemTime;

use atlas_domain::{Corpus, RecordId, RecordKey, TenantScope};
use atlas_store::{SqliteStore, Store};
use common::{Server, TOKEN, data_dir};
use serde_json::{Value, json};

const WRITERS: usize = 4;

/// Kills in one directory; it is checked whole after each, so it should not grow for ever.
const KILLS_PER_DIRECTORY: usize = 10;

/// Acknowledgements before a kill, at most.
const ACKNOWLEDGED: u64 = 24;

/// Chance, from the clock or from the seed of the run that failed.
struct Chance(u64);

impl Chance {
    #[expect(clippy::disallowed_methods, reason = "a run that failed is repeated by its seed")]
    fn new() -> Self {
        let from_clock = || {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            now.as_nanos() as u64
        };
        let named = std::env::var("ATLAS_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = named.unwrap_or_else(from_clock);
        eprintln!("ATLAS_SEED={seed}");
        Self(seed)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)) % limit
    }
}

/// What one writer knows: its requests are numbered from 1.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    sent: u64,
    acknowledged: u64,
}

fn left(writer: usize, n: u64) -> String {
    format!("w{writer}-{n}-left")
}

fn right(writer: usize, n: u64) -> String {
    format!("w{writer}-{n}-right")
}

fn counter(writer: usize) -> String {
    format!("w{writer}-counter")
}

/// What stands in the records of a request: of different sizes, so that commits are too.
fn text(writer: usize, n: u64) -> String {
    format!(
        "# Request {n} of writer {writer}\n\ntoken{writer}x{n} {}\n",
        "padding ".repeat(n as usize * 37 % 900)
    )
}

fn request(writer: usize, n: u64) -> String {
    let markdown = text(writer, n);
    json!({"items": [
        {"id": left(writer, n), "markdown": markdown},
        {"id": counter(writer), "markdown": format!("# Counter\n\n{n}\n")},
        {"id": right(writer, n), "markdown": markdown},
    ]})
    .to_string()
}

/// Sends one request; `None` when the server is gone before it has answered.
fn send(address: &str, body: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    let head = format!(
        "POST /api/import/runbooks HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    // Only an answer that has arrived whole is an acknowledgement.
    (read.is_ok() && answer.contains("\r\n\r\n")).then_some(status)
}

/// Writes until the server is killed after `acknowledged` requests, with others on their way.
fn one_life(data: &Path, written: &mut [Written; WRITERS], acknowledged: u64, spins: u64) {
    let server = Server::start(data, &[("EMBEDDING_PROVIDER", "fallback")], &[]);
    let url = server.url();
    let address = url.strip_prefix("http://").expect("a plain URL");
    let (ack, acks) = mpsc::channel();
    std::thread::scope(|scope| {
        for (writer, written) in written.iter_mut().enumerate() {
            let ack = ack.clone();
            scope.spawn(move || {
                loop {
                    let n = written.sent + 1;
                    written.sent = n;
                    match send(address, &request(writer, n)) {
                        Some(200) => written.acknowledged = n,
                        None => return,
                        Some(status) => panic!("writer {writer}: status {status}"),
                    }
                    // The receiver goes when it has seen enough.
                    let _ = ack.send(());
                }
            });
        }
        drop(ack);
        acks.iter().take(acknowledged as usize).for_each(drop);
        for _ in 0..spins {
            std::hint::spin_loop();
        }
        server.kill();
    });
}

#[expect(clippy::disallowed_methods, reason = "the test says who the caller is")]
fn scope() -> TenantScope {
    TenantScope::grant("default".parse().expect("a tenant's name"))
}

fn text_of(store: &SqliteStore, id: &str) -> Option<String> {
    let key = RecordKey::new(Corpus::Runbooks, RecordId::new(id).expect("an id"));
    store.get(&scope(), &key).expect("readable").map(|record| record.text)
}

/// Reads everything and compares it with what the writers know. A request that was sent and not
/// acknowledged may be there; from now on it counts as sent for good.
fn check(data: &Path, written: &mut [Written; WRITERS]) {
    let store = SqliteStore::open(data).expect("a kill is never fatal");
    let mut n_records = 0;
    for (writer, written) in written.iter_mut().enumerate() {
        let mut held = 0;
        for n in 1..=written.sent {
            let (left, right) = (text_of(&store, &left(writer, n)), text_of(&store, &right(writer, n)));
            assert_eq!(left, right, "half of request {n} of writer {writer}");
            let Some(left) = left else { continue };
            assert_eq!(n, held + 1, "request {} of writer {writer} is missing before {n}", held + 1);
            assert!(left.contains(&format!("token{writer}x{n} ")), "{left}");
            held = n;
            n_records += 2;
        }
        assert!(
            held >= written.acknowledged,
            "writer {writer}: {} were acknowledged, {held} are there",
            written.acknowledged
        );
        let counted = text_of(&store, &counter(writer));
        let expected = (held > 0).then(|| held.to_string());
        let last = counted.as_ref().and_then(|text| text.split_whitespace().last()).map(str::to_owned);
        assert_eq!(last, expected, "the counter of writer {writer}");
        n_records += u64::from(held > 0);
        // What is not there will be sent again.
        *written = Written { sent: held, acknowledged: held };
    }
    let there = store.count(&scope(), Corpus::Runbooks, &Default::default()).expect("counted");
    assert_eq!(there, n_records, "there is something that nobody sent");
}

/// The search legs catch up with what the last kill left.
fn check_search(data: &Path, written: &[Written; WRITERS]) {
    let server = Server::start(data, &[("EMBEDDING_PROVIDER", "fallback")], &[]);
    for (writer, written) in written.iter().enumerate().filter(|(_, written)| written.sent > 0) {
        for n in [1, written.sent] {
            let query =
                json!({"query": format!("token{writer}x{n}"), "corpora": ["runbooks"], "refresh": true});
            let (status, answer) = server.json("POST", "/api/search", &query.to_string());
            assert_eq!(status, 200, "{answer}");
            let mut found: Vec<&str> = answer["hits"]
                .as_array()
                .expect("hits")
                .iter()
                .filter_map(|hit| hit["id"].as_str())
                .collect();
            found.sort_unstable();
            assert_eq!(found, [left(writer, n), right(writer, n)], "{answer}");
            assert!(
                !answer["degraded"].as_array().is_some_and(|legs| legs.contains(&Value::from("lexical")))
            );
        }
    }
}

#[test]
fn a_killed_server_loses_nothing_it_acknowledged_and_invents_nothing() {
    #[expect(clippy::disallowed_methods, reason = "`cargo xtask crash` asks for more kills")]
    let kills: usize = std::env::var("ATLAS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(50);
    let mut chance = Chance::new();
    let (mut kept, mut done) = (0, 0);
    while done < kills {
        let data = data_dir();
        let mut written = [Written::default(); WRITERS];
        for _ in 0..KILLS_PER_DIRECTORY.min(kills - done) {
            one_life(data.path(), &mut written, 1 + chance.below(ACKNOWLEDGED), chance.below(400_000));
            check(data.path(), &mut written);
            done += 1;
        }
        kept += written.iter().map(|written| written.acknowledged).sum::<u64>();
        check_search(data.path(), &written);
    }
    eprintln!("{kills} kills, {kept} requests kept, none lost, none invented");
}
