//! Vectors as OpenAI's clients read them: numbers, or the bytes of the numbers as base64, which is
//! what its own clients ask for.

use atlas_retrieval::EmbeddedTexts;
use serde::{Serialize, Serializer};

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<One<'a>>,
    model: &'a str,
    usage: Counted,
}

#[derive(Serialize)]
struct One<'a> {
    object: &'static str,
    index: usize,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
struct Counted {
    prompt_tokens: u64,
    total_tokens: u64,
}

enum Vector<'a> {
    Floats(&'a [f32]),
    Base64(&'a [f32]),
}

impl Serialize for Vector<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Floats(components) => components.serialize(serializer),
            Self::Base64(components) => serializer.serialize_str(&base64(components)),
        }
    }
}

/// The body of the answer.
pub(super) fn written(embedded: &EmbeddedTexts, as_base64: bool) -> Vec<u8> {
    let mut data = Vec::with_capacity(embedded.vectors.len());
    for (index, components) in embedded.vectors.iter().enumerate() {
        let embedding = if as_base64 { Vector::Base64(components) } else { Vector::Floats(components) };
        data.push(One { object: "embedding", index, embedding });
    }
    let list = List {
        object: "list",
        data,
        model: &embedded.space.model,
        usage: Counted { prompt_tokens: embedded.tokens, total_tokens: embedded.tokens },
    };
    serde_json::to_vec(&list).expect("texts and finite numbers can always be written as JSON")
}

/// RFC 4648 with padding, of the components as little-endian bytes.
fn base64(components: &[f32]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes: Vec<u8> = components.iter().flat_map(|component| component.to_le_bytes()).collect();
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let sextet = (bits >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= three.len() { ALPHABET[sextet].into() } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_openais() {
        // From OpenAI's own answers, see the fixtures of the provider.
        assert_eq!(base64(&[0.5, -0.5, 0.5, -0.5]), "AAAAPwAAAL8AAAA/AAAAvw==");
        assert_eq!(base64(&[0.1, 0.2, 0.3, 0.9273618]), "zczMPc3MTD6amZk+lWdtPw==");
        assert_eq!(base64(&[1.0, 1.0, 1.0]), "AACAPwAAgD8AAIA/");
        assert_eq!(base64(&[1.0]), "AACAPw==");
        assert_eq!(base64(&[1.0, 1.0]), "AACAPwAAgD8=");
        assert_eq!(base64(&[]), "");
    }
}
