//! Each family's answer in our words.

use atlas_domain::{ProviderError, ProviderErrorKind as Kind};
use serde::Deserialize;

use super::options::Family;

#[derive(Deserialize)]
struct Titan {
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct Cohere {
    embeddings: Embeddings,
}

/// Lists where no type was asked for, else lists by type.
#[derive(Deserialize)]
#[serde(untagged)]
enum Embeddings {
    Plain(Vec<Vec<f32>>),
    ByType { float: Vec<Vec<f32>> },
}

/// The vectors of one answer, in the order of the texts.
pub(super) fn read(family: Family, body: &[u8]) -> Result<Vec<Vec<f32>>, ProviderError> {
    let vectors = match family {
        Family::TitanV1 | Family::TitanV2 => {
            serde_json::from_slice(body).map(|Titan { embedding }| vec![embedding])
        }
        Family::CohereV3 | Family::CohereV4 => {
            serde_json::from_slice(body).map(|Cohere { embeddings }| match embeddings {
                Embeddings::Plain(vectors) | Embeddings::ByType { float: vectors } => vectors,
            })
        }
    };
    vectors.map_err(|_| ProviderError::new(Kind::Protocol, "the answer holds no vectors"))
}
