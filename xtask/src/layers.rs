//! The one rule that is checked by machine: which crate may depend on which.
//!
//! The table repeats `crates/README.md`. A new arrow is a decision: change both, and say why in
//! the commit.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;

/// Crate, and what it may depend on. Development dependencies are free.
const ARROWS: &[(&str, &[&str])] = &[
    ("atlas-domain", &[]),
    ("atlas-http", &[]),
    ("atlas-kernels", &[]),
    ("atlas-guard", &["atlas-domain"]),
    ("atlas-vendor", &["atlas-domain", "atlas-guard", "atlas-http"]),
    ("atlas-aws", &["atlas-domain", "atlas-http", "atlas-vendor"]),
    ("atlas-config", &["atlas-domain"]),
    ("atlas-llm", &["atlas-domain", "atlas-guard"]),
    ("atlas-embed", &["atlas-domain", "atlas-guard"]),
    ("atlas-index", &["atlas-domain", "atlas-kernels"]),
    ("atlas-store", &["atlas-domain"]),
    (
        "atlas-providers",
        &["atlas-llm", "atlas-guard", "atlas-domain", "atlas-http", "atlas-vendor", "atlas-aws"],
    ),
    (
        "atlas-engines",
        &[
            "atlas-embed",
            "atlas-guard",
            "atlas-domain",
            "atlas-http",
            "atlas-vendor",
            "atlas-kernels",
            "atlas-aws",
        ],
    ),
    ("atlas-retrieval", &["atlas-embed", "atlas-index", "atlas-store", "atlas-guard", "atlas-domain"]),
    ("atlas-inference", &["atlas-llm", "atlas-guard", "atlas-domain"]),
    ("atlas-features", &["atlas-retrieval", "atlas-inference", "atlas-store", "atlas-domain"]),
    ("atlas-server", &["*"]),
    ("atlas-testkit", &["*"]),
    ("atlas-benches", &["*"]),
    ("xtask", &[]),
];

/// Crates.io packages with one home: only these crates may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("reqwest", &["atlas-http"]),
    ("tokio-rustls", &["atlas-http"]),
    ("axum", &["atlas-server"]),
    ("mimalloc", &["atlas-server"]),
    ("candle-core", &["atlas-engines"]),
    ("candle-nn", &["atlas-engines"]),
    ("candle-transformers", &["atlas-engines"]),
    ("tokenizers", &["atlas-engines"]),
    ("rusqlite", &["atlas-store"]),
    ("tokio-postgres", &["atlas-store", "atlas-testkit"]),
    ("tantivy", &["atlas-index"]),
    ("hnsw_rs", &["atlas-index"]),
    ("anyhow", &["atlas-server", "xtask"]),
    ("aws-credential-types", &["atlas-aws"]),
    ("aws-sdk-bedrockruntime", &["atlas-aws", "atlas-providers", "atlas-engines"]),
    ("aws-smithy-runtime-api", &["atlas-aws", "atlas-providers"]),
    ("aws-smithy-types", &["atlas-aws", "atlas-providers"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Checks the workspace and names every forbidden arrow.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root)
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")?;
    let faults = faults(&metadata);
    if faults.is_empty() {
        return Ok(());
    }
    bail!("the layers are broken:\n  {}", faults.join("\n  "))
}

fn faults(metadata: &Metadata) -> Vec<String> {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let from = package.name.as_str();
        let Some(allowed) = arrows.get(from) else {
            faults.push(format!("{from} has no place in the table of xtask/src/layers.rs"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev")) {
            let to = dependency.name.as_str();
            if to == "atlas-testkit" {
                faults
                    .push(format!("{from} -> atlas-testkit: the test kit is a development dependency only"));
            } else if arrows.contains_key(to) && !allowed.contains(&"*") && !allowed.contains(&to) {
                faults.push(format!("{from} -> {to}: not an arrow of the design"));
            }
            if let Some((_, homes)) = HOMES.iter().find(|(name, _)| *name == to)
                && !homes.contains(&from)
            {
                faults.push(format!("{from} -> {to}: {to} belongs to {} only", homes.join(" and ")));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str, kind: Option<&str>) -> usize {
        let dependency = Dependency { name: to.into(), kind: kind.map(Into::into) };
        faults(&Metadata { packages: vec![Package { name: from.into(), dependencies: vec![dependency] }] })
            .len()
    }

    #[test]
    fn an_arrow_of_the_design_passes() {
        assert_eq!(check("atlas-retrieval", "atlas-store", None), 0);
        assert_eq!(check("atlas-server", "atlas-providers", None), 0);
    }

    #[test]
    fn a_path_that_knows_a_plug_fails() {
        assert_eq!(check("atlas-retrieval", "atlas-engines", None), 1);
        assert_eq!(check("atlas-inference", "atlas-providers", None), 1);
    }

    #[test]
    fn a_test_may_know_a_plug() {
        assert_eq!(check("atlas-retrieval", "atlas-engines", Some("dev")), 0);
    }

    #[test]
    fn the_test_kit_never_ships() {
        assert_eq!(check("atlas-server", "atlas-testkit", None), 1);
        assert_eq!(check("atlas-server", "atlas-testkit", Some("dev")), 0);
    }

    #[test]
    fn sockets_and_sql_have_one_home() {
        assert_eq!(check("atlas-providers", "reqwest", None), 1);
        assert_eq!(check("atlas-retrieval", "rusqlite", None), 1);
    }

    #[test]
    fn a_crate_outside_the_table_fails() {
        assert_eq!(check("atlas-new", "serde", None), 1);
    }

    #[test]
    fn this_workspace_keeps_its_layers() {
        super::check(&crate::steps::repository_root()).expect("no forbidden arrow");
    }
}
