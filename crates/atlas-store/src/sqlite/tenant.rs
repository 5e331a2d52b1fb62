//! One open tenant: a connection that writes, a few that read, and the queue between callers and
//! the disk.
//!
//! A small commit costs one wait for the disk and next to nothing else. Whoever holds the writer
//! therefore takes everything that queued up meanwhile into its transaction: under load, one
//! wait serves many callers, and nobody waits for a timer when there is no load.
//!
//! Nothing is cached here; the change number is read inside each transaction. So two openings of
//! one database (a caller still at work while the store closes) cannot disagree.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use atlas_domain::{Seq, SpaceId};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::directory::DATABASE;
use super::failure::{Failure, Place, show};
use super::write::{self, apply};
use super::{read, schema};
use crate::work::Work;
use crate::{Committed, StoreError};

/// Idle reading connections kept; each holds a few file descriptors and up to 4 MiB.
const MAX_IDLE_READERS: usize = 4;

/// Callers served by one transaction. Bounds what a failing group has to do over.
const MAX_GROUP: usize = 64;

pub(super) struct Tenant {
    place: Place,
    queue: Mutex<VecDeque<Job>>,
    /// `None` when the files are not the tenant's any more: see [`Self::replace`].
    writer: Mutex<Option<Connection>>,
    readers: Mutex<Vec<Connection>>,
    /// Held by who reads; says whether the files are still the tenant's.
    is_current: RwLock<bool>,
}

/// What a copy of a database covers.
pub(super) struct Copied {
    pub(super) seq: Seq,
    pub(super) schema: u32,
}

struct Job {
    work: Work,
    answer: Answer,
}

/// Where the thread that wrote leaves the answer for the thread that asked.
type Answer = Arc<Mutex<Option<Result<Committed, StoreError>>>>;

impl Tenant {
    pub(super) fn open(place: Place) -> Result<Self, StoreError> {
        let database = place.dir.join(DATABASE);
        if !database.is_file() {
            return Err(place.damaged(format!("{DATABASE} is missing")));
        }
        let writer = schema::open_writer(&database).map_err(|failure| place.explain(failure, "read"))?;
        Ok(Self {
            place,
            queue: Mutex::default(),
            writer: Mutex::new(Some(writer)),
            readers: Mutex::default(),
            is_current: RwLock::new(true),
        })
    }

