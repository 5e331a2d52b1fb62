//! SQLite's files: real ones, with what is done to them written down.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use sqlite_vfs::wip::{WalIndex, WalIndexLock};
use sqlite_vfs::{DatabaseHandle, LockKind, OpenAccess, OpenOptions, Vfs};

use super::{Journal, Op, journal_of, lock};

/// Numbers for open files and temporary names.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// One region of SQLite's shared memory.
const REGION: usize = 32_768;

pub(super) struct Layer;

/// What the open handles of one file share.
#[derive(Default)]
struct Shared {
    locks: Mutex<HashMap<u64, LockKind>>,
    regions: Mutex<HashMap<u32, Box<[u8; REGION]>>>,
    index_locks: Mutex<HashMap<(u64, u8), WalIndexLock>>,
}

fn shared(path: &str) -> Arc<Shared> {
    static SHARED: OnceLock<Mutex<HashMap<String, Arc<Shared>>>> = OnceLock::new();
    let mut all = lock(SHARED.get_or_init(Mutex::default));
    // What nobody has open any more is forgotten: shared memory lives as long as its users.
    all.retain(|_, shared| Arc::strong_count(shared) > 1);
    Arc::clone(all.entry(path.to_owned()).or_default())
}

pub(super) struct Handle {
    id: u64,
    file: File,
    journal: Option<(Arc<Journal>, String)>,
    shared: Arc<Shared>,
}

impl Vfs for Layer {
    type Handle = Handle;

    fn open(&self, db: &str, options: OpenOptions) -> io::Result<Handle> {
        let path = Path::new(db);
        let journal = journal_of(path);
        let writes = options.access != OpenAccess::Read;
        let creates = matches!(options.access, OpenAccess::Create | OpenAccess::CreateNew);
        let is_new = !path.exists();
        if let Some((journal, name)) = journal.as_ref().filter(|_| creates && is_new) {
            journal.check(false)?;
            journal.push(Op::Create(name.clone()));
        }
        let mut how = File::options();
        how.read(true).write(writes).create(creates).truncate(false);
        how.create_new(options.access == OpenAccess::CreateNew);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(Handle { id, file: how.open(path)?, journal, shared: shared(db) })
    }

    fn delete(&self, db: &str) -> io::Result<()> {
        if let Some((journal, name)) = journal_of(Path::new(db)) {
            journal.check(false)?;
            journal.push(Op::Delete(name));
        }
        fs::remove_file(db)
    }

    fn exists(&self, db: &str) -> io::Result<bool> {
        Path::new(db).try_exists()
    }

    fn temporary_name(&self) -> String {
        let name = format!("faulty-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        std::env::temp_dir().join(name).display().to_string()
    }

    fn random(&self, buffer: &mut [i8]) {
        // Salts of the log: they have to differ, not to be secret. Fixed seeds make runs repeat.
        for byte in buffer {
            *byte = (NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as i8;
        }
    }

    fn sleep(&self, duration: Duration) -> Duration {
        std::thread::yield_now();
        duration
    }

    fn full_pathname<'a>(&self, db: &'a str) -> io::Result<Cow<'a, str>> {
        Ok(std::path::absolute(db)?.display().to_string().into())
    }
}

impl Handle {
    /// Fails as the test wants it, or writes the operation down.
    fn note(&self, op: impl FnOnce(String) -> Op) -> io::Result<()> {
        let Some((journal, name)) = &self.journal else { return Ok(()) };
        let op = op(name.clone());
        journal.check(matches!(op, Op::Sync(_)))?;
        journal.push(op);
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.shared.locks).remove(&self.id);
    }
}

impl DatabaseHandle for Handle {
    type WalIndex = Index;

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_exact_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        // SQLite reads beyond the end and expects zeros there.
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64)? {
                0 => {
                    buffer[done..].fill(0);
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                read => done += read,
            }
        }
        Ok(())
    }

    fn write_all_at(&mut self, data: &[u8], at: u64) -> io::Result<()> {
        self.note(|file| Op::Write { file, at, data: data.to_vec() })?;
        self.file.write_all_at(data, at)
    }

    fn sync(&mut self, _data_only: bool) -> io::Result<()> {
        self.note(Op::Sync)
    }

    fn set_len(&mut self, size: u64) -> io::Result<()> {
        self.note(|file| Op::SetLen(file, size))?;
        self.file.set_len(size)
    }

    fn lock(&mut self, wanted: LockKind) -> io::Result<bool> {
        let mut locks = lock(&self.shared.locks);
        let highest = locks.iter().filter(|(id, _)| **id != self.id).map(|(_, kind)| level(*kind)).max();
        let highest = highest.unwrap_or(0);
        let granted = match wanted {
            LockKind::None => true,
            LockKind::Shared => highest < level(LockKind::Pending),
            LockKind::Reserved | LockKind::Pending => highest < level(LockKind::Reserved),
            LockKind::Exclusive => highest == 0,
        };
        if granted {
            locks.insert(self.id, wanted);
        }
        Ok(granted)
    }

    fn reserved(&mut self) -> io::Result<bool> {
        let locks = lock(&self.shared.locks);
        Ok(locks.values().any(|kind| level(*kind) >= level(LockKind::Reserved)))
    }

    fn current_lock(&self) -> io::Result<LockKind> {
        Ok(lock(&self.shared.locks).get(&self.id).copied().unwrap_or(LockKind::None))
    }

    fn wal_index(&self, _readonly: bool) -> io::Result<Index> {
        Ok(Index { id: self.id, shared: Arc::clone(&self.shared) })
    }
}

fn level(kind: LockKind) -> u8 {
    match kind {
        LockKind::None => 0,
        LockKind::Shared => 1,
        LockKind::Reserved => 2,
        LockKind::Pending => 3,
        LockKind::Exclusive => 4,
    }
}

/// The memory that connections share about the log. A power cut takes it with it.
pub(super) struct Index {
    id: u64,
    shared: Arc<Shared>,
}

impl WalIndex for Index {
    fn map(&mut self, region: u32) -> io::Result<[u8; REGION]> {
        let mut regions = lock(&self.shared.regions);
        Ok(**regions.entry(region).or_insert_with(|| Box::new([0; REGION])))
    }

    fn lock(&mut self, slots: Range<u8>, wanted: WalIndexLock) -> io::Result<bool> {
        let mut held = lock(&self.shared.index_locks);
        let conflicts = |slot: u8| {
            held.iter().any(|((id, at), kind)| {
                let both = wanted == WalIndexLock::Exclusive || *kind == WalIndexLock::Exclusive;
                *id != self.id && *at == slot && both
            })
        };
        if wanted != WalIndexLock::None && slots.clone().any(conflicts) {
            return Ok(false);
        }
        for slot in slots {
            match wanted {
                WalIndexLock::None => held.remove(&(self.id, slot)),
                WalIndexLock::Shared | WalIndexLock::Exclusive => held.insert((self.id, slot), wanted),
            };
        }
        Ok(true)
    }

    fn delete(self) -> io::Result<()> {
        lock(&self.shared.regions).clear();
        Ok(())
    }

    fn pull(&mut self, region: u32, data: &mut [u8; REGION]) -> io::Result<()> {
        if let Some(shared) = lock(&self.shared.regions).get(&region) {
            data.copy_from_slice(&shared[..]);
        }
        Ok(())
    }

    fn push(&mut self, region: u32, data: &[u8; REGION]) -> io::Result<()> {
        lock(&self.shared.regions).insert(region, Box::new(*data));
        Ok(())
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        lock(&self.shared.index_locks).retain(|(id, _), _| *id != self.id);
    }
}
