//! `backup`, `restore` and `backups`: through the API, which knows names only. Copying to and from
//! other places is done here, by whoever may read and write the data directory anyway.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use atlas_config::Settings;
use atlas_domain::TenantId;
use atlas_store::BackupName;
use serde_json::{Value, json};

use super::Output;
use super::arguments::{BackupArguments, BackupsArguments, RestoreArguments};
use super::client::Client;
use crate::tenant_header::DEFAULT_TENANT;

/// `backup`.
pub(crate) async fn make(
    arguments: BackupArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let data_dir = settings.data_dir.clone();
    let body = json!({"name": arguments.name, "tenants": some(&arguments.tenant)});
    let manifest =
        Client::once(settings, async |client: &Client| client.post("/api/backups", &any(), &body).await)
            .await?;
    let name: BackupName =
        serde_json::from_value(manifest["name"].clone()).context("the answer names no backup")?;
    let mut place = place_of(&data_dir, &name);
    if let Some(to) = &arguments.to {
        place = copied(&place, &to.join(name.as_str()))?;
    }
    if arguments.json {
        return output.json(&manifest);
    }
    output.line(&format!("{}: {}", place.display(), held(&manifest)))
}

/// `restore`.
pub(crate) async fn restore(
    arguments: RestoreArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let name = &arguments.name;
    if let Some(from) = &arguments.from {
        let place = place_of(&settings.data_dir, name);
        ensure!(!place.exists(), "there is a backup {name} in the data directory already; leave out --from");
        copied(&from.join(name.as_str()), &place)?;
    }
    let path = format!("/api/backups/{name}/restore");
    let body = json!({"tenants": some(&arguments.tenant)});
    let restored =
        Client::once(settings, async |client: &Client| client.post(&path, &any(), &body).await).await?;
    if arguments.json {
        return output.json(&restored);
    }
    output.line(&format!("restored {name}: {}", held(&restored)))
}

/// `backups`.
pub(crate) async fn list(
    arguments: BackupsArguments,
    settings: Settings,
    output: &mut Output,
) -> anyhow::Result<()> {
    let answer =
        Client::once(settings, async |client: &Client| client.get("/api/backups", &any()).await).await?;
    if arguments.json {
        return output.json(&answer);
    }
    for manifest in answer["items"].as_array().into_iter().flatten() {
        let text = |name: &str| manifest[name].as_str().unwrap_or_default();
        output.line(&format!("{}  {}  {}", text("name"), text("made_at"), held(manifest)))?;
    }
    Ok(())
}

/// These routes act for tenants that the body names; the header only has to be well-formed.
fn any() -> TenantId {
    DEFAULT_TENANT.parse().expect("a constant that is a tenant id")
}

fn some(tenants: &[TenantId]) -> Option<&[TenantId]> {
    (!tenants.is_empty()).then_some(tenants)
}

fn place_of(data_dir: &Path, name: &BackupName) -> PathBuf {
    data_dir.join("backups").join(name.as_str())
}

/// The tenants of a manifest with their sizes, for a person.
fn held(manifest: &Value) -> String {
    let tenants = manifest["tenants"].as_array().into_iter().flatten().map(|entry| {
        let mib = entry["bytes"].as_f64().unwrap_or(0.0) / f64::from(1 << 20);
        format!("{} ({mib:.1} MiB, change {})", entry["tenant"].as_str().unwrap_or_default(), entry["seq"])
    });
    tenants.collect::<Vec<_>>().join(", ")
}

/// Copies a backup's folder under another name first, so that half a copy is never taken for one.
fn copied(from: &Path, to: &Path) -> anyhow::Result<PathBuf> {
    let (Some(parent), Some(name)) = (to.parent(), to.file_name().and_then(|name| name.to_str())) else {
        bail!("{} is no place for a backup", to.display());
    };
    ensure!(!to.exists(), "{} is there already", to.display());
    let draft = parent.join(format!(".new-{name}"));
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(&draft)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let target = draft.join(entry.file_name());
            fs::copy(entry.path(), &target)?;
            File::open(&target)?.sync_all()?;
        }
        File::open(&draft)?.sync_all()?;
        fs::rename(&draft, to)?;
        File::open(parent)?.sync_all()
    };
    copy().with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))?;
    Ok(to.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_copied_whole_and_never_over_another() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (from, to) = (folder.path().join("from"), folder.path().join("deep/er/to"));
        fs::create_dir(&from).expect("made");
        fs::write(from.join("manifest.json"), "{}").expect("written");
        assert_eq!(copied(&from, &to).expect("copied"), to);
        assert_eq!(fs::read(to.join("manifest.json")).expect("read"), b"{}");
        assert!(copied(&from, &to).is_err());
        assert!(copied(&folder.path().join("none"), &folder.path().join("x")).is_err());
    }

    #[test]
    fn what_a_backup_holds_reads_as_a_line() {
        let manifest = json!({"tenants": [{"tenant": "acme", "bytes": 1 << 20, "seq": 7}]});
        assert_eq!(held(&manifest), "acme (1.0 MiB, change 7)");
    }
}
