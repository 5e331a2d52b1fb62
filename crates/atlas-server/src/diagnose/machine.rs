//! What the machine has to offer: a place to write, room, a clock, files.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use atlas_domain::Check;

/// Below this the store cannot take a day of logs.
const LEAST_FREE_BYTES: u64 = 1 << 30;
/// Connections, index files and SQLite files of a few tenants.
const LEAST_OPEN_FILES: u64 = 4_096;
/// No clock is right that shows a time before this program was written (2026-11-01).
const EARLIEST_UNIX_S: u64 = 1_793_491_200;

/// The checks that need no provider, for `doctor`.
pub(crate) fn checks(data_dir: &Path) -> Vec<Check> {
    vec![storage(data_dir), disk(data_dir), clock(SystemTime::now()), files()]
}

/// A file is written, synced and removed where the data is.
fn storage(data_dir: &Path) -> Check {
    let started = Instant::now();
    let probe = data_dir.join(format!(".doctor-{}", std::process::id()));
    let written = fs::create_dir_all(data_dir).and_then(|()| {
        let mut file = File::create_new(&probe)?;
        file.write_all(b"doctor")?;
        file.sync_all()
    });
    let removed = fs::remove_file(&probe);
    match written.and(removed) {
        Ok(()) => Check::passed("storage", started, "the data directory can be written and synced"),
        Err(error) => Check::failed(
            "storage",
            started,
            "storage_not_writable",
            format!("the data directory cannot be written: {error}"),
            "Check the owner and the permissions of TP_DATA_DIR, and that its volume is not mounted read-only.",
        ),
    }
}

#[cfg(unix)]
fn disk(data_dir: &Path) -> Check {
    let started = Instant::now();
    let free = rustix::fs::statvfs(data_dir).map(|volume| volume.f_bavail.saturating_mul(volume.f_frsize));
    match free {
        Ok(free) if free >= LEAST_FREE_BYTES => {
            Check::passed("disk", started, format!("{} MiB free", free >> 20))
        }
        Ok(free) => Check::warning(
            "disk",
            started,
            "disk_almost_full",
            format!("{} MiB free where the data is", free >> 20),
            "Free some space or enlarge the volume of TP_DATA_DIR; writes fail when it is full.",
        ),
        Err(error) => Check::skipped("disk", format!("the volume cannot be asked: {error}")),
    }
}

#[cfg(not(unix))]
fn disk(_data_dir: &Path) -> Check {
    Check::skipped("disk", "not known on this system")
}

fn clock(now: SystemTime) -> Check {
    let started = Instant::now();
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) if since.as_secs() >= EARLIEST_UNIX_S => {
            Check::passed("clock", started, "the clock shows a plausible time")
        }
        Ok(_) | Err(_) => Check::failed(
            "clock",
            started,
            "clock_wrong",
            "the clock shows a time before this program was written",
            "Set the clock (NTP): certificates and signed requests to AWS are refused with a wrong one.",
        ),
    }
}

#[cfg(unix)]
fn files() -> Check {
    let started = Instant::now();
    match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(limit) if limit < LEAST_OPEN_FILES => Check::warning(
            "files",
            started,
            "few_open_files",
            format!("{limit} files may be open at once"),
            format!("Raise the limit to {LEAST_OPEN_FILES} or more (ulimit -n, LimitNOFILE)."),
        ),
        Some(limit) => Check::passed("files", started, format!("{limit} files may be open at once")),
        None => Check::passed("files", started, "no limit on open files"),
    }
}

#[cfg(not(unix))]
fn files() -> Check {
    Check::skipped("files", "not known on this system")
}

#[cfg(test)]
mod tests {
    use super::*;
    use atlas_domain::CheckStatus;
    use std::time::Duration;

    #[test]
    fn a_directory_that_can_be_written_passes_and_stays_clean() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(storage(dir.path()).status, CheckStatus::Passed);
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_fails_with_a_hint() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let check = storage(file.path());
        assert_eq!((check.status, check.code), (CheckStatus::Failed, Some("storage_not_writable")));
        assert!(check.hint.is_some());
    }

    #[test]
    fn a_clock_in_the_past_is_noticed() {
        assert_eq!(clock(UNIX_EPOCH + Duration::from_secs(1)).status, CheckStatus::Failed);
        assert_eq!(clock(UNIX_EPOCH + Duration::from_secs(EARLIEST_UNIX_S)).status, CheckStatus::Passed);
    }
}
