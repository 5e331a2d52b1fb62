//! `cargo xtask kernels`: what watches the unsafe code of `atlas-kernels`.
//!
//! The crate's tests under AddressSanitizer (every instruction set of this CPU), under Miri (the
//! portable twins), and minutes of the fuzz target. Each needs something of the machine and says
//! SKIPPED without it. Not part of `ci`: all of it takes a quarter of an hour.

use std::path::Path;
use std::process::Command;

use crate::steps::step;

/// The one target that the sanitizer is built for here; a target also keeps build scripts clean.
const TARGET: &str = "x86_64-unknown-linux-gnu";

pub(crate) fn check(root: &Path, fuzz_seconds: u32) -> anyhow::Result<()> {
    if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        step(root, "address sanitizer", sanitizer(root))?;
    } else {
        println!("xtask: address sanitizer SKIPPED: its target is {TARGET}");
    }
    if nightly(&["miri", "--version"]) {
        step(root, "miri", miri(root))?;
    } else {
        println!("xtask: miri SKIPPED: the nightly toolchain has no miri");
    }
    if nightly(&["fuzz", "--version"]) {
        step(&root.join("crates/atlas-kernels"), "fuzz", fuzz(root, fuzz_seconds))
    } else {
        println!("xtask: fuzz SKIPPED: cargo-fuzz or a nightly toolchain is missing");
        Ok(())
    }
}

fn sanitizer(root: &Path) -> Command {
    let mut tests = crate::steps::cargo(&["test", "-p", "atlas-kernels", "--lib", "--target", TARGET]);
    // The flag of a nightly compiler, on the stable one that everything else is built with.
    // A third of the time to compile; the instrumented code is slow either way.
    tests.args(["--config", "profile.dev.package.atlas-kernels.opt-level=1"]);
    tests.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=address");
    tests.env("CARGO_TARGET_DIR", root.join("target/kernels"));
    tests
}

fn miri(root: &Path) -> Command {
    let mut tests = on_nightly(&["miri", "test", "-p", "atlas-kernels", "--lib", "encoder"]);
    tests.env("CARGO_TARGET_DIR", root.join("target/kernels"));
    tests
}

fn fuzz(root: &Path, seconds: u32) -> Command {
    let limit = format!("-max_total_time={seconds}");
    let mut run = on_nightly(&["fuzz", "run", "encode", "--", &limit, "-max_len=400"]);
    run.env("CARGO_TARGET_DIR", root.join("target/kernels"));
    run
}

/// `env!("CARGO")` is the cargo of one toolchain; another is reached through rustup.
pub(crate) fn on_nightly(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).args(arguments);
    command
}

pub(crate) fn nightly(arguments: &[&str]) -> bool {
    on_nightly(arguments).output().is_ok_and(|output| output.status.success())
}
