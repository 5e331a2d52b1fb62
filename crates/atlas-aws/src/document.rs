//! JSON as the SDK holds it.
//!
//! The SDK's `Document` is JSON with another number type; tools' schemas and arguments go through
//! it in both directions.

use aws_smithy_types::{Document, Number};
use serde_json::Value;

/// JSON as the SDK takes it.
pub fn to_document(value: &Value) -> Document {
    match value {
        Value::Null => Document::Null,
        Value::Bool(truth) => Document::Bool(*truth),
        Value::Number(number) => Document::Number(to_number(number)),
        Value::String(text) => Document::String(text.clone()),
        Value::Array(items) => Document::Array(items.iter().map(to_document).collect()),
        Value::Object(members) => {
            Document::Object(members.iter().map(|(name, value)| (name.clone(), to_document(value))).collect())
        }
    }
}

/// JSON as everybody else takes it. Members are in the order of their names: the SDK keeps none.
pub fn from_document(document: &Document) -> Value {
    match document {
        Document::Null => Value::Null,
        Document::Bool(truth) => Value::Bool(*truth),
        Document::Number(Number::PosInt(number)) => (*number).into(),
        Document::Number(Number::NegInt(number)) => (*number).into(),
        Document::Number(Number::Float(number)) => (*number).into(),
        Document::String(text) => Value::String(text.clone()),
        Document::Array(items) => items.iter().map(from_document).collect(),
        Document::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            Value::Object(
                sorted.into_iter().map(|(name, value)| (name.clone(), from_document(value))).collect(),
            )
        }
    }
}

fn to_number(number: &serde_json::Number) -> Number {
    if let Some(number) = number.as_u64() {
        Number::PosInt(number)
    } else if let Some(number) = number.as_i64() {
        Number::NegInt(number)
    } else {
        // JSON as we parse it has no numbers beyond a double.
        Number::Float(number.as_f64().unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_survives_the_sdk() {
        let value = json!({
            "text": "ü \" \\", "list": [1, -1, 1.5, true, null, [], {}], "big": u64::MAX, "small": i64::MIN,
            "object": { "b": 1, "a": 2 },
        });
        assert_eq!(from_document(&to_document(&value)), value);
    }
}
