//! Tables, their versions, and how connections are opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::failure::{Failure, show};
use crate::StoreError;

/// One script per version; the database counts the ones it has seen in `user_version`.
const MIGRATIONS: [&str; 2] = [V1, V2];

/// Labels are kept in an encoding of their own (see `row`), so that a label filter is exact for
/// every string; SQLite's JSON functions cut strings at a NUL.
///
/// Chunk numbers come from AUTOINCREMENT, because a plain row number is used again after the
/// highest row was removed. Vectors have a row number too: a `WITHOUT ROWID` table would push
/// every vector onto an overflow page.
const V1: &str = "
CREATE TABLE state (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), seq INTEGER NOT NULL) STRICT;
INSERT INTO state (only_row, seq) VALUES (1, 0);

CREATE TABLE records (
    num INTEGER PRIMARY KEY,
    corpus INTEGER NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    service TEXT,
    severity TEXT,
    source TEXT,
    status TEXT,
    link TEXT,
    labels BLOB NOT NULL,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    body TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    updated_us INTEGER NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_key ON records (corpus, id);
CREATE UNIQUE INDEX records_change ON records (corpus, seq);
CREATE INDEX records_time ON records (corpus, at_us DESC, id);
CREATE INDEX records_link ON records (corpus, link, at_us DESC, id) WHERE link IS NOT NULL;

CREATE TABLE tombstones (
    corpus INTEGER NOT NULL,
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (corpus, id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tombstones_change ON tombstones (corpus, seq);

CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    record INTEGER NOT NULL REFERENCES records (num) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    heading TEXT NOT NULL,
    text TEXT NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE INDEX chunks_record ON chunks (record, ordinal);

CREATE TABLE vectors (
    chunk INTEGER NOT NULL REFERENCES chunks (id) ON DELETE CASCADE,
    space TEXT NOT NULL,
    corpus INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX vectors_chunk ON vectors (chunk, space);
CREATE INDEX vectors_space ON vectors (space, corpus, chunk);
";

/// Blocks of log lines (see `lines`). The blobs come last: the columns before them are read
/// without touching the pages of the blobs.
const V2: &str = "
CREATE TABLE line_blocks (
    num INTEGER PRIMARY KEY,
    link TEXT NOT NULL,
    service TEXT,
    severity TEXT,
    source TEXT,
    at_first_us INTEGER NOT NULL,
    at_last_us INTEGER NOT NULL,
    id_first TEXT NOT NULL,
    id_last TEXT NOT NULL,
    seq_first INTEGER NOT NULL,
    seq_last INTEGER NOT NULL,
    n_lines INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    keys BLOB NOT NULL,
    texts BLOB NOT NULL
) STRICT;
CREATE INDEX line_blocks_id ON line_blocks (id_first, id_last);
CREATE UNIQUE INDEX line_blocks_change ON line_blocks (seq_last);
CREATE INDEX line_blocks_time ON line_blocks (at_last_us DESC, at_first_us);
CREATE INDEX line_blocks_link ON line_blocks (link, at_last_us DESC, at_first_us);
";

/// Makes a new database with the current tables.
pub(super) fn create(path: &Path) -> Result<(), Failure> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    // 8 KiB hold five vectors of 384 components; 4 KiB would hold two and waste a quarter.
    connection.pragma_update(None, "page_size", 8192)?;
    migrate(&mut connection, 0)?;
    // Stays in the file's header, so later connections need not set it.
    set_wal(&connection)?;
    connection.close().map_err(|(_, error)| error.into())
}

/// Opens the connection that writes, bringing the tables to the current version.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Failure> {
    let mut connection = connect(path, OpenFlags::empty())?;
    let version = version(&connection)?;
    if version > known_version() {
        return Err(StoreError::Newer { found: version, known: known_version() }.into());
    }
    if version == 0 {
        // Tenants are created with their tables, so a database without any was cut to nothing.
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB),
            Some("the database file is empty".into()),
        )
        .into());
    }
    set_wal(&connection)?;
    connection.pragma_update(None, "cache_size", -8192)?;
    migrate(&mut connection, version as usize)?;
    Ok(connection)
}

/// The version of the tables.
pub(super) fn version(connection: &Connection) -> Result<u32, rusqlite::Error> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// The highest version this program knows.
pub(super) const fn known_version() -> u32 {
    MIGRATIONS.len() as u32
}

/// Copies the state that `connection` reads into a new database file. Page by page: the copy is
/// the database as it is, free pages included. Not synced.
pub(super) fn copy(connection: &Connection, path: &Path) -> Result<(), Failure> {
    let mut copy = connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    // Who copies syncs once, at the end.
    copy.pragma_update(None, "synchronous", "OFF")?;
    let step = Backup::new(connection, &mut copy)?.step(-1)?;
    if step != StepResult::Done {
        // Nobody else has the new file, and the state to copy is fixed.
        return Err(
            StoreError::Io { place: show(path), action: "written", source: "it is locked".into() }.into()
        );
    }
    copy.close().map_err(|(_, error)| error.into())
}

/// Opens a connection that can only read.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Failure> {
    let connection = connect(path, OpenFlags::empty())?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -4096)?;
    Ok(connection)
}

fn connect(path: &Path, extra: OpenFlags) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | extra;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(64);
    // The writer is alone by our own lock; this is for a person with the sqlite3 shell.
    connection.busy_timeout(Duration::from_secs(5))?;
    // FULL: a commit returns after the log was synced, so it survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // A read error in a mapped file is a signal that kills the process; through read(2) it is an
    // error of one request.
    connection.query_row("PRAGMA mmap_size = 0", [], |_| Ok(())).or_else(ignore_no_rows)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

fn set_wal(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    // After one large batch the log shrinks again at the next checkpoint.
    connection.query_row("PRAGMA journal_size_limit = 67108864", [], |_| Ok(()))
}

fn ignore_no_rows(error: rusqlite::Error) -> Result<(), rusqlite::Error> {
    if matches!(error, rusqlite::Error::QueryReturnedNoRows) { Ok(()) } else { Err(error) }
}

fn migrate(connection: &mut Connection, version: usize) -> Result<(), rusqlite::Error> {
    for (done, script) in MIGRATIONS.iter().enumerate().skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "user_version", (done + 1) as u32)?;
        transaction.commit()?;
    }
    Ok(())
}