    /// Runs a question on one state of the database.
    pub(super) fn read<T, E: Into<Failure>>(
        &self,
        ask: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, StoreError> {
        let is_current = self.is_current.read().unwrap_or_else(PoisonError::into_inner);
        if !*is_current {
            return Err(self.replaced("read"));
        }
        let idle = lock(&self.readers).pop();
        let answer = (|| {
            let mut connection = match idle {
                Some(connection) => connection,
                None => schema::open_reader(&self.database())?,
            };
            let answer = ask(&connection.transaction()?).map_err(Into::into)?;
            Ok((answer, connection))
        })();
        let (answer, connection) = answer.map_err(|failure: Failure| self.place.explain(failure, "read"))?;
        let mut readers = lock(&self.readers);
        if readers.len() < MAX_IDLE_READERS {
            readers.push(connection);
        }
        Ok(answer)
    }

    /// Returns when the work is on the disk.
    pub(super) fn write(&self, work: Work) -> Result<Committed, StoreError> {
        work.validate()?;
        let answer = Answer::default();
        lock(&self.queue).push_back(Job { work, answer: Arc::clone(&answer) });

        let mut writer = lock(&self.writer);
        loop {
            if let Some(answer) = lock(&answer).take() {
                return answer;
            }
            let Some(writer) = writer.as_mut() else { return Err(self.replaced("written")) };
            let group: Vec<Job> = {
                let mut queue = lock(&self.queue);
                let n_jobs = queue.len().min(MAX_GROUP);
                queue.drain(..n_jobs).collect()
            };
            if group.is_empty() {
                // Only when the thread that had taken our job panicked: its transaction is undone.
                return Err(StoreError::Io {
                    place: show(&self.place.dir),
                    action: "written",
                    source: "the thread that wrote for this caller ended early".into(),
                });
            }
            self.write_group(writer, &group);
        }
    }

    /// Removes vectors of a space that nobody follows any more. Not in the queue: nobody waits for
    /// it, and it changes nothing that a batch of the queue could see.
    pub(super) fn drop_vectors(&self, space: &SpaceId, limit: usize) -> Result<u64, StoreError> {
        let mut writer = lock(&self.writer);
        let Some(writer) = writer.as_mut() else { return Err(self.replaced("written")) };
        let mut drop = || -> Result<u64, Failure> {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let dropped = write::drop_vectors(&transaction, space, limit)?;
            transaction.commit()?;
            Ok(dropped)
        };
        drop().map_err(|failure| self.place.explain(failure, "written"))
    }

    /// Copies the database as it is at this moment into a new file, while others read and write.
    pub(super) fn copy_to(&self, path: &Path) -> Result<Copied, StoreError> {
        self.read(|tx| {
            // The first question fixes the state that is copied, whatever is written meanwhile.
            let seq = read::last_seq(tx)?;
            let schema = schema::version(tx)?;
            schema::copy(tx, path)?;
            Ok::<_, Failure>(Copied { seq, schema })
        })
    }

    /// Runs `replace`, which puts other files in the place of these, while nobody reads or writes
    /// and no connection is open: a connection that is closed later would remove the log of the
    /// new database, which it knows by its name. Who still holds this tenant afterwards gets a
    /// failure that says to try again; nothing of what waits in the queue was written.
    pub(super) fn replace<T>(
        &self,
        replace: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = lock(&self.writer);
        let mut is_current = self.is_current.write().unwrap_or_else(PoisonError::into_inner);
        lock(&self.readers).clear();
        *is_current = false;
        // Closing the last connection writes the log back and removes it.
        drop(writer.take());
        let replaced = replace();
        if replaced.is_err()
            && let Ok(again) = schema::open_writer(&self.database())
        {
            *writer = Some(again);
            *is_current = true;
        }
        replaced
    }

    fn replaced(&self, action: &'static str) -> StoreError {
        let source = "a backup was restored at this moment; try again".into();
        StoreError::Io { place: show(&self.place.dir), action, source }
    }

    /// Writes the log back into the database file, as far as readers allow.
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        let writer = lock(&self.writer);
        let Some(writer) = writer.as_ref() else { return Ok(()) };
        writer
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|error| self.place.explain(error, "written"))
    }

    /// One transaction for all. If anything in it fails it is undone as a whole and everybody gets
    /// a transaction of their own, so that a failure reaches only the caller whose it is. (SQLite
    /// undoes the whole transaction on some failures, so savepoints would not do.)
    fn write_group(&self, writer: &mut Connection, group: &[Job]) {
        match write_together(writer, group) {
            Ok(committed) => {
                for (job, committed) in group.iter().zip(committed) {
                    *lock(&job.answer) = Some(Ok(committed));
                }
            }
            Err(failure) if group.len() == 1 => {
                *lock(&group[0].answer) = Some(Err(self.place.explain(failure, "written")));
            }
            Err(_) => group.iter().for_each(|job| self.write_group(writer, std::slice::from_ref(job))),
        }
    }

    fn database(&self) -> PathBuf {
        self.place.dir.join(DATABASE)
    }
}

fn write_together(writer: &mut Connection, group: &[Job]) -> Result<Vec<Committed>, Failure> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let committed = group.iter().map(|job| apply(&transaction, &job.work)).collect::<Result<Vec<_>, _>>()?;
    transaction.commit()?;
    Ok(committed)
}

/// A panic elsewhere leaves nothing half-done behind these locks: connections undo their
/// transaction, the rest are whole values.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
