//! The vector leg in a file, so that a start reads it instead of building it.
//!
//! The file is derived: it says which change it covers, and what came later is replayed. It is
//! written beside the old one, synced and renamed. Its parts have checksums; those of the vectors
//! themselves are one per row and looked at when the row is read. Whatever is wrong with it, the
//! caller removes it and reads the store.
//!
//! ```text
//! header   magic, version, checksum of the rest of the header
//!          covered change, components, rows, then length and checksum of each part
//! columns  the space, chunk numbers, records, facets
//! codes    a row after the other, and their scales
//! graph    its links; nothing where there is none
//! floats   a row after the other, each with its checksum
//! ```

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use atlas_domain::{Seq, SpaceId};

use super::bytes::{Unread, Written};
use super::floats::{Filed, Floats, row_bytes};
use super::graph::Graph;
use super::hnsw::Hnsw;
use super::points::Points;
use super::rows::{Columns, Rows};
use super::{VectorIndex, VectorKind, next_generation};
use crate::IndexError;

const MAGIC: [u8; 8] = *b"ATLASVEC";
const VERSION: u32 = 1;
/// Magic, version and checksum, and the three parts after covered change, components and rows.
const HEADER: usize = 16 + 16 + 3 * 12;

pub(super) fn corrupt(detail: &str) -> IndexError {
    IndexError::Corrupt { detail: detail.to_owned() }
}

fn written(source: io::Error) -> IndexError {
    IndexError::File { action: "written", source }
}

fn unreadable(source: io::Error) -> IndexError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => corrupt("it ends too early"),
        io::ErrorKind::InvalidData => corrupt(&source.to_string()),
        _ => IndexError::File { action: "read", source },
    }
}

/// Fills `bytes` from a place in a file.
#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// Fills `bytes` from a place in a file.
#[cfg(windows)]
pub(super) fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n_read => (bytes, at) = (&mut bytes[n_read..], at + n_read as u64),
        }
    }
    Ok(())
}

/// A part of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Part {
    length: u64,
    checksum: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Header {
    covers: Seq,
    dimension: u32,
    rows: u32,
    columns: Part,
    codes: Part,
    graph: Part,
}

impl Header {
    fn parts(&self) -> [Part; 3] {
        [self.columns, self.codes, self.graph]
    }

    fn bytes(&self) -> [u8; HEADER] {
        let mut fields = Written::default();
        fields.u64(self.covers);
        fields.u32(self.dimension);
        fields.u32(self.rows);
        for part in self.parts() {
            fields.u64(part.length);
            fields.u32(part.checksum);
        }
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&crc32fast::hash(&fields.0).to_le_bytes());
        bytes[16..].copy_from_slice(&fields.0);
        bytes
    }

    fn read(bytes: &[u8; HEADER]) -> Result<Self, IndexError> {
        let mut unread = Unread(bytes);
        if unread.u64()?.to_le_bytes() != MAGIC || unread.u32()? != VERSION {
            return Err(corrupt("it is none of this version of the program"));
        }
        if unread.u32()? != crc32fast::hash(unread.0) {
            return Err(corrupt("its header does not have its checksum"));
        }
        let (covers, dimension, rows) = (unread.u64()?, unread.u32()?, unread.u32()?);
        let mut part = || Ok(Part { length: unread.u64()?, checksum: unread.u32()? });
        Ok(Self { covers, dimension, rows, columns: part()?, codes: part()?, graph: part()? })
    }

    /// Where the floats begin, and where the file ends.
    fn extent(&self) -> Option<(u64, u64)> {
        let begin = self.parts().iter().try_fold(HEADER as u64, |at, part| at.checked_add(part.length))?;
        let floats = u64::from(self.rows).checked_mul(row_bytes(self.dimension as usize))?;
        Some((begin, begin.checked_add(floats)?))
    }
}

/// An index as it was at one moment, to be written to a file beside the index.
pub struct VectorSnapshot {
    columns: Vec<u8>,
    wide: Columns,
    graph: Option<Arc<dyn Graph>>,
    generation: u64,
    changes: u64,
}

/// A snapshot that is on the disk.
pub struct VectorSaved {
    filed: Filed,
    generation: u64,
    changes: u64,
}

/// What a file held.
#[derive(Debug)]
pub struct VectorLoaded {
    /// The index.
    pub index: VectorIndex,
    /// The last change that it covers.
    pub covers: Seq,
}

