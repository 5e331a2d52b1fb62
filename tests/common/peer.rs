//! Real servers written by others, started and stopped by scripts.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A peer that is stopped when the test ends, also by a panic.
pub(crate) struct Peer {
    script: PathBuf,
    stop: Vec<String>,
}

impl Peer {
    /// Starts `script`, or prints why it cannot be had.
    pub(crate) fn start(test: &str, script: &str, environment: &[(&str, &str)]) -> Option<Self> {
        Self::start_as(test, script, "start", environment)
    }

    /// Starts it with another word than `start`.
    pub(crate) fn start_as(
        test: &str,
        script: &str,
        word: &str,
        environment: &[(&str, &str)],
    ) -> Option<Self> {
        Self::start_with(test, script, &[word], &["stop"], environment)
    }

    /// Starts and later stops it with these arguments.
    pub(crate) fn start_with(
        test: &str,
        script: &str,
        start: &[&str],
        stop: &[&str],
        environment: &[(&str, &str)],
    ) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "a test is told by its runner where the peers are")]
        let Ok(folder) = std::env::var("ATLAS_PEERS") else {
            eprintln!("SKIPPED: {test}: `cargo xtask peers` runs it");
            return None;
        };
        let script = Path::new(&folder).join(script);
        let started = Command::new("sh").arg(&script).args(start).envs(environment.iter().copied()).status();
        if started.is_ok_and(|status| status.success()) {
            return Some(Self { script, stop: stop.iter().map(|word| (*word).to_owned()).collect() });
        }
        eprintln!("SKIPPED: {test}: {} did not start", script.display());
        None
    }

    /// What the script prints for another of its words.
    pub(crate) fn output(&self, word: &str) -> String {
        let output = Command::new("sh").arg(&self.script).arg(word).output().expect("the script runs");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Where the peers are installed.
    pub(crate) fn peers_dir(&self) -> PathBuf {
        #[expect(clippy::disallowed_methods, reason = "the scripts read the same variable")]
        let dir = std::env::var("PEERS_DIR").unwrap_or_else(|_| "target/peers".to_owned());
        PathBuf::from(dir)
    }

    /// Stops it now.
    pub(crate) fn stop(&self) {
        let _ = Command::new("sh").arg(&self.script).args(&self.stop).status();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
    }
}
