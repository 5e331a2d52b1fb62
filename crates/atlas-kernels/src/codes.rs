//! Int8 codes of vectors, in rows that begin on cache lines.

use crate::kernel::{Kernel, Set};
use crate::portable;

/// Bytes of a cache line, and of the widest register.
const LINE: usize = 64;

#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([i8; LINE]);

/// The int8 codes of one vector: component `i` is about `codes[i] * scale`.
#[derive(Debug, Clone, PartialEq)]
pub struct Codes {
    /// One code per component, -127 to 127.
    pub codes: Vec<i8>,
    /// What one step of a code is worth; 0 for the zero vector.
    pub scale: f32,
}

/// Rounds a vector to int8, with its largest component at 127. Components that are not finite
/// have no code and become 0; an index refuses such vectors before.
pub fn quantize(vector: &[f32]) -> Codes {
    let largest = vector.iter().filter(|x| x.is_finite()).fold(0.0f32, |max, x| max.max(x.abs()));
    let scale = largest / 127.0;
    // Below this the reciprocal overflows; such a vector is zero for every purpose here.
    if scale < f32::MIN_POSITIVE {
        return Codes { codes: vec![0; vector.len()], scale: 0.0 };
    }
    let steps = 1.0 / scale;
    // `as` saturates and maps NaN to 0; the clamp keeps an infinite component from reaching -128.
    let code = |x: &f32| if x.is_finite() { (x * steps).round().clamp(-127.0, 127.0) as i8 } else { 0 };
    Codes { codes: vector.iter().map(code).collect(), scale }
}

/// Rows of int8 codes, each padded with zeros to whole cache lines.
#[derive(Debug, Clone)]
pub struct CodeMatrix {
    dimension: usize,
    lines_per_row: usize,
    lines: Vec<Line>,
    rows: usize,
}

impl CodeMatrix {
    /// An empty matrix for vectors of `dimension` components.
    pub fn new(dimension: usize) -> Self {
        Self { dimension, lines_per_row: dimension.div_ceil(LINE), lines: Vec::new(), rows: 0 }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Components per vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Codes per row with the padding.
    pub fn width(&self) -> usize {
        self.lines_per_row * LINE
    }

    /// Appends a row.
    ///
    /// # Panics
    /// When `codes` does not have [`Self::dimension`] components.
    pub fn push(&mut self, codes: &[i8]) {
        assert_eq!(codes.len(), self.dimension, "rows of a matrix have one length");
        for piece in codes.chunks(LINE) {
            let mut line = Line([0; LINE]);
            line.0[..piece.len()].copy_from_slice(piece);
            self.lines.push(line);
        }
        self.rows += 1;
    }

    /// One row with its padding.
    ///
    /// # Panics
    /// When there is no such row.
    #[inline]
    pub fn row(&self, row: usize) -> &[i8] {
        let lines = &self.lines[row * self.lines_per_row..][..self.lines_per_row];
        // SAFETY: `Line` is `repr(C)` and exactly 64 initialised `i8` without padding (size equals
        // alignment), so n lines are 64 * n contiguous codes of the same lifetime.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE) }
    }

    /// Moves the codes of row `from` to row `to`; what stood there is gone.
    pub fn copy_row(&mut self, from: usize, to: usize) {
        let n = self.lines_per_row;
        self.lines.copy_within(from * n..(from + 1) * n, to * n);
    }

    /// Keeps the first `rows` rows and gives the memory of the others back.
    pub fn truncate(&mut self, rows: usize) {
        self.lines.truncate(rows * self.lines_per_row);
        self.lines.shrink_to_fit();
        self.rows = self.rows.min(rows);
    }

    /// Passes the dot product of `query` and each of `rows`, in their order, to `sink`.
    ///
    /// # Panics
    /// When the query does not have [`Self::dimension`] components or a row does not exist.
    pub fn scan(
        &self,
        kernel: Kernel,
        query: &[i8],
        rows: impl Iterator<Item = u32>,
        #[allow(unused_mut, reason = "called here on some architectures, passed on by others")]
        mut sink: impl FnMut(u32, i32),
    ) {
        let mut padded = Self::new(self.dimension);
        padded.push(query);
        // Without components there is no line and `row` cannot be taken.
        let query = if self.dimension == 0 { &[] } else { padded.row(0) };
        match kernel.0 {
            // SAFETY (here and below): a `Kernel` exists only after its features were detected;
            // the query was padded to the matrix's width above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => unsafe { crate::x86::scan_vnni(self, query, rows, sink) },
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { crate::x86::scan_avx2(self, query, rows, sink) },
            #[cfg(target_arch = "aarch64")]
            Set::Neon => {
                rows.for_each(|row| sink(row, unsafe { crate::neon::dot_i8(self.row(row as usize), query) }))
            }
            Set::Portable => rows.for_each(|row| sink(row, portable::dot_i8(self.row(row as usize), query))),
        }
    }
}