impl std::fmt::Debug for VectorSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VectorSnapshot").field("rows", &self.wide.points.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for VectorSaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VectorSaved").field("rows", &self.filed.rows).finish_non_exhaustive()
    }
}

/// A writer that counts and sums up what passes.
struct Summing<'a> {
    sink: &'a mut dyn Write,
    sum: crc32fast::Hasher,
    length: u64,
}

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_written = self.sink.write(bytes)?;
        self.sum.update(&bytes[..n_written]);
        self.length += n_written as u64;
        Ok(n_written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

fn part(
    sink: &mut dyn Write,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<Part, IndexError> {
    let mut summing = Summing { sink, sum: crc32fast::Hasher::new(), length: 0 };
    write(&mut summing).map_err(written)?;
    Ok(Part { length: summing.length, checksum: summing.sum.finalize() })
}

impl VectorSnapshot {
    /// Writes the snapshot to `path` in the place of what is there, durably. `covers` is a change
    /// that every record of the index is at least as new as. `go_on` is asked now and then; when it
    /// says no, nothing has changed and there is no outcome.
    pub fn write(
        &self,
        path: &Path,
        covers: Seq,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<VectorSaved>, IndexError> {
        let draft = path.with_extension("draft");
        let outcome = self.write_draft(&draft, covers, go_on).and_then(|filed| {
            if filed.is_some() {
                fs::rename(&draft, path).map_err(written)?;
                sync_directory(path).map_err(written)?;
            }
            Ok(filed)
        });
        if !matches!(outcome, Ok(Some(_))) {
            // Nobody reads a draft; the next one replaces it.
            let _ = fs::remove_file(&draft);
        }
        let saved = |filed| VectorSaved { filed, generation: self.generation, changes: self.changes };
        Ok(outcome?.map(saved))
    }

    fn write_draft(
        &self,
        draft: &Path,
        covers: Seq,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Filed>, IndexError> {
        let Columns { points, floats } = &self.wide;
        let options = File::options().read(true).write(true).create(true).truncate(true).open(draft);
        let mut sink = BufWriter::with_capacity(1 << 20, options.map_err(written)?);
        sink.write_all(&[0; HEADER]).map_err(written)?;
        let columns = part(&mut sink, |sink| sink.write_all(&self.columns))?;
        let codes = part(&mut sink, |sink| points.write_to(sink))?;
        let graph = part(&mut sink, |sink| self.graph.iter().try_for_each(|graph| graph.write_to(sink)))?;
        let (dimension, rows) = (points.dimension(), points.len());
        let header = Header { covers, dimension: dimension as u32, rows: rows as u32, columns, codes, graph };
        let begin = sink.stream_position().map_err(written)?;
        if !floats.write_to(&mut sink, go_on)? {
            return Ok(None);
        }
        sink.seek(SeekFrom::Start(0)).map_err(written)?;
        sink.write_all(&header.bytes()).map_err(written)?;
        let file = sink.into_inner().map_err(|error| written(error.into_error()))?;
        file.sync_all().map_err(written)?;
        Ok(Some(Filed { file, begin, rows, dimension }))
    }
}

/// Makes a renaming in the directory of `path` last.
fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(directory) if cfg!(unix) => File::open(directory)?.sync_all(),
        _ => Ok(()),
    }
}

/// Reads a part of a file and sums it up.
struct Section<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    sum: crc32fast::Hasher,
}

impl Section<'_> {
    fn finish(self, part: Part) -> Result<(), IndexError> {
        if self.at < self.end || self.sum.finalize() != part.checksum {
            return Err(corrupt("a part of it does not have its checksum"));
        }
        Ok(())
    }
}

impl Read for Section<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let n_bytes = bytes.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        read_at(self.file, &mut bytes[..n_bytes], self.at)?;
        self.sum.update(&bytes[..n_bytes]);
        self.at += n_bytes as u64;
        Ok(n_bytes)
    }
}

impl VectorIndex {
    /// The index as it is now. The caller holds its lock for some hundred nanoseconds per row; the
    /// wide columns are shared, not copied.
    pub fn snapshot(&self) -> VectorSnapshot {
        let mut columns = Written::default();
        columns.text(self.space.as_str());
        self.rows.write_narrow(&mut columns);
        VectorSnapshot {
            columns: columns.0,
            wide: self.rows.columns(),
            graph: self.graph.clone(),
            generation: self.generation,
            changes: self.changes,
        }
    }

