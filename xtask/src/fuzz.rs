//! `cargo xtask fuzz`: the targets of `fuzz/`, each for some minutes.

use std::path::Path;

use crate::kernels::{nightly, on_nightly};
use crate::steps::step;

/// One per reader of files, and the query parser.
const TARGETS: [&str; 6] = ["backup", "database", "index", "markdown", "query", "settings"];

pub(crate) fn check(root: &Path, seconds: u32, only: Option<&str>) -> anyhow::Result<()> {
    if !nightly(&["fuzz", "--version"]) {
        println!("xtask: fuzz SKIPPED: cargo-fuzz or a nightly toolchain is missing");
        return Ok(());
    }
    for target in TARGETS.into_iter().filter(|target| only.is_none_or(|only| only == *target)) {
        let limit = format!("-max_total_time={seconds}");
        // No sanitizer: there is no unsafe code of ours here, and without it a target tries ten
        // times as much.
        let mut run =
            on_nightly(&["fuzz", "run", "--sanitizer", "none", target, "--", &limit, "-max_len=65536"]);
        run.env("CARGO_TARGET_DIR", root.join("target/fuzz"));
        step(root, target, run)?;
    }
    Ok(())
}
