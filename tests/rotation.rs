//! Keys and endpoints change together, under load, in the way Kubernetes changes a mounted Secret.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::upstream::{Reply, Upstream};
use common::{Server, data_dir};
use serde_json::json;

/// Rotations in the test command; `cargo xtask soak` asks for a thousand.
const FEW: usize = 25;
/// Longer than the two seconds that are promised, for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes one generation and points `..data` at it, as the kubelet does: readers see all of the
/// old files or all of the new ones.
fn mount(dir: &Path, generation: usize, values: &[(&str, &str)]) {
    let name = format!("..generation-{generation}");
    let new = dir.join(&name);
    fs::create_dir(&new).expect("a new generation");
    for (setting, value) in values {
        fs::write(new.join(setting), value).expect("written");
        let link = dir.join(setting);
        if !link.is_symlink() {
            symlink(Path::new("..data").join(setting), link).expect("linked");
        }
    }
    symlink(&name, dir.join("..data_tmp")).expect("linked");
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).expect("swapped");
    if let Some(old) = generation.checked_sub(1) {
        fs::remove_dir_all(dir.join(format!("..generation-{old}"))).expect("removed");
    }
}

fn generation(server: &Server) -> u64 {
    let (status, answer) = server.json("GET", "/api/ai/status", "");
    assert_eq!(status, 200, "{answer}");
    answer["settings"]["generation"].as_u64().unwrap_or_else(|| panic!("no generation in {answer}"))
}

#[test]
fn a_key_never_meets_another_endpoint_while_both_rotate_under_load() {
    #[expect(clippy::disallowed_methods, reason = "the soak run asks for more rotations")]
    let n_rotations = std::env::var("ATLAS_ROTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(FEW);
    let upstreams = [(); 2].map(|()| Upstream::start(|request| Reply::chat(request, "fine")));
    let bases = [upstreams[0].base(), upstreams[1].base()];
    let keys = ["test-key-of-the-first", "test-key-of-the-second"];
    let (data, mounted) = (data_dir(), data_dir());
    let swap = |n: usize| {
        let which = n % 2;
        mount(
            mounted.path(),
            n,
            &[
                ("BYOC_PROVIDER", "openai"),
                ("BYOC_MODEL", "m"),
                ("BYOC_ENDPOINT_URL", &bases[which]),
                ("BYOC_API_KEY", keys[which]),
            ],
        );
    };
    swap(0);
    let settings = [
        ("TP_SETTINGS_DIR", mounted.path().to_str().expect("a path of text")),
        ("EMBEDDING_PROVIDER", "fallback"),
    ];
    let server = Server::start(data.path(), &settings, &["--demo"]);
    let over = AtomicBool::new(false);
    let (n_chats, n_searches) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ask = json!({ "model": "m", "messages": [{ "role": "user", "content": "Is it fine?" }] }).to_string();
    let slowest = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let (status, answer) = server.call("POST", "/v1/chat/completions", &ask);
                    assert_eq!(status, 200, "{answer}");
                    n_chats.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let (status, answer) =
                    server.call("POST", "/api/search", r#"{"query":"database connections"}"#);
                assert_eq!(status, 200, "{answer}");
                n_searches.fetch_add(1, Ordering::Relaxed);
            }
        });
        let stop = StopAtEnd(&over);
        let mut slowest = Duration::ZERO;
        for n in 1..=n_rotations {
            let before = generation(&server);
            let begun = Instant::now();
            swap(n);
            while generation(&server) == before {
                assert!(begun.elapsed() < PATIENCE, "rotation {n} took no effect");
            }
            slowest = slowest.max(begun.elapsed());
        }
        drop(stop);
        slowest
    });
    for (upstream, key) in upstreams.iter().zip(keys) {
        let received = upstream.received();
        assert!(!received.is_empty(), "both endpoints were used");
        for request in received {
            assert_eq!(request.authorization, format!("Bearer {key}"), "a whole snapshot per request");
        }
    }
    eprintln!(
        "{n_rotations} rotations, {} chats, {} searches, slowest to take effect {} ms",
        n_chats.into_inner(),
        n_searches.into_inner(),
        slowest.as_millis(),
    );
}

