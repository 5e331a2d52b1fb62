//! The steps of `cargo xtask ci`, and the runs that take a peer.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The repository's root, from this package's place in it.
pub(crate) fn repository_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the repository").to_owned()
}

/// The whole check, cheap steps first.
pub(crate) fn ci(root: &Path) -> anyhow::Result<()> {
    step(root, "format", cargo(&["fmt", "--all", "--check"]))?;
    println!("xtask: layers");
    crate::layers::check(root)?;
    step(root, "clippy", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    docs.env("RUSTDOCFLAGS", "-D warnings");
    step(root, "docs", docs)?;
    if available("cargo-deny") {
        step(root, "deny", cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]))?;
    } else {
        println!("xtask: deny SKIPPED: cargo-deny is not installed");
    }
    step(root, "tests", cargo(&["test", "--workspace"]))
}

/// The end-to-end tests that need a peer, against the peers of `scripts`.
pub(crate) fn peers(root: &Path, scripts: &Path) -> anyhow::Result<()> {
    let scripts = root.join(scripts);
    if !scripts.is_dir() {
        println!("SKIPPED: no peers, {} is not there", scripts.display());
        return Ok(());
    }
    let scripts = scripts.canonicalize().context("the peers folder")?;
    let dir = std::env::var_os("PEERS_DIR").map_or_else(|| root.join("target/peers"), PathBuf::from);
    let mut tests = cargo(&["test", "-p", "atlas-server"]);
    tests.args(["--test", "peers", "--test", "providers", "--test", "bedrock"]);
    // The peers have fixed ports.
    tests.args(["--no-fail-fast", "--", "--nocapture", "--test-threads=1"]);
    tests.env("ATLAS_PEERS", &scripts).env("PEERS_DIR", &dir);
    let others = step(root, "peers", tests);
    let database = postgres(root, &scripts.join("pgvector.sh"), &dir);
    others.and(database)
}

/// The tests of the shared store, against a real PostgreSQL.
fn postgres(root: &Path, script: &Path, dir: &Path) -> anyhow::Result<()> {
    let peer = |word: &str| {
        let mut peer = Command::new("bash");
        peer.arg(script).arg(word).env("PEERS_DIR", dir);
        peer
    };
    let started = peer("start").output().context("cannot start PostgreSQL")?;
    let said = String::from_utf8_lossy(&started.stdout);
    let url = said.split_whitespace().find(|word| word.starts_with("postgres://"));
    let Some(url) = url.filter(|_| started.status.success()) else {
        println!("SKIPPED: no PostgreSQL, {} did not start", script.display());
        return Ok(());
    };
    let mut store = cargo(&["test", "-p", "atlas-store", "--", "--nocapture"]);
    store.env("ATLAS_TEST_POSTGRES", url);
    let mut servers = cargo(&["test", "-p", "atlas-server", "--test", "postgres", "--", "--nocapture"]);
    servers.env("ATLAS_TEST_POSTGRES", url);
    let outcome = step(root, "PostgreSQL", store).and(step(root, "servers on PostgreSQL", servers));
    peer("stop").status().context("cannot stop PostgreSQL")?;
    outcome
}

/// What takes too long for the test command: a thousand rotations of key and endpoint under load,
/// and the memory of a server whose settings change every second.
pub(crate) fn soak(root: &Path, rotations: u32, seconds: u32) -> anyhow::Result<()> {
    let mut tests = cargo(&["test", "--release", "-p", "atlas-server", "--test", "rotation"]);
    tests.args(["--", "--nocapture", "--test-threads=1"]);
    tests.env("ATLAS_ROTATIONS", rotations.to_string()).env("ATLAS_SOAK_SECONDS", seconds.to_string());
    step(root, "soak", tests)
}

/// Measurements on the public corpora that the test command leaves out for their time.
pub(crate) fn measure(root: &Path) -> anyhow::Result<()> {
    let tests = ["test", "--release", "-p", "atlas-features", "--lib", "--", "--ignored", "--nocapture"];
    step(root, "measurements on the corpora", cargo(&tests))
}

pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments);
    command
}

fn available(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

pub(crate) fn step(root: &Path, name: &str, mut command: Command) -> anyhow::Result<()> {
    println!("xtask: {name}");
    let status =
        command.current_dir(root).status().with_context(|| format!("cannot start the step {name}"))?;
    if !status.success() {
        bail!("the step {name} failed");
    }
    Ok(())
}
