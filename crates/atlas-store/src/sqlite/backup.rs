//! Backups of the embedded store, taken and restored while it is in use.
//!
//! A backup is a folder below `backups/` in the data directory: one database file per tenant and
//! a manifest with their lengths and checksums. It is built under a name that no backup can have
//! and renamed when everything in it is on the disk. Restoring copies beside the tenant, checks
//! the copy, and swaps folders; a power cut in between leaves the tenant before or after.
//!
//! Not here: the derived indexes. They are no part of a backup, and who restores throws away
//! those of the tenant *before* the swap, so that none can outlive the state it was made of.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use atlas_domain::{TenantId, TenantScope, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::directory::{DATABASE, create_private, remove_if_there, sync};
use super::failure::file_failure;
use super::tenant::lock;
use super::{SqliteStore, schema};
use crate::{BackupName, BackupTenant, Manifest, StoreError};

/// The form of a backup that this program writes, and the highest that it reads.
const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";

/// The manifest's file: what it says, and the checksum of that.
#[derive(Serialize, Deserialize)]
struct Sealed {
    manifest: Manifest,
    sha256: String,
}

/// What can be read of a manifest of any form.
#[derive(Deserialize)]
struct AnyForm {
    manifest: Form,
}

#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// A tenant's database from a backup, copied beside the tenant and checked.
#[derive(Debug)]
pub struct Restored {
    tenant: TenantId,
    draft: PathBuf,
    entry: BackupTenant,
}

impl SqliteStore {
    /// Copies tenants into a new backup, each as it is at one moment. Others read and write
    /// meanwhile.
    pub fn back_up(&self, name: &BackupName, tenants: &[TenantScope]) -> Result<Manifest, StoreError> {
        let _alone = lock(&self.backing_up);
        let (place, draft) = (self.backup_dir(name), self.backups_dir().join(format!(".new-{name}")));
        if place.try_exists().map_err(|error| file_failure(&place, "read", error))? {
            return Err(StoreError::BackupExists { name: name.clone() });
        }
        let made = self.fill_backup(name, tenants, &draft).and_then(|manifest| {
            fs::rename(&draft, &place)
                .and_then(|()| sync(&self.backups_dir()))
                .map_err(|error| file_failure(&place, "written", error))?;
            Ok(manifest)
        });
        if made.is_err() {
            // What is left of it costs space, which may be what is missing.
            let _ = fs::remove_dir_all(&draft);
        }
        made
    }

    fn fill_backup(
        &self,
        name: &BackupName,
        tenants: &[TenantScope],
        draft: &Path,
    ) -> Result<Manifest, StoreError> {
        let written = |error| file_failure(draft, "written", error);
        remove_if_there(draft).map_err(written)?;
        create_private(draft).map_err(written)?;
        let made_at = Timestamp::now();
        let mut entries = Vec::with_capacity(tenants.len());
        for scope in tenants {
            let path = draft.join(file_of(scope.tenant()));
            let copied = self.tenant(scope)?.copy_to(&path)?;
            File::open(&path).and_then(|file| file.sync_all()).map_err(written)?;
            let (bytes, sha256) = digest(&path).map_err(|error| file_failure(&path, "read", error))?;
            let (tenant, seq, schema) = (scope.tenant().clone(), copied.seq, copied.schema);
            entries.push(BackupTenant { tenant, seq, schema, bytes, sha256 });
        }
        let manifest = Manifest { format: FORMAT, name: name.clone(), made_at, tenants: entries };
        let sealed = Sealed { sha256: seal(&manifest), manifest };
        let text = serde_json::to_vec_pretty(&sealed).expect("plain values become JSON");
        let mut file = File::create(draft.join(MANIFEST)).map_err(written)?;
        file.write_all(&text).and_then(|()| file.sync_all()).and_then(|()| sync(draft)).map_err(written)?;
        Ok(sealed.manifest)
    }