/// Ends the load also when an assertion fails, or the scope would wait for it for ever.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_bad_change_is_refused_and_the_last_good_settings_go_on() {
    let upstream = Upstream::start(|request| Reply::chat(request, "fine"));
    let (data, mounted) = (data_dir(), data_dir());
    let base = upstream.base();
    let good = [
        ("BYOC_PROVIDER", "openai"),
        ("BYOC_MODEL", "m"),
        ("BYOC_ENDPOINT_URL", base.as_str()),
        ("BYOC_API_KEY", "test-key-of-the-first"),
    ];
    mount(mounted.path(), 0, &good);
    let settings = [
        ("TP_SETTINGS_DIR", mounted.path().to_str().expect("a path of text")),
        ("EMBEDDING_PROVIDER", "fallback"),
    ];
    let server = Server::start(data.path(), &settings, &[]);
    let mut bad = good;
    bad[2].1 = "not a url";
    mount(mounted.path(), 1, &bad);
    let begun = Instant::now();
    let rejected = loop {
        let (_, answer) = server.json("GET", "/api/ai/status", "");
        match &answer["settings"]["rejected"] {
            serde_json::Value::Null => assert!(begun.elapsed() < PATIENCE, "not noticed: {answer}"),
            rejected => break rejected.clone(),
        }
    };
    assert_eq!(rejected["name"], "BYOC_ENDPOINT_URL", "{rejected}");
    let ask = json!({ "model": "m", "messages": [{ "role": "user", "content": "Is it fine?" }] }).to_string();
    let (status, answer) = server.call("POST", "/v1/chat/completions", &ask);
    assert_eq!(status, 200, "{answer}");
}

/// Most growth of the resident memory over the soak: buffers and caches settle, nothing else may.
const MOST_GROWTH_KIB: u64 = 8 * 1024;
/// What a server without the local model may take at rest.
const MOST_AT_REST_KIB: u64 = 60 * 1024;

#[test]
fn memory_stays_flat_while_the_settings_rotate_every_second() {
    #[expect(clippy::disallowed_methods, reason = "the soak run says how long")]
    let Some(seconds) = std::env::var("ATLAS_SOAK_SECONDS").ok().and_then(|n| n.parse::<usize>().ok()) else {
        eprintln!("SKIPPED: memory soak: `cargo xtask soak` runs it");
        return;
    };
    let upstream = Upstream::start(|request| Reply::chat(request, "fine"));
    let base = upstream.base();
    let (data, mounted) = (data_dir(), data_dir());
    let keys = ["test-key-of-the-first", "test-key-of-the-second"];
    let swap = |n: usize| {
        mount(
            mounted.path(),
            n,
            &[
                ("BYOC_PROVIDER", "openai"),
                ("BYOC_MODEL", "m"),
                ("BYOC_ENDPOINT_URL", &base),
                ("BYOC_API_KEY", keys[n % 2]),
            ],
        );
    };
    swap(0);
    let settings = [
        ("TP_SETTINGS_DIR", mounted.path().to_str().expect("a path of text")),
        ("EMBEDDING_PROVIDER", "fallback"),
    ];
    let server = Server::start(data.path(), &settings, &[]);
    let at_rest = server.resident_kib();
    let ask = json!({ "model": "m", "messages": [{ "role": "user", "content": "Is it fine?" }] }).to_string();
    // A tenth of the time to fill pools and caches; what counts is the rest.
    let (mut warm, mut last) = (0, 0);
    for n in 1..=seconds {
        swap(n);
        for _ in 0..20 {
            let (status, answer) = server.call("POST", "/v1/chat/completions", &ask);
            assert_eq!(status, 200, "{answer}");
        }
        std::thread::sleep(Duration::from_secs(1));
        last = server.resident_kib();
        if n == seconds.div_ceil(10) {
            warm = last;
        }
    }
    eprintln!(
        "resident memory: {at_rest} KiB at rest, {warm} KiB after a tenth of the time, {last} KiB at the end"
    );
    assert!(at_rest < MOST_AT_REST_KIB, "{at_rest} KiB at rest");
    assert!(last < warm + MOST_GROWTH_KIB, "{warm} KiB grew to {last} KiB");
}
