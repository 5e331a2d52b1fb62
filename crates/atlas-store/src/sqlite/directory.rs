//! The data directory: who owns it, which tenants it holds, whether it can be written.
//!
//! Directories are synced after something was created in them: a file that is on the disk is
//! lost in a power cut all the same when the entry that names it is not.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use atlas_domain::TenantId;

use super::failure::{Place, file_failure, show};
use super::schema;
use crate::StoreError;

/// The database inside a tenant's directory.
pub(super) const DATABASE: &str = "atlas.db";

/// An owned data directory. The lock lasts as long as the value; the system releases it when the
/// process dies, however it dies.
#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    lock: File,
    /// Two probes at once would remove each other's file.
    probing: Mutex<()>,
}

impl Directory {
    /// Creates the directory where it is missing and takes its lock.
    pub(super) fn claim(root: &Path) -> Result<Self, StoreError> {
        let written = |error| file_failure(root, "written", error);
        create_private(&root.join("tenants")).map_err(written)?;
        let lock = take_lock(root)?;
        sync(root).map_err(written)?;
        finish_swaps(&root.join("tenants")).map_err(written)?;
        if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The parent may be a directory we may not open; then it was not us who created it.
            let _ = sync(parent);
        }
        Ok(Self { root: root.to_owned(), lock, probing: Mutex::new(()) })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn place(&self, tenant: &TenantId) -> Place {
        Place { tenant: tenant.clone(), dir: self.tenants_dir().join(tenant.as_str()) }
    }

    pub(super) fn has(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        let dir = self.place(tenant).dir;
        dir.try_exists().map_err(|error| file_failure(&dir, "read", error))
    }

    pub(super) fn tenants(&self) -> Result<Vec<TenantId>, StoreError> {
        let dir = self.tenants_dir();
        let read = |error| file_failure(&dir, "read", error);
        let mut tenants = Vec::new();
        for entry in fs::read_dir(&dir).map_err(read)? {
            let entry = entry.map_err(read)?;
            // Anything else here (a half-made tenant, a file system's own folder) is no tenant.
            tenants.extend(entry.file_name().to_str().and_then(|name| name.parse::<TenantId>().ok()));
        }
        tenants.sort();
        Ok(tenants)
    }

    /// Makes a tenant's directory with an empty database. It is built under a name that no tenant
    /// can have and renamed when it is whole: a tenant exists completely or not at all, and an
    /// empty database file found later is damage rather than a beginning.
    pub(super) fn create(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let place = self.place(tenant);
        let written = |error| file_failure(&place.dir, "written", error);
        let draft = self.draft_of(tenant);
        remove_if_there(&draft).map_err(written)?;
        create_private(&draft).map_err(written)?;
        schema::create(&draft.join(DATABASE)).map_err(|failure| place.explain(failure, "written"))?;
        File::open(draft.join(DATABASE)).and_then(|file| file.sync_all()).map_err(written)?;
        sync(&draft).map_err(written)?;
        fs::rename(&draft, &place.dir).map_err(written)?;
        sync(&self.tenants_dir()).map_err(written)
    }

    /// Where a tenant is built before it takes its place. No tenant can have this name.
    pub(super) fn draft_of(&self, tenant: &TenantId) -> PathBuf {
        self.tenants_dir().join(format!(".new-{tenant}"))
    }

    /// Puts a complete draft in the place of a tenant, which is removed. A power cut between the
    /// two renames is made good at the next start.
    pub(super) fn swap(&self, tenant: &TenantId, draft: &Path) -> Result<(), StoreError> {
        let (place, old) = (self.place(tenant).dir, self.tenants_dir().join(format!("{OLD}{tenant}")));
        let swapped = || {
            remove_if_there(&old)?;
            let is_there = place.try_exists()?;
            if is_there {
                fs::rename(&place, &old)?;
            }
            if let Err(error) = fs::rename(draft, &place) {
                if is_there {
                    fs::rename(&old, &place)?;
                }
                return Err(error);
            }
            sync(&self.tenants_dir())
        };
        swapped().map_err(|error| file_failure(&place, "written", error))?;
        // What is left of it is removed at the next start.
        if let Err(error) = remove_if_there(&old) {
            tracing::warn!(%error, place = %show(&old), "the state before a restore could not be removed");
        }
        Ok(())
    }

    /// Writes a block, waits for the disk, and removes it again.
    pub(super) fn probe(&self) -> Result<(), StoreError> {
        let _alone = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.root.join(".probe");
        let outcome = File::create(&path).and_then(|mut file| {
            // A whole block: a few bytes may fit into the inode of a disk that is full.
            file.write_all(&[0; 4096])?;
            file.sync_all()
        });
        let removed = fs::remove_file(&path);
        outcome.and(removed).map_err(|error| file_failure(&self.root, "written", error))
    }

    fn tenants_dir(&self) -> PathBuf {
        self.root.join("tenants")
    }
}

/// Before the name of a tenant whose place is being taken.
const OLD: &str = ".old-";

/// Ends swaps that a power cut interrupted: without a tenant in its place the old one goes back,
/// with one it is removed.
fn finish_swaps(tenants: &Path) -> io::Result<()> {
    for entry in fs::read_dir(tenants)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(tenant) = name.to_str().and_then(|name| name.strip_prefix(OLD)) else { continue };
        let place = tenants.join(tenant);
        if place.try_exists()? {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::rename(entry.path(), &place)?;
            sync(tenants)?;
        }
    }
    Ok(())
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing the file alone keeps the lock for as long as a child process that was being
        // started at this moment has its copy of it.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "the lock of the data directory is released when the process ends");
        }
    }
}

fn take_lock(root: &Path) -> Result<File, StoreError> {
    let path = root.join("lock");
    let failed = |error| file_failure(&path, "written", error);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Empty in the instant between the holder's lock and its first write.
            let pid = file.read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse::<u32>().ok());
            let holder = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            return Err(StoreError::InUse { place: show(root), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // The lock is what counts. A disk that is full or read-only must not keep a server from
    // starting, because then nobody could even read.
    let named =
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = named {
        tracing::warn!(%error, "the lock of the data directory does not say who holds it");
    }
    Ok(file)
}

/// Creates a directory and its missing parents for this user only.
pub(super) fn create_private(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

pub(super) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(super) fn remove_if_there(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
