//! A disk that can lose its power at any write, fill up, fail or become read-only: a file layer
//! for SQLite, which becomes the default of the process with [`install`].
//!
//! Below a directory that is watched, everything SQLite does to its files is passed on to real
//! files and written down as [`Op`]s. What a power cut after the n-th of them leaves behind is
//! then computed rather than provoked: see [`Image::after`]. A sync is written down and nothing
//! else, so that thousands of cuts take minutes.
//!
//! One thread at a time: the layer copies SQLite's shared memory between connections when locks
//! change hands, which says nothing about two threads that run at once.

mod files;
mod image;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use image::{Cut, Image};

/// Something that was done to a file. Files are named by their path below the watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The file was made.
    Create(String),
    /// Bytes were written.
    Write {
        /// Which file.
        file: String,
        /// Where.
        at: u64,
        /// What.
        data: Vec<u8>,
    },
    /// The file was cut or extended to a length.
    SetLen(String, u64),
    /// Everything before is on the disk when this returns.
    Sync(String),
    /// The file was removed.
    Delete(String),
    /// A note of the test between the writes.
    Mark(u64),
}

impl Op {
    /// Whether it changes a file, so that a cut before and after it can differ.
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Sync(_) | Self::Mark(_))
    }
}

/// What goes wrong from now on. Reading always works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No space is left.
    Full,
    /// Writes fail.
    Io,
    /// Writes seem to work and the sync fails.
    Sync,
    /// Nothing may be written.
    ReadOnly,
}

/// Makes this layer the one that SQLite uses in this process. Watched directories are recorded;
/// other files are passed through. Tests of one process take turns: each has the layer for as long
/// as it holds what it got.
pub fn install() -> Turn {
    static TURN: Mutex<()> = Mutex::new(());
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| sqlite_vfs::register("faulty", files::Layer, true).expect("registered once"));
    Turn(lock(&TURN))
}

/// The right to use the layer.
pub struct Turn(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

/// Records what happens below a directory until it is dropped.
pub struct Watch {
    root: PathBuf,
    journal: Arc<Journal>,
}

/// What is shared with the open files of a watched directory.
#[derive(Default)]
struct Journal {
    ops: Mutex<Vec<Op>>,
    fault: Mutex<Option<(Fault, u64)>>,
}

impl Watch {
    /// Begins to record.
    pub fn begin(root: &Path) -> Self {
        let journal = Arc::new(Journal::default());
        lock(watched()).insert(root.to_owned(), Arc::clone(&journal));
        Self { root: root.to_owned(), journal }
    }

    /// Writes a note between the operations.
    pub fn mark(&self, note: u64) {
        lock(&self.journal.ops).push(Op::Mark(note));
    }

    /// What happened so far.
    pub fn ops(&self) -> Vec<Op> {
        lock(&self.journal.ops).clone()
    }

    /// Fails every write from the `after`-th on; `None` ends it.
    pub fn fail(&self, fault: Option<Fault>, after: u64) {
        *lock(&self.journal.fault) = fault.map(|fault| (fault, after));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(watched()).remove(&self.root);
    }
}

impl Journal {
    fn push(&self, op: Op) {
        lock(&self.ops).push(op);
    }

    /// The failure of the next write or sync, if it is to fail.
    fn check(&self, is_sync: bool) -> io::Result<()> {
        let mut fault = lock(&self.fault);
        let Some((fault, left)) = fault.as_mut() else { return Ok(()) };
        if is_sync != (*fault == Fault::Sync) {
            return Ok(());
        }
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        Err(match fault {
            // The layer's word for a full disk.
            Fault::Full => io::ErrorKind::WriteZero.into(),
            Fault::Io | Fault::Sync => io::Error::other("input/output error"),
            Fault::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
        })
    }
}

fn watched() -> &'static Mutex<HashMap<PathBuf, Arc<Journal>>> {
    static WATCHED: OnceLock<Mutex<HashMap<PathBuf, Arc<Journal>>>> = OnceLock::new();
    WATCHED.get_or_init(Mutex::default)
}

/// The journal of the watched directory that holds a file, and the file's name in it.
fn journal_of(path: &Path) -> Option<(Arc<Journal>, String)> {
    let watched = lock(watched());
    path.ancestors().find_map(|root| {
        let journal = watched.get(root)?;
        let name = path.strip_prefix(root).ok()?.to_str()?;
        Some((Arc::clone(journal), name.to_owned()))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
