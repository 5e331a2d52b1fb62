//! Numbers, texts and sets as bytes, little-endian.

use atlas_domain::Timestamp;
use roaring::RoaringBitmap;

use super::snapshot::corrupt;
use crate::IndexError;

/// What is written of the narrow columns.
#[derive(Debug, Default)]
pub(super) struct Written(pub(super) Vec<u8>);

impl Written {
    pub(super) fn u32(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    /// A number of things in memory, which fits.
    pub(super) fn count(&mut self, count: usize) {
        self.u64(count as u64);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend(text.as_bytes());
    }

    pub(super) fn moment(&mut self, at: Timestamp) {
        self.0.extend(at.as_second().to_le_bytes());
        self.0.extend(at.subsec_nanosecond().to_le_bytes());
    }

    pub(super) fn rows(&mut self, rows: &RoaringBitmap) {
        self.count(rows.serialized_size());
        rows.serialize_into(&mut self.0).expect("writing to memory does not fail");
    }
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unread<'a>(pub(super) &'a [u8]);

impl<'a> Unread<'a> {
    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], IndexError> {
        let (taken, rest) = self.0.split_at_checked(n_bytes).ok_or_else(|| corrupt("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], IndexError> {
        self.take(N)?.try_into().map_err(|_| corrupt("it ends too early"))
    }

    pub(super) fn u32(&mut self) -> Result<u32, IndexError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, IndexError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things that take at least `size` bytes each, so that a wrong one asks for no
    /// memory.
    pub(super) fn count(&mut self, size: usize) -> Result<usize, IndexError> {
        let count = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        if count.saturating_mul(size.max(1)) > self.0.len() {
            return Err(corrupt("it ends too early"));
        }
        Ok(count)
    }

    /// `count` numbers.
    pub(super) fn u32s(&mut self, count: usize) -> Result<Vec<u32>, IndexError> {
        let bytes = self.take(count.saturating_mul(4))?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    /// `count` numbers.
    pub(super) fn u64s(&mut self, count: usize) -> Result<Vec<u64>, IndexError> {
        let bytes = self.take(count.saturating_mul(8))?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
    }

    pub(super) fn text(&mut self) -> Result<&'a str, IndexError> {
        let length = self.count(1)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| corrupt("a name is no text"))
    }

    pub(super) fn moment(&mut self) -> Result<Timestamp, IndexError> {
        let (second, nanosecond) = (i64::from_le_bytes(self.array()?), i32::from_le_bytes(self.array()?));
        Timestamp::new(second, nanosecond).map_err(|_| corrupt("a time is out of range"))
    }

    /// A set of rows below `n_rows`.
    pub(super) fn rows(&mut self, n_rows: usize) -> Result<RoaringBitmap, IndexError> {
        let length = self.count(1)?;
        let rows = RoaringBitmap::deserialize_from(self.take(length)?)
            .map_err(|_| corrupt("a set of rows cannot be read"))?;
        match rows.max() {
            Some(last) if last as usize >= n_rows => Err(corrupt("a set names rows that do not exist")),
            _ => Ok(rows),
        }
    }
}
