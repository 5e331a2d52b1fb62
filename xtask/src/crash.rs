//! `cargo xtask crash`: what `cargo test` takes a sample of, in full.
//!
//! Kills of the server with requests on their way, a power cut at every write, damage to derived
//! files. Each is a test target that reads its number from the environment.

use std::path::Path;

use crate::steps::{cargo, step};

/// Runs all three.
pub(crate) fn check(root: &Path, kills: u32, damages: u32) -> anyhow::Result<()> {
    let mut cuts = cargo(&["test", "-p", "atlas-store", "--test", "power_cut", "--", "--nocapture"]);
    cuts.env("ATLAS_CUTS", "all");
    step(root, "a power cut at every write", cuts)?;
    let mut damage = cargo(&["test", "-p", "atlas-index", "--lib", "every_flipped", "--", "--nocapture"]);
    damage.env("ATLAS_DAMAGES", damages.to_string());
    step(root, "damaged derived files", damage)?;
    let mut killed = cargo(&["test", "-p", "atlas-server", "--test", "crash", "--", "--nocapture"]);
    killed.env("ATLAS_KILLS", kills.to_string());
    step(root, "a killed server", killed)
}
