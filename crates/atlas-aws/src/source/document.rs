//! The JSON document in which container endpoints and instance metadata hand out credentials.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use serde_json::{Map, Value};

/// Credentials with an end, and whose they are as far as the source says.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) credentials: Credentials,
    pub(crate) who: Option<String>,
}

/// What a document says instead of credentials: its code and message.
pub(super) struct Refused(pub(super) String);

/// Reads a document. The services disagree about the case of its keys.
pub(super) fn read(body: &[u8], source: &'static str) -> Result<Issued, Refused> {
    let document: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| Refused("the answer is not a JSON object".to_owned()))?;
    let field = |names: &[&str]| {
        let is_meant = |key: &String| names.iter().any(|name| key.eq_ignore_ascii_case(name));
        let value = document.iter().find(|(key, _)| is_meant(key)).and_then(|(_, value)| value.as_str());
        value.filter(|text| !text.is_empty())
    };
    if let Some(code) = field(&["code"]).filter(|code| *code != "Success") {
        return Err(Refused(format!("{code}: {}", field(&["message"]).unwrap_or("no message"))));
    }
    let need = |name: &str, value: Option<&str>| {
        value.map(str::to_owned).ok_or_else(|| Refused(format!("the answer has no {name}")))
    };
    let expiration = need("Expiration", field(&["expiration", "expiresat"]))?;
    let expiration = time(&expiration).ok_or_else(|| Refused("its Expiration is not a time".to_owned()))?;
    let credentials = Credentials::new(
        need("AccessKeyId", field(&["accesskeyid"]))?,
        need("SecretAccessKey", field(&["secretaccesskey"]))?,
        // Credentials of a role are nothing without their token.
        Some(need("Token", field(&["token", "sessiontoken"]))?),
        Some(expiration),
        source,
    );
    Ok(Issued { credentials, who: field(&["rolearn"]).map(str::to_owned) })
}

/// A time as AWS writes it.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_a_container_endpoint_is_read_whole() {
        let body = include_bytes!("../../fixtures/credentials.ecs.response.json");
        let issued = read(body, "test").unwrap_or_else(|refused| panic!("{}", refused.0));
        assert_eq!(issued.credentials.access_key_id(), "ASIAEXAMPLE00000000A");
        assert_eq!(issued.credentials.session_token(), Some("example-session-token"));
        assert_eq!(issued.credentials.expiry(), time("2026-11-23T16:00:00Z"));
        assert_eq!(issued.who.as_deref(), Some("arn:aws:iam::123456789012:role/task"));
    }
}
