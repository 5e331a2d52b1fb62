//! The real server on a real disk that fills up, becomes read-only and works again.
//!
//! The disk is a small tmpfs that the test mounts; where it may not, it prints SKIPPED. What a
//! failure at each single write does is tested below the server, in atlas-store.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Server, data_dir};
use serde_json::{Value, json};

/// A mounted file system; unmounted when dropped.
struct Disk {
    place: tempfile::TempDir,
}

impl Disk {
    /// Mounts a disk of this size, or says why not.
    fn mount(mebibytes: u32) -> Option<Self> {
        let place = data_dir();
        if mount(&["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"], place.path()) {
            return Some(Self { place });
        }
        eprintln!("SKIPPED: this process may not mount a file system");
        None
    }

    fn data(&self) -> std::path::PathBuf {
        self.place.path().join("data")
    }

    /// Writes a file until no byte fits.
    fn fill(&self) {
        let mut filler = File::create(self.place.path().join("filler")).expect("created");
        for block in [1 << 16, 1 << 12, 1] {
            while filler.write_all(&vec![0; block]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.place.path().join("filler")).expect("removed");
    }

    fn remount(&self, how: &str) -> bool {
        mount(&["-o", &format!("remount,{how}")], self.place.path())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a server that was killed may still hold it for an instant.
        let _ = Command::new("umount").arg("-l").arg(self.place.path()).status();
    }
}

fn mount(arguments: &[&str], place: &Path) -> bool {
    let mut command = Command::new("mount");
    command.args(arguments).arg(place).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn start(disk: &Disk) -> Server {
    Server::start(&disk.data(), &[("EMBEDDING_PROVIDER", "fallback")], &[])
}

fn write(server: &Server, id: &str) -> (u16, Value) {
    let markdown = format!("# {id}\n\nThe {id} is full. {}\n", "words ".repeat(2_000));
    server.json("POST", "/api/runbooks", &json!({"id": id, "markdown": markdown}).to_string())
}

/// Reading a record, listing and searching.
#[track_caller]
fn check_reads(server: &Server) {
    assert_eq!(server.json("GET", "/api/runbooks/disk", "").0, 200);
    let (status, list) = server.json("GET", "/api/runbooks", "");
    assert_eq!(status, 200, "{list}");
    let (status, found) =
        server.json("POST", "/api/search", r#"{"query":"disk full","corpora":["runbooks"]}"#);
    assert_eq!((status, &found["hits"][0]["id"]), (200, &json!("disk")), "{found}");
    assert_eq!(server.request("GET", "/livez", &[], "").0, 200);
}

#[track_caller]
fn check_refused((status, problem): (u16, Value), expected: u16, code: &str) {
    assert_eq!((status, &problem["code"]), (expected, &json!(code)), "{problem}");
    assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("nothing was written")), "{problem}");
}

/// What is written now is found by its words.
#[track_caller]
fn check_writes(server: &Server, id: &str) {
    let (status, created) = write(server, id);
    assert_eq!(status, 201, "{created}");
    let query = json!({"query": id, "corpora": ["runbooks"], "refresh": true, "legs": ["lexical"]});
    let (status, found) = server.json("POST", "/api/search", &query.to_string());
    assert_eq!((status, &found["hits"][0]["id"]), (200, &json!(id)), "{found}");
}

#[test]
fn a_full_disk_refuses_writes_clearly_and_works_again_when_there_is_space() {
    let Some(disk) = Disk::mount(24) else { return };
    let server = start(&disk);
    check_writes(&server, "disk");
    disk.fill();
    // A little may still fit into what the files hold already.
    let refused = (0..500).map(|n| write(&server, &format!("more-{n}"))).find(|(status, _)| *status != 201);
    check_refused(refused.expect("the disk is full"), 507, "storage_full");
    check_reads(&server);
    let (status, problem) = server.json("GET", "/readyz", "");
    assert_eq!((status, &problem["code"]), (503, &json!("not_ready")), "{problem}");
    disk.free();
    check_writes(&server, "again");
    assert_eq!(server.request("GET", "/readyz", &[], "").0, 200);
}

#[test]
fn a_server_that_was_killed_on_a_full_disk_starts_there_and_answers() {
    let Some(disk) = Disk::mount(24) else { return };
    let server = start(&disk);
    check_writes(&server, "disk");
    server.kill();
    disk.fill();
    let server = start(&disk);
    check_reads(&server);
    disk.free();
    check_writes(&server, "again");
}

#[test]
fn a_disk_that_became_read_only_refuses_writes_clearly_and_works_again_when_it_may() {
    let Some(disk) = Disk::mount(24) else { return };
    let server = start(&disk);
    check_writes(&server, "disk");
    // With files open for writing the kernel refuses; only a disk that fails turns by itself.
    if !disk.remount("ro") {
        eprintln!("SKIPPED: the kernel does not turn a disk in use to read-only");
        return;
    }
    check_refused(write(&server, "more"), 503, "storage_unavailable");
    check_reads(&server);
    assert!(disk.remount("rw"));
    check_writes(&server, "again");
}
