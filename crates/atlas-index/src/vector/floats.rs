//! The vectors as they came, which candidates are compared by in the end.
//!
//! They are two thirds of an index, and a search reads some forty of them. Those that were written
//! to the file of the index are therefore read from there, a microsecond each while the operating
//! system has them in its cache; only newer ones are in memory. Every row in the file has a
//! checksum that is looked at whenever it is read, so that opening a file does not mean reading
//! gigabytes before any of it is believed.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use atlas_kernels::Blocks;

use super::snapshot::{corrupt, read_at};
use crate::IndexError;

const CHECKSUM: usize = size_of::<u32>();

/// The vectors of all rows: the first ones in a file, if there is one, the others in memory.
#[derive(Debug, Clone)]
pub(super) struct Floats {
    filed: Option<Arc<Filed>>,
    fresh: Blocks<f32>,
}

/// Vectors in a file.
#[derive(Debug)]
pub(super) struct Filed {
    pub(super) file: File,
    /// Where the first one begins.
    pub(super) begin: u64,
    pub(super) rows: usize,
    pub(super) dimension: usize,
}

/// Room for a row that is read from the file.
#[derive(Debug, Default)]
pub(super) struct Room {
    bytes: Vec<u8>,
    row: Vec<f32>,
}

/// The row number is part of the sum: a row in the place of another is damage too.
fn checksum(row: usize, bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&(row as u32).to_le_bytes());
    sum.update(bytes);
    sum.finalize().to_le_bytes()
}

/// Bytes of a row in a file.
pub(super) const fn row_bytes(dimension: usize) -> u64 {
    (dimension * size_of::<f32>() + CHECKSUM) as u64
}

impl Filed {
    fn read<'r>(&self, row: usize, room: &'r mut Room) -> Result<&'r [f32], IndexError> {
        let Room { bytes, row: floats } = room;
        let n_bytes = row_bytes(self.dimension);
        bytes.resize(n_bytes as usize, 0);
        read_at(&self.file, bytes, self.begin + row as u64 * n_bytes).map_err(|source| {
            match source.kind() {
                io::ErrorKind::UnexpectedEof => corrupt("it ends before its last vector"),
                _ => IndexError::File { action: "read", source },
            }
        })?;
        let (components, sum) = bytes.split_at(self.dimension * size_of::<f32>());
        if sum != checksum(row, components) {
            return Err(corrupt("a vector does not have its checksum"));
        }
        floats.clear();
        floats.extend(components.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        Ok(floats)
    }
}

impl Floats {
    pub(super) fn new(dimension: usize) -> Self {
        Self { filed: None, fresh: Blocks::new(dimension) }
    }

    pub(super) fn in_file(filed: Filed) -> Self {
        Self { fresh: Blocks::new(filed.dimension), filed: Some(Arc::new(filed)) }
    }

    pub(super) fn is_in_file(&self) -> bool {
        self.filed.is_some()
    }

    fn n_filed(&self) -> usize {
        self.filed.as_ref().map_or(0, |filed| filed.rows)
    }

    pub(super) fn len(&self) -> usize {
        self.n_filed() + self.fresh.len()
    }

    pub(super) fn push(&mut self, unit: &[f32]) {
        self.fresh.push_with(|place| place.copy_from_slice(unit));
    }

    /// One row.
    #[inline]
    pub(super) fn row<'r>(&'r self, row: u32, room: &'r mut Room) -> Result<&'r [f32], IndexError> {
        let row = row as usize;
        match &self.filed {
            Some(filed) if row < filed.rows => filed.read(row, room),
            _ => Ok(self.fresh.row(row - self.n_filed())),
        }
    }

    /// Asks the CPU to fetch a row that is in memory.
    #[inline]
    pub(super) fn prefetch(&self, row: u32) {
        if let Some(row) = (row as usize).checked_sub(self.n_filed()) {
            self.fresh.prefetch(row);
        }
    }

    /// Some rows, in the order given, in memory.
    pub(super) fn kept(&self, rows: impl Iterator<Item = u32>) -> Result<Self, IndexError> {
        let mut kept = Self::new(self.fresh.width());
        kept.append(self, rows)?;
        Ok(kept)
    }

    /// Adds rows of another.
    pub(super) fn append(&mut self, other: &Self, rows: impl Iterator<Item = u32>) -> Result<(), IndexError> {
        let mut room = Room::default();
        for row in rows {
            self.push(other.row(row, &mut room)?);
        }
        Ok(())
    }

    /// Writes all rows with their checksums; `false` when `go_on` said no.
    pub(super) fn write_to(
        &self,
        sink: &mut dyn Write,
        go_on: &dyn Fn() -> bool,
    ) -> Result<bool, IndexError> {
        let (mut room, mut bytes) = (Room::default(), Vec::new());
        for row in 0..self.len() {
            if row % 1024 == 0 && !go_on() {
                return Ok(false);
            }
            bytes.clear();
            bytes.extend(self.row(row as u32, &mut room)?.iter().flat_map(|x| x.to_le_bytes()));
            let sum = checksum(row, &bytes);
            bytes.extend(sum);
            sink.write_all(&bytes).map_err(|source| IndexError::File { action: "written", source })?;
        }
        Ok(true)
    }

    /// Reads the rows of `filed`, which hold the same, from there from now on.
    pub(super) fn rest_on(&mut self, filed: Filed) {
        let newer = filed.rows - self.n_filed()..self.fresh.len();
        self.fresh = self.fresh.kept(newer.map(|row| row as u32));
        self.filed = Some(Arc::new(filed));
    }
}
