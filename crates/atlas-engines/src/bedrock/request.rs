//! Our request in the words of each family.

use atlas_embed::Purpose;
use serde_json::{Value, json};

use super::options::{Family, Target};

/// The bodies for these texts: one each for Titan, one for all of them for Cohere.
pub(super) fn bodies(target: &Target, texts: &[String], purpose: Purpose) -> Vec<Value> {
    let dimension = target.known.dimension;
    match target.family {
        Family::TitanV1 => texts.iter().map(|text| json!({ "inputText": text })).collect(),
        Family::TitanV2 => texts.iter().map(|text| titan_v2(text, dimension)).collect(),
        Family::CohereV3 => vec![json!({
            "texts": texts,
            "input_type": input_type(purpose),
            // Texts are cut here by an estimate; what still is too long loses its end there.
            "truncate": "END",
        })],
        Family::CohereV4 => {
            let mut body = json!({
                "texts": texts,
                "input_type": input_type(purpose),
                "embedding_types": ["float"],
                "truncate": "RIGHT",
            });
            if let Some(dimension) = dimension {
                body["output_dimension"] = dimension.into();
            }
            vec![body]
        }
    }
}

fn titan_v2(text: &str, dimension: Option<usize>) -> Value {
    let mut body = json!({ "inputText": text, "normalize": true, "embeddingTypes": ["float"] });
    if let Some(dimension) = dimension {
        body["dimensions"] = dimension.into();
    }
    body
}

fn input_type(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Passage => "search_document",
        Purpose::Query => "search_query",
    }
}
