//! Fixtures through the reader, error vectors through the mapper, and whole calls against a
//! scripted server on loopback.

use std::path::{Path, PathBuf};

use atlas_http::{EgressPolicy, Ledger, Outbound};
use atlas_llm::{ChatEvent, Finish, JsonSchema, Usage};
use atlas_testkit::fake_openai::{Answer, FakeOpenAi};
use futures_util::StreamExt;
use secrecy::SecretString;
use serde_json::json;

use super::error::{Redactor, map};
use super::request::{JsonMode, chat};
use super::stream::Reader;
use super::*;

const CANARY: &str = "canary-Zq81hdVw90";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/openai_compatible/fixtures")
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read(path).expect("a fixture");
    serde_json::from_slice(&text).expect("JSON")
}

fn redactor() -> Arc<Redactor> {
    Arc::new(Redactor::new(Some(CANARY)))
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    text: String,
    reasoning: String,
    finish: Option<Finish>,
    usage: Option<Usage>,
    error: Option<&'static str>,
}

impl Outcome {
    fn add(&mut self, event: Result<ChatEvent, LlmError>) {
        match event {
            Ok(ChatEvent::Text(text)) => self.text += &text,
            Ok(ChatEvent::Reasoning(text)) => self.reasoning += &text,
            Ok(ChatEvent::Usage(usage)) => assert_eq!(self.usage.replace(usage), None, "usage comes once"),
            Ok(ChatEvent::Finished(finish)) => assert_eq!(self.finish.replace(finish), None, "one end"),
            Err(error) => assert_eq!(self.error.replace(error.code()), None, "one error"),
        }
    }
}

fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut reader = Reader::new(redactor());
    let mut events = Vec::new();
    let mut read = Ok(());
    for piece in pieces {
        if read.is_ok() {
            read = reader.bytes(piece, &mut events);
        }
    }
    if read.is_ok() {
        read = reader.end_of_bytes(&mut events);
    }
    let mut outcome = Outcome::default();
    events.into_iter().map(Ok).chain(read.err().map(Err)).for_each(|event| outcome.add(event));
    outcome
}

#[test]
fn every_stream_fixture_has_its_expected_outcome_however_it_is_split() {
    let expected = read_json(&fixtures().join("expected_streams.json"));
    let streams = expected["streams"].as_object().expect("a table");
    assert!(streams.len() >= 21, "{}", streams.len());
    for (name, expect) in streams {
        let bytes = std::fs::read(fixtures().join(name)).expect("a fixture");
        let count = |field: &str| expect["usage"][field].as_u64().unwrap_or(0);
        let expect = Outcome {
            text: expect["text"].as_str().unwrap_or_default().to_owned(),
            reasoning: expect["reasoning"].as_str().unwrap_or_default().to_owned(),
            finish: expect["finish"].as_str().map(wire::finish),
            usage: expect["usage"].is_object().then(|| Usage {
                input: count("input"),
                output: count("output"),
                cached_input: count("cached_input"),
                reasoning: count("reasoning"),
            }),
            error: expect["error"]["kind"].as_str().map(code_of),
        };
        assert_eq!(decode([&bytes[..]]), expect, "{name}");
        assert_eq!(decode(bytes.chunks(1)), expect, "{name} byte by byte");
        for at in 0..bytes.len() {
            assert_eq!(decode([&bytes[..at], &bytes[at..]]), expect, "{name} split at {at}");
        }
    }
}

/// The code of the variant that a kind of the wire reference means.
fn code_of(kind: &str) -> &'static str {
    match kind {
        "auth" => "provider_credentials",
        "permission" => "provider_forbidden",
        "not_found" => "provider_model_not_found",
        "bad_request" => "provider_bad_request",
        "context_length" => "prompt_too_long",
        "content_filter" => "provider_content_filter",
        // A conflict passes like a throttle and, being a 4xx, says nothing against the provider.
        "rate_limit" | "conflict" => "provider_throttled",
        "quota" => "provider_quota",
        "overloaded" => "provider_overloaded",
        "server" => "provider_error",
        "timeout" => "provider_timeout",
        "stream_interrupted" => "provider_stream_interrupted",
        other => panic!("no variant for {other}"),
    }
}

fn headers_of(vector: &Value) -> atlas_http::HeaderMap {
    let mut headers = atlas_http::HeaderMap::new();
    for (name, value) in vector["headers"].as_object().expect("headers") {
        let name: &'static str = name.clone().leak();
        headers.insert(name, value.as_str().expect("text").parse().expect("a header"));
    }
    headers
}