    /// The name of the file of a space, among those of other spaces.
    pub fn file_name(space: &SpaceId) -> String {
        format!("{:08x}.vectors", crc32fast::hash(space.as_str().as_bytes()))
    }

    /// Rows that were added or removed since the index was last saved or loaded.
    pub fn unsaved(&self) -> u64 {
        self.changes
    }

    /// Rests on what was saved: the vectors in the file are given back to the operating system.
    pub fn rest_on(&mut self, saved: VectorSaved) {
        let VectorSaved { filed, generation, changes } = saved;
        // After a renumbering the file is still true, but its rows are others.
        if generation == self.generation {
            self.rows.rest_on(filed);
            self.changes -= changes;
        }
    }

    /// Reads an index of a space from a file. `None` where there is no file, or one of another
    /// space.
    pub fn load(
        path: &Path,
        space: &SpaceId,
        dimension: usize,
        kind: VectorKind,
    ) -> Result<Option<VectorLoaded>, IndexError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(unreadable)?,
        };
        let mut bytes = [0; HEADER];
        read_at(&file, &mut bytes, 0).map_err(unreadable)?;
        let header = Header::read(&bytes)?;
        let (floats_at, end) = header.extent().ok_or_else(|| corrupt("its parts have no possible size"))?;
        if file.metadata().map_err(unreadable)?.len() != end {
            return Err(corrupt("it does not have the length that it states"));
        }
        if header.dimension as usize != dimension {
            return Ok(None);
        }
        let Some((rows, graph)) = read_parts(file, &header, space, floats_at)? else { return Ok(None) };
        let graph = graph.filter(|_| matches!(kind, VectorKind::Auto | VectorKind::Hnsw));
        let graph = graph.map(|graph| -> Arc<dyn Graph> { Arc::new(graph) });
        let index =
            Self { space: space.clone(), kind, rows, graph, generation: next_generation(), changes: 0 };
        Ok(Some(VectorLoaded { index, covers: header.covers }))
    }
}

/// Reads the parts of a file by two threads.
fn read_parts(
    file: File,
    header: &Header,
    space: &SpaceId,
    floats_at: u64,
) -> Result<Option<(Rows, Option<Hnsw>)>, IndexError> {
    let (dimension, n_rows) = (header.dimension as usize, header.rows as usize);
    let section = |at: u64, part: Part| Section {
        file: &file,
        at,
        end: at + part.length,
        sum: crc32fast::Hasher::new(),
    };
    let codes_at = HEADER as u64 + header.columns.length;
    let columns = || -> Result<Option<Rows>, IndexError> {
        let mut section = section(HEADER as u64, header.columns);
        let length = usize::try_from(header.columns.length).map_err(|_| corrupt("it is too large"))?;
        let mut bytes = vec![0; length];
        section.read_exact(&mut bytes).map_err(unreadable)?;
        section.finish(header.columns)?;
        let mut unread = Unread(&bytes);
        if unread.text()? != space.as_str() {
            return Ok(None);
        }
        Rows::read_narrow(dimension, n_rows, unread).map(Some)
    };
    let wide = || -> Result<(Points, Option<Hnsw>), IndexError> {
        let mut codes = section(codes_at, header.codes);
        let points = Points::read_from(dimension, n_rows, &mut codes).map_err(unreadable)?;
        codes.finish(header.codes)?;
        if header.graph.length == 0 {
            return Ok((points, None));
        }
        let mut links = section(codes_at + header.codes.length, header.graph);
        let graph = Hnsw::read_from(n_rows, &mut links).map_err(unreadable)?;
        links.finish(header.graph)?;
        Ok((points, Some(graph)))
    };
    let (columns, wide) = thread::scope(|scope| {
        let columns = scope.spawn(columns);
        let wide = wide();
        (columns.join(), wide)
    });
    let columns = columns.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let (points, graph) = wide?;
    let Some(mut rows) = columns else { return Ok(None) };
    let floats = Floats::in_file(Filed { file, begin: floats_at, rows: n_rows, dimension });
    rows.take(Columns { points, floats });
    Ok(Some((rows, graph)))
}
