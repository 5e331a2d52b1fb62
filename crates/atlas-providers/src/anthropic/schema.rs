//! A JSON schema as Anthropic accepts it.
//!
//! Objects are closed, and limits on numbers, lengths and formats are refused. They are words to
//! the model all the same, so they move into the description; whether they were kept is the
//! caller's validation.

use serde_json::{Map, Value};

const REFUSED: [&str; 12] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// The schema without what is refused.
pub(super) fn portable(schema: &Value) -> Value {
    let Value::Object(keywords) = schema else { return schema.clone() };
    let mut portable = Map::new();
    let mut refused = Vec::new();
    for (keyword, value) in keywords {
        if is_refused(keyword, value) {
            refused.push(format!("{keyword}: {value}"));
            continue;
        }
        let value = match keyword.as_str() {
            // Here the names are the schema's own words, whatever they look like.
            "properties" | "$defs" | "definitions" => each(value),
            "items" | "anyOf" | "oneOf" | "allOf" | "prefixItems" => nested(value),
            _ => value.clone(),
        };
        portable.insert(keyword.clone(), value);
    }
    if keywords.get("type").is_some_and(|kind| kind == "object") || keywords.contains_key("properties") {
        portable.insert("additionalProperties".to_owned(), false.into());
    }
    if !refused.is_empty() {
        refused.sort();
        let said = keywords.get("description").and_then(Value::as_str).unwrap_or_default();
        let description = format!("{said} ({})", refused.join(", ")).trim_start().to_owned();
        portable.insert("description".to_owned(), description.into());
    }
    Value::Object(portable)
}

fn is_refused(keyword: &str, value: &Value) -> bool {
    match keyword {
        "format" => !value.as_str().is_some_and(|format| FORMATS.contains(&format)),
        "minItems" => value.as_u64().is_none_or(|least| least > 1),
        _ => REFUSED.contains(&keyword),
    }
}

fn each(schemas: &Value) -> Value {
    match schemas {
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, schema)| (name.clone(), portable(schema))).collect())
        }
        other => other.clone(),
    }
}

fn nested(schemas: &Value) -> Value {
    match schemas {
        Value::Array(schemas) => schemas.iter().map(portable).collect(),
        schema => portable(schema),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(schema: Value, expect: Value) {
        assert_eq!(portable(&schema), expect);
    }

    #[test]
    fn limits_become_words() {
        check(
            json!({ "type": "integer", "minimum": 0, "maximum": 10 }),
            json!({ "type": "integer", "description": "(maximum: 10, minimum: 0)" }),
        );
        check(
            json!({ "type": "string", "description": "A name", "maxLength": 9, "format": "date" }),
            json!({ "type": "string", "description": "A name (maxLength: 9)", "format": "date" }),
        );
        check(
            json!({ "type": "string", "format": "regex" }),
            json!({ "type": "string", "description": "(format: \"regex\")" }),
        );
        check(
            json!({ "type": "array", "minItems": 1, "items": { "type": "string", "pattern": "^a" } }),
            json!({ "type": "array", "minItems": 1, "items": { "type": "string", "description": "(pattern: \"^a\")" } }),
        );
    }

    #[test]
    fn objects_are_closed_at_every_depth() {
        check(
            json!({ "type": "object", "properties": { "a": { "anyOf": [{ "type": "object", "properties": {} }, { "type": "null" }] } } }),
            json!({
                "type": "object",
                "additionalProperties": false,
                "properties": { "a": { "anyOf": [
                    { "type": "object", "properties": {}, "additionalProperties": false },
                    { "type": "null" },
                ] } },
            }),
        );
    }

    #[test]
    fn a_property_may_be_called_like_a_keyword() {
        let schema = json!({
            "type": "object",
            "properties": { "minimum": { "type": "number" }, "format": { "enum": ["pattern"] } },
            "required": ["minimum", "format"],
            "additionalProperties": false,
        });
        check(schema.clone(), schema);
    }
}
