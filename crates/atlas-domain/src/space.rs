//! Embedding spaces: which vectors may be compared with which.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How token states become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean over the tokens that are not padding.
    Mean,
    /// The state of the first token.
    Cls,
    /// The remote side decides and does not say.
    Remote,
}

/// The identity of an embedding space. Two vectors may be compared only if every field is equal:
/// cosines across spaces are numbers without meaning.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EmbeddingSpace {
    /// The engine's label, for example `local`.
    pub engine: String,
    /// The model's name, for example `all-MiniLM-L6-v2`.
    pub model: String,
    /// What pins the weights: a digest or a revision.
    pub revision: String,
    /// Components per vector.
    pub dimension: usize,
    /// How token states become one vector.
    pub pooling: Pooling,
    /// Numeric precision mode of the engine (`f32`, `bf16`, ...); `remote` when unknown.
    pub precision: String,
}

impl EmbeddingSpace {
    /// A short stable name for the whole identity, safe in file names and SQL keys.
    pub fn id(&self) -> SpaceId {
        let mut hasher = Sha256::new();
        for part in [&self.engine, &self.model, &self.revision, &self.precision] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update((self.dimension as u64).to_le_bytes());
        hasher.update([match self.pooling {
            Pooling::Mean => 0u8,
            Pooling::Cls => 1,
            Pooling::Remote => 2,
        }]);
        let digest = hasher.finalize();
        SpaceId(digest[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The short name of an [`EmbeddingSpace`]: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpaceId(String);

/// Why a text names no space.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the name of a space has 16 hexadecimal digits")]
pub struct InvalidSpace;

impl FromStr for SpaceId {
    type Err = InvalidSpace;

    fn from_str(text: &str) -> Result<Self, InvalidSpace> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 16 && text.bytes().all(digit) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSpace)
        }
    }
}

impl SpaceId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of a text that was or will be embedded; the key of the embedding cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TextHash(pub [u8; 32]);

impl TextHash {
    /// The hash of `text`.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_space_is_part_of_its_id() {
        let space = EmbeddingSpace {
            engine: "local".into(),
            model: "m".into(),
            revision: "r".into(),
            dimension: 384,
            pooling: Pooling::Mean,
            precision: "f32".into(),
        };
        let others = [
            EmbeddingSpace { engine: "x".into(), ..space.clone() },
            EmbeddingSpace { model: "x".into(), ..space.clone() },
            EmbeddingSpace { revision: "x".into(), ..space.clone() },
            EmbeddingSpace { dimension: 383, ..space.clone() },
            EmbeddingSpace { pooling: Pooling::Cls, ..space.clone() },
            EmbeddingSpace { precision: "bf16".into(), ..space.clone() },
        ];
        for other in others {
            assert_ne!(other.id(), space.id(), "{other:?}");
        }
        assert_eq!(space.id(), space.clone().id());
        assert_eq!(space.id().as_str().parse::<SpaceId>().ok(), Some(space.id()));
        assert!("".parse::<SpaceId>().is_err() && "0123456789abcdeF".parse::<SpaceId>().is_err());
    }
}