    /// The backups there are, by name. One whose manifest cannot be read is left out, with a line
    /// in the log.
    pub fn backups(&self) -> Result<Vec<Manifest>, StoreError> {
        let dir = self.backups_dir();
        let read = |error| file_failure(&dir, "read", error);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(read)?,
        };
        let mut manifests = Vec::new();
        for entry in entries {
            let entry = entry.map_err(read)?;
            let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            match self.manifest(&name) {
                Ok(manifest) => manifests.push(manifest),
                Err(error) => tracing::warn!(backup = %name, %error, "a backup cannot be used"),
            }
        }
        manifests.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(manifests)
    }

    /// What a backup says it holds.
    pub fn manifest(&self, name: &BackupName) -> Result<Manifest, StoreError> {
        let path = self.backup_dir(name).join(MANIFEST);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::UnknownBackup { name: name.clone() });
            }
            text => text.map_err(|error| file_failure(&path, "read", error))?,
        };
        let damaged = |detail: &str| self.damaged(name, detail);
        let AnyForm { manifest: Form { format } } =
            serde_json::from_slice(&text).map_err(|_| damaged("its manifest cannot be read"))?;
        if format > FORMAT {
            return Err(StoreError::Newer { found: format, known: FORMAT });
        }
        let Sealed { manifest, sha256 } =
            serde_json::from_slice(&text).map_err(|_| damaged("its manifest cannot be read"))?;
        if sha256 != seal(&manifest) || manifest.name != *name {
            return Err(damaged("its manifest is not what was written"));
        }
        Ok(manifest)
    }

    /// Removes a backup.
    pub fn forget_backup(&self, name: &BackupName) -> Result<(), StoreError> {
        let _alone = lock(&self.backing_up);
        let (place, old) = (self.backup_dir(name), self.backups_dir().join(format!(".old-{name}")));
        let written = |error| file_failure(&place, "written", error);
        remove_if_there(&old).map_err(written)?;
        match fs::rename(&place, &old) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::UnknownBackup { name: name.clone() });
            }
            renamed => renamed.map_err(written)?,
        }
        sync(&self.backups_dir()).and_then(|()| fs::remove_dir_all(&old)).map_err(written)
    }

    /// Copies a tenant out of a backup and checks the copy, beside the tenant and its work.
    pub fn prepare_restore(&self, name: &BackupName, scope: &TenantScope) -> Result<Restored, StoreError> {
        let tenant = scope.tenant();
        let manifest = self.manifest(name)?;
        let entry = manifest.tenants.into_iter().find(|entry| entry.tenant == *tenant);
        let entry =
            entry.ok_or_else(|| StoreError::NotInBackup { name: name.clone(), tenant: tenant.clone() })?;
        if entry.schema > schema::known_version() {
            return Err(StoreError::Newer { found: entry.schema, known: schema::known_version() });
        }
        let draft = self.directory.draft_of(tenant);
        let (from, to) = (self.backup_dir(name).join(file_of(tenant)), draft.join(DATABASE));
        let written = |error| file_failure(&draft, "written", error);
        remove_if_there(&draft).map_err(written)?;
        create_private(&draft).map_err(written)?;
        let copied = match fs::copy(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(self.damaged(name, "a file is missing"))
            }
            copied => copied.map_err(written),
        };
        let checked = copied.and_then(|_| {
            File::open(&to).and_then(|file| file.sync_all()).and_then(|()| sync(&draft)).map_err(written)?;
            // The copy is what will be used, so it is the copy that is checked.
            let found = digest(&to).map_err(|error| file_failure(&to, "read", error))?;
            if found != (entry.bytes, entry.sha256.clone()) {
                return Err(self.damaged(name, "a file is not what was written"));
            }
            Ok(())
        });
        match checked {
            Ok(()) => Ok(Restored { tenant: tenant.clone(), draft, entry }),
            Err(error) => {
                let _ = fs::remove_dir_all(&draft);
                Err(error)
            }
        }
    }

    /// Puts the restored state in the place of the tenant's, which is lost. The caller has thrown
    /// away what was derived from it.
    pub fn swap_in(&self, restored: Restored) -> Result<BackupTenant, StoreError> {
        let Restored { tenant, draft, entry } = restored;
        let mut open = lock(&self.open);
        match open.get(&tenant).cloned() {
            None => self.directory.swap(&tenant, &draft)?,
            Some(current) => {
                drop(open);
                current.replace(|| self.directory.swap(&tenant, &draft))?;
                open = lock(&self.open);
                open.remove(&tenant);
            }
        }
        Ok(entry)
    }

    fn damaged(&self, name: &BackupName, detail: &str) -> StoreError {
        StoreError::BackupDamaged { name: name.clone(), detail: detail.to_owned() }
    }

    fn backups_dir(&self) -> PathBuf {
        self.directory.root().join("backups")
    }

    fn backup_dir(&self, name: &BackupName) -> PathBuf {
        self.backups_dir().join(name.as_str())
    }
}

/// A tenant's file in a backup.
fn file_of(tenant: &TenantId) -> String {
    format!("{tenant}.db")
}

fn seal(manifest: &Manifest) -> String {
    hex(Sha256::digest(serde_json::to_vec(manifest).expect("plain values become JSON")).as_slice())
}

/// Length and SHA-256 of a file.
fn digest(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut hasher, mut bytes) = (File::open(path)?, Sha256::new(), 0);
    let mut block = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut block)?;
        if n == 0 {
            return Ok((bytes, hex(hasher.finalize().as_slice())));
        }
        hasher.update(&block[..n]);
        bytes += n as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
