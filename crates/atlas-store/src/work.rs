//! What a caller wants written, and what is never written.

use atlas_domain::{RecordKey, SpaceId, Timestamp};
use serde_json::Value;

use crate::{Batch, Change, ChunkId, StoreError};

/// serde_json reads at most 128 levels; what could not be read back must not be written.
const MAX_DEPTH: usize = 100;

/// What a caller wants written.
pub(crate) enum Work {
    Batch(Batch),
    Vectors {
        space: SpaceId,
        vectors: Vec<(ChunkId, Vec<f32>)>,
    },
    /// Times of creation and change.
    Times(Vec<(RecordKey, Timestamp, Timestamp)>),
}

impl Work {
    /// Refuses what must never be stored. It runs in the caller's thread before the queue, so one
    /// caller's mistake costs the others nothing.
    pub(crate) fn validate(&self) -> Result<(), StoreError> {
        let mut dimension = None;
        for vector in self.vectors() {
            if matches!(self, Self::Batch(Batch { space: None, .. })) {
                return Err(StoreError::Vector { detail: "the batch names no space" });
            }
            if vector.is_empty() || *dimension.get_or_insert(vector.len()) != vector.len() {
                return Err(StoreError::Vector { detail: "vectors of one space have one length above zero" });
            }
            if !vector.iter().all(|component| component.is_finite()) {
                return Err(StoreError::Vector { detail: "a component is not a finite number" });
            }
        }
        let too_deep =
            |change: &Change| matches!(change, Change::Put { record, .. } if deeper(&record.body, MAX_DEPTH));
        if matches!(self, Self::Batch(batch) if batch.changes.iter().any(too_deep)) {
            return Err(StoreError::Limit { what: "nesting of a record's body", limit: MAX_DEPTH });
        }
        Ok(())
    }

    pub(crate) fn space(&self) -> Option<&SpaceId> {
        match self {
            Self::Batch(batch) => batch.space.as_ref(),
            Self::Vectors { space, .. } => Some(space),
            Self::Times(_) => None,
        }
    }

    pub(crate) fn vectors(&self) -> Box<dyn Iterator<Item = &Vec<f32>> + '_> {
        match self {
            Self::Batch(batch) => Box::new(batch.changes.iter().flat_map(|change| {
                match change {
                    Change::Put { chunks, .. } => chunks.as_slice(),
                    Change::Delete(_) => &[],
                }
                .iter()
                .filter_map(|chunk| chunk.vector.as_ref())
            })),
            Self::Vectors { vectors, .. } => Box::new(vectors.iter().map(|(_, vector)| vector)),
            Self::Times(_) => Box::new(std::iter::empty()),
        }
    }
}

/// Whether `value` nests deeper than `levels`; looks no further than that.
fn deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| deeper(item, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|field| deeper(field, levels - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
