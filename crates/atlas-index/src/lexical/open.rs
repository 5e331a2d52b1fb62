//! Opening a directory that may have been through anything.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{fs, io};

use atlas_domain::Seq;
use serde_json::Value;
use tantivy::directory::MmapDirectory;
use tantivy::{Index, IndexMeta, IndexSettings, ReloadPolicy};

use super::schema::{Fields, TOKENIZER};
use super::tokens::OperationsTokenizer;
use super::{LexicalIndex, Opened, guarded};
use crate::IndexError;

/// Damaged directories that are kept for a look; older ones are removed.
const KEPT: usize = 2;

pub(super) fn in_memory() -> Result<Opened, IndexError> {
    let fields = Fields::new();
    let index = guarded("created", || finish(Index::create_in_ram(fields.schema.clone()), fields))?;
    Ok(Opened { index, seq: 0, rebuilt: None })
}

pub(super) fn in_dir(dir: &Path) -> Result<Opened, IndexError> {
    let reason = match existing(dir) {
        Ok(Some((index, seq))) => return Ok(Opened { index, seq, rebuilt: None }),
        Ok(None) => None,
        Err(reason) => {
            tracing::warn!(reason, "a lexical index is set aside and rebuilt");
            set_aside(dir).map_err(|source| IndexError::Io { action: "set aside", source })?;
            Some(reason)
        }
    };
    fs::create_dir_all(dir).map_err(|source| IndexError::Io { action: "created", source })?;
    let fields = Fields::new();
    let index = guarded("created", || {
        let directory = MmapDirectory::open(dir)?;
        finish(Index::create(directory, fields.schema.clone(), IndexSettings::default())?, fields)
    })?;
    Ok(Opened { index, seq: 0, rebuilt: reason })
}

/// The index in `dir` if there is one that can be trusted, `None` if there is nothing, and the
/// reason if there is something else.
fn existing(dir: &Path) -> Result<Option<(LexicalIndex, Seq)>, String> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("its directory cannot be read: {error}")),
        Ok(mut entries) => {
            if entries.next().is_none() {
                return Ok(None);
            }
        }
    }
    guarded("opened", || {
        let index = Index::open_in_dir(dir)?;
        let fields = Fields::new();
        if index.schema() != fields.schema {
            return Ok(Err("it was written by another version of this program".to_owned()));
        }
        let damaged = index.validate_checksum()?;
        if !damaged.is_empty() {
            return Ok(Err(format!("{} of its files do not have their checksum", damaged.len())));
        }
        let meta = index.load_metas()?;
        if !is_all_of(&dir.join("meta.json"), &meta) {
            return Ok(Err("its commit says what was not understood".to_owned()));
        }
        let seq = match meta.payload.as_deref() {
            // Every commit of ours says it; an index that was made and never written has none.
            None if meta.segments.is_empty() => 0,
            payload => match payload.and_then(seq_of) {
                Some(seq) => seq,
                None => return Ok(Err("its commit does not say what it covers".to_owned())),
            },
        };
        let index = finish(index, fields)?;
        Ok(consistent(&index).map(|()| (index, seq)))
    })
    .unwrap_or_else(|error| Err(chain(&error)))
    .map(Some)
}

/// Whether a commit holds nothing but what was read from it: a key with a turned bit is one that
/// is not known, and would be passed over. The list of removed records is such a key.
fn is_all_of(file: &Path, meta: &IndexMeta) -> bool {
    let written = fs::read(file).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let understood = serde_json::to_value(meta).ok();
    written.is_some() && written == understood
}

/// `meta.json` has no checksum, so its numbers are compared with the files, which do.
fn consistent(index: &LexicalIndex) -> Result<(), String> {
    for segment in index.reader.searcher().segment_readers() {
        let unequal = || "its segments do not have the size that its commit states".to_owned();
        let lengths = segment.get_fieldnorms_reader(index.fields.words).map_err(|_| unequal())?;
        let alive = segment.alive_bitset().map_or(segment.max_doc() as usize, |alive| alive.num_alive_docs());
        if lengths.num_docs() != segment.max_doc() || alive != segment.num_docs() as usize {
            return Err(unequal());
        }
    }
    Ok(())
}

fn finish(index: Index, fields: Fields) -> tantivy::Result<LexicalIndex> {
    index.tokenizers().register(TOKENIZER, OperationsTokenizer::default());
    // Reloads happen in `apply`; a watching thread per open index would be one too many.
    let reader = index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .doc_store_cache_num_blocks(16)
        .try_into()?;
    Ok(LexicalIndex { index, reader, fields, writing: Mutex::new(()) })
}

/// What a commit says about itself. The number is guarded by a checksum of its own, because a
/// flipped digit would make the caller skip changes.
pub(super) fn payload(seq: Seq) -> String {
    format!("seq {seq} check {:016x}", check(seq))
}

fn seq_of(text: &str) -> Option<Seq> {
    let seq = text.strip_prefix("seq ")?.split(' ').next()?.parse().ok()?;
    (payload(seq) == text).then_some(seq)
}

/// FNV-1a: enough against accidents, which is all that happens to a file of ours.
fn check(seq: Seq) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    seq.to_le_bytes().into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Renames `dir` to the next free `<name>.damaged-<n>` and removes all but the newest of those.
fn set_aside(dir: &Path) -> io::Result<()> {
    let mut earlier = damaged_siblings(dir)?;
    let next = earlier.last().map_or(1, |(number, _)| number + 1);
    let mut name = damaged_prefix(dir);
    name.push(next.to_string());
    let target = dir.with_file_name(name);
    fs::rename(dir, &target)?;
    earlier.push((next, target));
    for (_, old) in &earlier[..earlier.len().saturating_sub(KEPT)] {
        let removed = if old.is_dir() { fs::remove_dir_all(old) } else { fs::remove_file(old) };
        // A leftover costs space only; the next time tries again.
        if let Err(error) = removed {
            tracing::warn!(%error, "an old damaged lexical index could not be removed");
        }
    }
    Ok(())
}

fn damaged_prefix(dir: &Path) -> OsString {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".damaged-");
    name
}

/// Directories set aside before, by number.
fn damaged_siblings(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let prefix = damaged_prefix(dir);
    let prefix = prefix.to_string_lossy();
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(number) =
            name.to_string_lossy().strip_prefix(prefix.as_ref()).and_then(|n| n.parse().ok())
        {
            found.push((number, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