#[test]
fn every_error_vector_has_its_kind() {
    let mut n_seen = 0;
    for folder in ["openai", "compat", "vllm", "tgi", "ollama"] {
        for entry in std::fs::read_dir(fixtures().join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if !name.starts_with("error.") {
                continue;
            }
            let vector = read_json(&path);
            let body = match &vector["body"] {
                Value::String(text) => text.clone(),
                body => body.to_string(),
            };
            let status = vector["status"].as_u64().expect("a status") as u16;
            let error = map(status, &headers_of(&vector), body.as_bytes(), &redactor()).error;
            let kind = vector["expect"]["kind"].as_str().expect("a kind");
            assert_eq!(error.code(), code_of(kind), "{folder}/{name}: {error}");
            let may_repeat = error.retry() != atlas_domain::Retry::Never;
            assert_eq!(Some(may_repeat), vector["expect"]["retryable"].as_bool(), "{folder}/{name}: {error}");
            assert!(!error.to_string().contains("sk-"), "{error}");
            n_seen += 1;
        }
    }
    assert!(n_seen >= 33, "{n_seen}");
}

fn map_text(status: u16, headers: &[(&'static str, &str)], body: &str) -> LlmError {
    let headers = headers
        .iter()
        .map(|(name, value)| (atlas_http::HeaderMap::new(), *name, value.parse().expect("a header")));
    let mut all = atlas_http::HeaderMap::new();
    for (_, name, value) in headers {
        all.insert(name, value);
    }
    map(status, &all, body.as_bytes(), &redactor()).error
}

#[test]
fn waiting_times_are_read_in_every_form() {
    use std::time::Duration;
    for (headers, expect) in [
        (vec![("retry-after-ms", "1500"), ("retry-after", "9")], Some(Duration::from_millis(1500))),
        (vec![("retry-after", "6")], Some(Duration::from_secs(6))),
        (vec![("retry-after", "0.5")], Some(Duration::from_millis(500))),
        (vec![("retry-after", "-3")], None),
        (vec![("retry-after", "soon")], None),
        (vec![("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], None),
        (vec![], None),
    ] {
        let LlmError::Throttled { retry_after, .. } = map_text(429, &headers, "{}") else {
            panic!("throttled")
        };
        assert_eq!(retry_after, expect, "{headers:?}");
    }
    let future = [("retry-after", "Sat, 06 Nov 2094 08:49:37 GMT")];
    assert!(matches!(map_text(503, &future, ""), LlmError::Overloaded { retry_after: Some(_), .. }));
}

#[test]
fn details_hold_no_credentials() {
    for words in [
        format!("Incorrect API key provided: {CANARY}."),
        "Incorrect API key provided: sk-pr*******canary.".to_owned(),
        "bad header Authorization: Bearer canary-abc".to_owned(),
        "api_key=canary".to_owned(),
    ] {
        for body in [json!({ "error": { "message": words } }).to_string(), words.clone()] {
            let error = map_text(401, &[], &body);
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }
}

#[test]
fn details_are_short_single_lines_of_the_providers_words() {
    let LlmError::Server { detail } = map_text(500, &[], &format!("a\nb\u{7}{}", "x".repeat(9000))) else {
        panic!("a server error")
    };
    assert_eq!(detail.chars().count(), 500);
    assert!(detail.starts_with("a b x"), "{detail}");
    let LlmError::Server { detail } = map_text(502, &[], "<html><b>Bad gateway</b></html>") else {
        panic!("a server error")
    };
    assert_eq!(detail, "the answer is an HTML page");
}

#[test]
fn a_validation_report_does_not_repeat_the_prompt() {
    let report =
        json!({ "detail": [{ "loc": ["body", "messages", 0], "msg": "too short", "input": "the prompt" }] });
    let error = map_text(422, &[], &report.to_string());
    assert!(error.to_string().ends_with("body.messages.0: too short"), "{error}");
}

#[test]
fn urls_follow_the_rule_table() {
    let table = read_json(&fixtures().join("openai/urls.json"));
    for case in table["cases"].as_array().expect("cases") {
        let operation = match case["operation"].as_str().expect("an operation") {
            "chat" => "chat/completions",
            other => other,
        };
        let endpoint = Endpoint::new("openai", &options(case["base"].as_str(), Some("k"))).expect("usable");
        assert_eq!(endpoint.url(operation).as_str(), case["url"].as_str().expect("a URL"), "{case}");
    }
}

fn options(endpoint_url: Option<&str>, key: Option<&str>) -> Options {
    let allowed = crate::origin("openai", endpoint_url).ok();
    let outbound = Outbound::new(EgressPolicy::allow(allowed), Arc::new(Ledger::new())).expect("a client");
    Options {
        endpoint_url: endpoint_url.map(str::to_owned),
        api_key: key.map(SecretString::from),
        organization: None,
        model: "fake-1".into(),
        outbound,
    }
}

#[test]
fn settings_that_cannot_work_are_named() {
    let refused =
        |label: &'static str, options: Options| match OpenAiCompatible::new(label, options).connect() {
            Err(LlmError::Settings { setting, .. }) => setting,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{label} connected"),
        };
    assert_eq!(refused("openai", options(None, None)), "BYOC_API_KEY");
    assert_eq!(refused("openai", options(Some("https://eu.api.openai.com"), None)), "BYOC_API_KEY");
    assert_eq!(refused("vllm", options(None, None)), "BYOC_ENDPOINT_URL");
    for base in ["vllm:8000", "ftp://a/", "http://a/v1?key=x", "http://user:pw@a/v1", ""] {
        assert_eq!(refused("compatible", options(Some(base), None)), "BYOC_ENDPOINT_URL", "{base}");
    }
    let nameless = Options { model: " ".into(), ..options(Some("http://a:1"), None) };
    assert_eq!(refused("vllm", nameless), "BYOC_MODEL");
    assert_eq!(refused("openai", options(None, Some("line\nbreak"))), "BYOC_API_KEY");
}

#[test]
fn an_endpoint_outside_the_policy_does_not_connect() {
    let closed = Outbound::new(EgressPolicy::default(), Arc::new(Ledger::new())).expect("a client");
    let options = Options { outbound: closed, ..options(Some("http://127.0.0.1:9/v1"), None) };
    let refused = OpenAiCompatible::new("vllm", options).connect().err().expect("refused");
    assert_eq!(refused.code(), "egress_denied");
}

#[test]
fn nothing_printable_holds_the_key() {
    let options = Options { model: String::new(), ..options(None, Some(CANARY)) };
    let provider = OpenAiCompatible::new("openai", options);
    let error = provider.connect().err().expect("no model");
    assert!(!format!("{provider:?} {error:?} {error}").contains(CANARY));
}

fn ask() -> ChatRequest {
    ChatRequest {
        messages: vec![Message::new(Role::System, "Be short."), Message::new(Role::User, "Why?")],
        schema: None,
        max_output_tokens: Some(64),
        temperature: Some(0.2),
    }
}

fn shaped() -> ChatRequest {
    ChatRequest { schema: Some(JsonSchema { name: "verdict", schema: json!({ "type": "object" }) }), ..ask() }
}

#[test]
fn openai_and_others_are_asked_in_their_own_words() {
    let to_openai = chat("m", &shaped(), Quirks::for_host(true));
    let schema = json!({ "name": "verdict", "strict": true, "schema": { "type": "object" } });
    assert_eq!(
        to_openai,
        json!({
            "model": "m",
            "messages": [
                { "role": "system", "content": "Be short." },
                { "role": "user", "content": "Why?" },
            ],
            "stream": true,
            "stream_options": { "include_usage": true, "include_obfuscation": false },
            "max_completion_tokens": 64,
            "temperature": 0.2,
            "response_format": { "type": "json_schema", "json_schema": schema },
        })
    );
    let to_others = chat("m", &ask(), Quirks::for_host(false));
    assert_eq!(to_others["max_tokens"], 64);
    assert_eq!(to_others["stream_options"], json!({ "include_usage": true }));
    assert_eq!(to_others.get("response_format"), None);
}

#[test]
fn without_response_format_the_schema_stands_in_the_prompt() {
    for (mode, format) in
        [(JsonMode::Object, Some(json!({ "type": "json_object" }))), (JsonMode::Prompt, None)]
    {
        let body = chat("m", &shaped(), Quirks { json: mode, ..Quirks::for_host(false) });
        assert_eq!(body.get("response_format"), format.as_ref());
        let system = body["messages"][0]["content"].as_str().expect("text");
        assert!(
            system.starts_with("Be short.")
                && system.contains("JSON")
                && system.contains(r#"{"type":"object"}"#)
        );
    }
    let silent = ChatRequest { messages: vec![Message::new(Role::User, "Why?")], ..shaped() };
    let body = chat("m", &silent, Quirks { json: JsonMode::Prompt, ..Quirks::for_host(false) });
    assert_eq!(
        (&body["messages"][0]["role"], &body["messages"][1]["role"]),
        (&json!("system"), &json!("user"))
    );
}

#[path = "calls_tests.rs"]
mod calls;
